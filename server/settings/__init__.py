"""Every setting, a file for what belongs together; `server.config` makes one model of them."""
