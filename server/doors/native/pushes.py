"""The edits of one client between their arrival and their answer: the window, the order, and the answers of a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final
from uuid import UUID

from crdt.errors import Refused
from crdt.native import RETRY, TOO_FAST, WINDOW, Ack, Frame, Nack, PushEntry, Want
from server.doors.native.limits import NativeLimits

_MAX_MESSAGE_CHARS: Final = 200  # of what we say ourselves
_LOST_WINDOWS: Final = 10  # of edits, each of another issue, that a client has not come back to


class Pushes:
    """Counts what is unanswered, and answers once a loop turn: what is wanted first, then acks, then nacks."""

    def __init__(self, limits: NativeLimits, send: Callable[[Frame], None]) -> None:
        self._limits = limits
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._entries = 0
        self._bytes = 0
        self._put_off = 0  # in a row
        self._resume_at: dict[UUID, int] = {}
        self._wants: dict[UUID, bytes] = {}
        self._acked: list[tuple[int, int]] = []
        self._nacked: list[Nack] = []
        self._is_due = False

    def admit(self, entry: PushEntry) -> bool:
        """Take an edit into the window. False: it was answered, because one before it was lost and must come first.

        Raises `Refused` when the client did not keep to the window.
        """
        if len(self._resume_at) > _LOST_WINDOWS * self._limits.push_entries:
            raise Refused(RETRY, "too much was lost; start again")
        self._came(entry)
        self._put_off = 0
        resume_at = self._resume_at.get(entry.issue)
        if resume_at is not None and entry.client_seq > resume_at:
            self.refuse(entry, RETRY, "an earlier edit of this issue was not stored")
            return False
        self._resume_at.pop(entry.issue, None)
        return True

    def put_off(self, entries: Iterable[PushEntry], seconds: int) -> None:
        """They come too early, and have to come again in so many seconds, the first of each issue first.

        Raises `Refused` when the client did not keep to the window, and when it has not waited: more came in a row than
        a window holds, which was all that could be under way when it was told to.
        """
        for entry in entries:
            self._came(entry)
            self._put_off += 1
            if self._put_off > self._limits.push_entries:
                raise Refused(TOO_FAST, "edits go on coming that were to come later")
            self._begin_again_at(entry)
            self.refuse(entry, TOO_FAST, "too many edits", seconds)

    def stored(self, entry: PushEntry, seq: int) -> None:
        """Its content is committed."""
        self._answered(entry)
        self._acked.append((entry.client_seq, seq))

    def refuse(self, entry: PushEntry, code: str, message: str, retry_after: int | None = None) -> None:
        """It is not."""
        self._answered(entry)
        self._nacked.append(Nack(entry.client_seq, code, message[:_MAX_MESSAGE_CHARS], retry_after))

    def lose(self, entries: Iterable[PushEntry], message: str) -> None:
        """Nobody knows: these of one issue have to come again, the first of them first."""
        for entry in entries:
            self._begin_again_at(entry)
            self.refuse(entry, RETRY, message)

    def want(self, issue: UUID, state_vector: bytes) -> None:
        """Ask for what an edit rests on."""
        self._wants[issue] = state_vector
        self._schedule()

    def _came(self, entry: PushEntry) -> None:
        """Raises `Refused`."""
        self._entries += 1
        self._bytes += len(entry.update)
        is_over = self._bytes > self._limits.push_bytes and self._entries > 1
        if is_over or self._entries > self._limits.push_entries:
            raise Refused(WINDOW, f"{self._entries} edits with {self._bytes} bytes are not answered yet")

    def _begin_again_at(self, entry: PushEntry) -> None:
        first = self._resume_at.setdefault(entry.issue, entry.client_seq)
        self._resume_at[entry.issue] = min(first, entry.client_seq)

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
