"""`GET /hocuspocus`: many issues a socket, for unmodified Hocuspocus providers.

`door` routes messages to `channel`s, one a document; `line` is what a channel's room sees of the `socket` they share;
`tally` keeps the provider's count of unsaved changes true; `token` asks for new tokens in time.
"""

from server.doors.hocuspocus.door import PATH, HocuspocusDoor
from server.doors.hocuspocus.limits import HocuspocusLimits

__all__ = ["PATH", "HocuspocusDoor", "HocuspocusLimits"]
