"""Reads for another protocol, a little at a time, until that one may read itself.

A protocol with a buffer of its own reads and parses all that the kernel holds, in one turn of the loop. That is fine
for somebody known; of strangers there are many.
"""

from __future__ import annotations

import asyncio
from typing import Any

from server.websocket.reading import Reading


class ThrottledReader(asyncio.BufferedProtocol):
    """Stands on a transport in place of `inner`, a buffered protocol, which is set before anything comes, as are
    `transport` and `reading`; without the latter there are no pauses."""

    def __init__(self, size: int) -> None:
        """`size`: bytes between two pauses."""
        self.inner: Any = None
        self.reading: Reading | None = None
        self.transport: asyncio.Transport
        self._buffer = bytearray(size)

    def hand_over(self) -> None:
        """`inner` is to read, from the next turn of the loop on; this one may be that of what was read last."""
        asyncio.get_running_loop().call_soon(self._swap)

    def pass_on(self, data: memoryview) -> None:
        """Let `inner` have it, as if it had read it."""
        while data:
            buffer = self.inner.get_buffer(-1)
            size = min(len(data), len(buffer))
            buffer[:size] = data[:size]
            data = data[size:]
            self.inner.buffer_updated(size)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.pass_on(memoryview(self._buffer)[:nbytes])
        if self.reading is not None:
            self.reading.spend_bytes(nbytes, len(self._buffer), asyncio.get_running_loop())

    def eof_received(self) -> bool | None:
        return bool(self.inner.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        self.inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def _swap(self) -> None:
        if not self.transport.is_closing():
            self.transport.set_protocol(self.inner)
