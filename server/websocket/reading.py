"""Whether a socket is read from: not while there is any reason against it. TCP then slows its peer down."""

from __future__ import annotations

import asyncio
from typing import Literal, TypeAlias

Reason: TypeAlias = Literal["peer", "pace", "turn", "refusal"]


class Reading:
    """Of one transport."""

    __slots__ = ("_reasons", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._reasons: set[Reason] = set()

    @property
    def is_on(self) -> bool:
        """Whether it is read from."""
        return not self._reasons

    def stop(self, reason: Reason) -> None:
        """Read no more for now. What was read already still comes."""
        if not self._reasons:
            self._transport.pause_reading()
        self._reasons.add(reason)

    def go_on(self, reason: Reason) -> None:
        """There is that reason no more."""
        if reason in self._reasons:
            self._reasons.remove(reason)
            self._start()

    def go_on_anyway(self) -> None:
        """There is no reason any more."""
        if self._reasons:
            self._reasons.clear()
            self._start()

    def _start(self) -> None:
        if not self._reasons and not self._transport.is_closing():
            self._transport.resume_reading()
