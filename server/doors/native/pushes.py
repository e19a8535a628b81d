"""The edits of one client between their arrival and their answer: the window, the order, and the answers of a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final
from uuid import UUID

from crdt.errors import Refused
from crdt.native import RETRY, WINDOW, Ack, Frame, Nack, PushEntry, Want
from server.doors.native.limits import NativeLimits

_MAX_MESSAGE_CHARS: Final = 200
_MAX_LOST_ISSUES: Final = 10_000  # that a client has not come back to


class Pushes:
    """Counts what is unanswered, and answers once a loop turn: what is wanted first, then acks, then nacks."""

    def __init__(self, limits: NativeLimits, send: Callable[[Frame], None]) -> None:
        self._limits = limits
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._entries = 0
        self._bytes = 0
        self._resume_at: dict[UUID, int] = {}
        self._wants: dict[UUID, bytes] = {}
        self._acked: list[tuple[int, int]] = []
        self._nacked: list[Nack] = []
        self._is_due = False

    def admit(self, entry: PushEntry) -> bool:
        """Take an edit into the window. False: it was answered, because one before it was lost and must come first.

        Raises `Refused` when the client did not keep to the window.
        """
        if len(self._resume_at) > _MAX_LOST_ISSUES:
            raise Refused(RETRY, "too much was lost; start again")
        self._entries += 1
        self._bytes += len(entry.update)
        is_over = self._bytes > self._limits.push_bytes and self._entries > 1
        if is_over or self._entries > self._limits.push_entries:
            raise Refused(WINDOW, f"{self._entries} edits with {self._bytes} bytes are not answered yet")
        resume_at = self._resume_at.get(entry.issue)
        if resume_at is not None and entry.client_seq > resume_at:
            self.refuse(entry, RETRY, "an earlier edit of this issue was not stored")
            return False
        self._resume_at.pop(entry.issue, None)
        return True

    def stored(self, entry: PushEntry, seq: int) -> None:
        """Its content is committed."""
        self._answered(entry)
        self._acked.append((entry.client_seq, seq))

    def refuse(self, entry: PushEntry, code: str, message: str) -> None:
        """It is not."""
        self._answered(entry)
        self._nacked.append(Nack(entry.client_seq, code, message[:_MAX_MESSAGE_CHARS]))

    def lose(self, entries: Iterable[PushEntry], message: str) -> None:
        """Nobody knows: these of one issue have to come again, the first of them first."""
        for entry in entries:
            first = self._resume_at.setdefault(entry.issue, entry.client_seq)
            self._resume_at[entry.issue] = min(first, entry.client_seq)
            self.refuse(entry, RETRY, message)

    def want(self, issue: UUID, state_vector: bytes) -> None:
        """Ask for what an edit rests on."""
        self._wants[issue] = state_vector
        self._schedule()

    def _answered(self, entry: PushEntry) -> None:
        self._entries -= 1
        self._bytes -= len(entry.update)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_due = False
        wants, self._wants = self._wants, {}
        acked, self._acked = self._acked, []
        nacked, self._nacked = self._nacked, []
        for issue, state_vector in wants.items():
            self._send(Want(issue, state_vector))
        if acked:
            self._send(Ack(tuple(acked)))
        for nack in nacked:
            self._send(nack)
