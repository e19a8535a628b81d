"""What may be pushed now: the outbox in order, as much of it unanswered as the server allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from syncline.records import Entry

_FRAME_ROOM_BYTES: Final = 64 * 1024  # of a frame, for what is not updates
_ENTRY_BYTES: Final = 64  # more than the frame adds to one update
_PUSH_ENTRIES: Final = 1_000  # in one frame


@dataclass(frozen=True, slots=True)
class PushLimits:
    """The server's, by the names of `welcome`."""

    frame_bytes: int
    update_bytes: int
    push_entries: int
    push_bytes: int

    @classmethod
    def of(cls, limits: Mapping[str, int]) -> PushLimits:
        """Of a welcome. What it does not say is taken to be small."""
        return cls(
            frame_bytes=limits.get("frame_bytes", 1 << 20),
            update_bytes=limits.get("update_bytes", 1 << 19),
            push_entries=limits.get("push_entries", 100),
            push_bytes=limits.get("push_bytes", 1 << 19),
        )


class PushWindow:
    """The unanswered edits of one connection. `sent_through`: the newest entry that was sent."""

    __slots__ = ("_bytes", "_limits", "_must_rewind", "_unanswered", "sent_through")

    def __init__(self, limits: PushLimits) -> None:
        self._limits = limits
        self._unanswered: dict[int, int] = {}
        self._bytes = 0
        self._must_rewind = False
        self.sent_through = 0

    @property
    def room(self) -> tuple[int, int]:
        """(entries, bytes) that may be sent in one frame now; no entries means wait for answers."""
        entries = min(self._limits.push_entries - len(self._unanswered), _PUSH_ENTRIES)
        frame = self._limits.frame_bytes - _FRAME_ROOM_BYTES - _PUSH_ENTRIES * _ENTRY_BYTES
        if self._must_rewind or entries <= 0 or self._bytes >= self._limits.push_bytes:
            return 0, 0
        return entries, max(1, min(self._limits.push_bytes - self._bytes, frame))

    @property
    def is_idle(self) -> bool:
        """Whether everything sent is answered."""
        return not self._unanswered

    @property
    def must_rewind(self) -> bool:
        """Whether an edit is to be sent again, once everything is answered and some time has passed."""
        return self._must_rewind

    def admits(self, entries: list[Entry]) -> bool:
        """Whether these may be sent. One that is bigger than the window goes when no other is unanswered."""
        size = sum(len(entry.update) for entry in entries)
        return self.is_idle or self._bytes + size <= self._limits.push_bytes

    def is_too_large(self, entry: Entry) -> bool:
        """Whether the server would close the connection over it."""
        return len(entry.update) > min(self._limits.update_bytes, self._limits.frame_bytes - _FRAME_ROOM_BYTES)

    def sent(self, entries: Iterable[Entry]) -> None:
        """These were pushed."""
        for entry in entries:
            self._unanswered[entry.id] = len(entry.update)
            self._bytes += len(entry.update)
            self.sent_through = max(self.sent_through, entry.id)

    def answered(self, entry_id: int) -> None:
        """It was acked or nacked."""
        self._bytes -= self._unanswered.pop(entry_id, 0)

    def retry(self) -> None:
        """Something must be sent again: nothing new is sent before."""
        self._must_rewind = True

    def rewind(self) -> None:
        """Begin with the oldest entry of the outbox again."""
        assert self.is_idle
        self._must_rewind = False
        self.sent_through = 0
