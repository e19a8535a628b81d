"""Request and response headers that operations of `/v1` may declare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Header:
    """`max_chars`: longer values are `invalid`."""

    name: str
    description: str
    max_chars: int = 1_000
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})


# Never refused: one that is too long or not plain is replaced.
REQUEST_ID: Final = Header(
    "X-Request-Id",
    "Names the request in the server's log; made up when none of up to 100 plain characters is sent.",
    100,
)
DEVICE: Final = Header("X-Device-Id", "The device that writes, for the history.", 200)
IF_NONE_MATCH: Final = Header("If-None-Match", "One or more `ETag`s: 304 when one of them still is the one.")
IF_MATCH: Final = Header("If-Match", "One or more `ETag`s: nothing is written unless the issue is at one's version.")
IDEMPOTENCY_KEY: Final = Header(
    "Idempotency-Key",
    "A name of your own for the request: sent again within a day, it is done once.",
    300,
    {"type": "string", "pattern": r"""^("[ !#-\[\]-~]{1,255}"|[!#-\[\]-~]{1,255})$"""},
)
IDS_INSTEAD: Final = Header(
    "Idempotency-Key", "Taken and not needed: operations have ids, by which each is done once within 30 days.", 300
)

SEQ: Final = Header("X-Seq", "The seq that everything in the body is of.")
ETAG: Final = Header("ETag", "The version of what is sent, and which part of it.")
WRITTEN_TAG: Final = Header("ETag", "Of the whole issue at the version that was made, where `If-Match` was sent.")
REPLAYED: Final = Header("Idempotent-Replayed", "`true` where the request was answered before; this is that answer.")
LOCATION: Final = Header("Location", "The address of what was created.")
