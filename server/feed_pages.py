"""Pages of a workspace's log for those who follow it with a cursor: read, merged per issue, and made into frames."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from crdt.native_entries import SNAPSHOT, TOMBSTONE, UPDATE, Entry, write_body, write_entry
from crdt.update import merge
from storage.store import Delta, StoredIssue

# A call on the loop may take a few milliseconds at most: so much is merged or compressed between two turns.
_TURN_BYTES: Final = 64 * 1024
_WORTH_PACKING_BYTES: Final = 512  # below it, zlib saves less than it costs
_LEVEL: Final = 1  # several times as fast as the default, for a tenth more bytes


class OutOfReach(Exception):
    """The log does not lead from a cursor to the head; `reason` is one of `Reset.reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LogPage:
    """What is new in (from_seq, to_seq]. `rows_read` of the log went into it."""

    from_seq: int
    to_seq: int
    head: int
    entries: Sequence[Entry]
    rows_read: int


@dataclass(frozen=True, slots=True)
class IssuePage:
    """Whole issues with ids after the last page's, through `until`; None: there are no more."""

    until: UUID | None
    entries: Sequence[Entry]


async def merged_deltas(deltas: Iterable[Delta]) -> list[Entry]:
    """Entries for the deltas of a page, by the newest of each issue."""
    newest: dict[UUID, int] = {}
    updates: dict[UUID, list[bytes]] = {}
    purged: set[UUID] = set()
    for delta in deltas:
        if delta.is_tombstone:
            purged.add(delta.issue_id)
        newest.pop(delta.issue_id, None)  # so that the dictionary stays in the order of the newest
        newest[delta.issue_id] = delta.seq
        updates.setdefault(delta.issue_id, []).append(delta.update)
    entries: list[Entry] = []
    turn = _Turn()
    for issue_id, seq in newest.items():
        if issue_id in purged:
            entries.append(tombstone(issue_id, seq))
            continue
        for group in _groups(updates[issue_id]):
            await turn.spend(sum(map(len, group)))
            entries.append(Entry(issue_id, seq, UPDATE, merge(group)))
    return entries


async def merged_issues(issues: Iterable[tuple[UUID, StoredIssue]]) -> list[Entry]:
    """Entries for whole issues, in the order given."""
    entries: list[Entry] = []
    turn = _Turn()
    for issue_id, stored in issues:
        if stored.is_purged:
            entries.append(tombstone(issue_id, stored.seq))
            continue
        kind = SNAPSHOT
        for group in _groups(stored.updates):
            await turn.spend(sum(map(len, group)))
            entries.append(Entry(issue_id, stored.seq, kind, merge(group)))
            kind = UPDATE
    return entries


def tombstone(issue_id: UUID, seq: int) -> Entry:
    """Says that an issue is gone for good."""
    return Entry(issue_id, seq, TOMBSTONE, b"")


async def body_of(entries: Sequence[Entry]) -> tuple[bool, bytes]:
    """The body of a page, and whether it is packed."""
    body = write_body(map(write_entry, entries), len(entries))
    if len(body) < _WORTH_PACKING_BYTES:
        return False, body
    packed = await _packed(body)
    return (True, packed) if len(packed) < len(body) else (False, body)


async def _packed(body: bytes) -> bytes:
    deflate = zlib.compressobj(_LEVEL)
    view = memoryview(body)
    pieces: list[bytes] = []
    turn = _Turn()
    for at in range(0, len(body), _TURN_BYTES):
        await turn.spend(_TURN_BYTES)
        pieces.append(deflate.compress(view[at : at + _TURN_BYTES]))
    pieces.append(deflate.flush())
    return b"".join(pieces)


def _groups(updates: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Adjacent updates small enough to be merged in one go; a big one stays as it is, merging it gains nothing."""
    group: list[bytes] = []
    size = 0
    for update in updates:
        if group and size + len(update) > _TURN_BYTES:
            yield group
            group, size = [], 0
        group.append(update)
        size += len(update)
    if group:
        yield group


class _Turn:
    """Lets the loop go round whenever enough was done."""

    __slots__ = ("_done",)

    def __init__(self) -> None:
        self._done = 0

    async def spend(self, size: int) -> None:
        """Before work on that many bytes."""
        if self._done and self._done + size > _TURN_BYTES:
            self._done = 0
            await asyncio.sleep(0)
        self._done += size
