"""`GET /v1/workspaces/{workspace}/sync`: one socket for a whole workspace, in the native protocol."""
