"""The native protocol as rooms speak it: an issue's name in every frame, so one `Dialect` an issue."""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from uuid import UUID

from crdt.native import Awareness, Delta, State
from crdt.native_codec import encode
from server.session import Dialect

_KEPT: Final = 10_000  # encoders of issues, which are made again when they are asked for


def _nothing(_: bytes) -> bytes:
    return b""


# For sessions that only push: rooms make nothing for them, and a channel sends no empty frame.
QUIET: Final = Dialect(_nothing, _nothing, _nothing, _nothing)


class Dialects:
    """The dialects of a node's issues. Sessions share them, because rooms encode once for each instance."""

    def __init__(self) -> None:
        self.of = lru_cache(maxsize=_KEPT)(_dialect)


def _dialect(issue: UUID) -> Dialect:
    return Dialect(
        sync_step1=_nothing,  # what a push lacks is asked for by its channel, together with the answer to the push
        sync_step2=lambda update: encode(State(issue, update)),
        update=lambda update: encode(Delta(issue, update)),
        awareness=lambda update: encode(Awareness(issue, update)),
    )
