"""What may go wrong with bytes from outside, as one type with a fixed set of reasons."""

from typing import Final

MALFORMED: Final = "malformed"  # not a strict Yjs v1 encoding
TOO_LARGE: Final = "too_large"  # a bound of `Limits` exceeded
UNSUPPORTED: Final = "unsupported"  # sub-documents, ContentJSON, moves, weak links
SCHEMA: Final = "schema"  # content in a parent that cannot hold it, references that no order can satisfy
CLIENT_ID: Final = "client_id"  # the Yjs client id was first used by somebody else
FORBIDDEN: Final = "forbidden"  # the role does not allow it
FULL: Final = "full"  # the issue holds as much as it may, or the workspace as many issues

REASONS: Final = (MALFORMED, TOO_LARGE, UNSUPPORTED, SCHEMA, CLIENT_ID, FORBIDDEN, FULL)


class Refused(Exception):
    """Bytes from outside that are not accepted; the only exception codecs and gate raise on them.

    `reason` is one of `REASONS` (a metric label, stable); `detail` says what and where, without content.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
