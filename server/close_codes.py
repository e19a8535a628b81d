"""WebSocket close codes as every door here uses them.

44xx is final, but for 4429: y-websocket 3.1 and newer stops reconnecting on 4400-4499. 1012 and 1013 mean come back.
"""

from typing import Final

from crdt.errors import CLIENT_ID, FORBIDDEN, FULL, TOO_LARGE
from crdt.native import PURGED
from storage.errors import Purged, UnknownWorkspace

NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
TEXT_NOT_SUPPORTED: Final = 1003
NO_CODE: Final = 1005  # never on the wire: the peer's close frame was empty
ABNORMAL: Final = 1006  # never on the wire: the socket went away without a close frame
MESSAGE_TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
RESTART: Final = 1012  # this process stops, or the room was forgotten: reconnect now
TRY_LATER: Final = 1013  # overload, a slow reader, the store is away: reconnect with backoff

BAD_REQUEST: Final = 4400
UNAUTHORIZED: Final = 4401
NOT_ALLOWED: Final = 4403
NOT_FOUND: Final = 4404
TOO_SLOW: Final = 4408
OPENED_ANEW: Final = (RESTART, "opened anew")  # the issue seemed full: what it is once loaded will tell
GONE: Final = 4410  # the issue was purged
TOO_MUCH: Final = 4413
TOO_FAST: Final = 4429  # native only: elsewhere 44xx is final, and this is not
# Hocuspocus clients know these two; most of them reconnect whatever the code.
RESET: Final = 4205
AUTHENTICATION_TIMEOUT: Final = 4408

_BROKEN_FRAMES: Final = (PROTOCOL_ERROR, TEXT_NOT_SUPPORTED, MESSAGE_TOO_BIG)
_OFFENCES: Final = (BAD_REQUEST, NOT_ALLOWED, TOO_MUCH, TOO_FAST, *_BROKEN_FRAMES)


def is_final(code: int) -> bool:
    """Whether coming back cannot help."""
    return 4400 <= code < 4500 and code != TOO_FAST


def is_offence(code: int) -> bool:
    """Whether somebody is closed for what they sent."""
    return code in _OFFENCES


def is_offence_of_a_stranger(code: int) -> bool:
    """Whether somebody who has shown no good token yet is closed for what they sent, or asked for. Those whose token is
    refused have waited for that already."""
    return code in (BAD_REQUEST, TOO_MUCH, NOT_FOUND, RESET, *_BROKEN_FRAMES)


def for_lost_commit(error: BaseException) -> tuple[int, str]:
    """Code and reason for whoever is in a room whose commit failed."""
    if isinstance(error, UnknownWorkspace):
        return NOT_FOUND, "unknown workspace"
    return (GONE, PURGED) if isinstance(error, Purged) else (TRY_LATER, "not stored, try again")


def for_refusal(reason: str) -> int:
    """The close code of a `crdt.errors.Refused`, by its reason."""
    if reason in (TOO_LARGE, FULL):
        return TOO_MUCH
    return NOT_ALLOWED if reason in (CLIENT_ID, FORBIDDEN) else BAD_REQUEST
