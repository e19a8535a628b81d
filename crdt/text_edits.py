"""The difference between two texts as few small edits, so that what others type beside them survives."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

_LINES: Final = re.compile(r"[^\n]*\n|[^\n]+")
_WORDS: Final = re.compile(r"\w+|\s+|[^\w\s]")
# Matching is quadratic in tokens at worst: 2,000 words against as many take about 0.1 s. Beyond, a stretch is replaced.
_MAX_TOKENS: Final = 2_000


@dataclass(frozen=True, slots=True)
class TextEdit:
    """Replace `deleted` characters from `start` by `inserted`. Positions are code points of the old text."""

    start: int
    deleted: int
    inserted: str


def edits_between(old: str, new: str) -> list[TextEdit]:
    """Edits that turn `old` into `new`, last place first, so that each can be made without moving the others."""
    return list(_trimmed_edits(old, new, 0, (_LINES, _WORDS)))[::-1]


def rebased(edits: Sequence[TextEdit], seen: str, now: str) -> list[TextEdit]:
    """Edits of `seen` as edits of `now`, which others have made of it meanwhile. What they wrote stays, what they
    deleted stays deleted. Last place first, in and out.
    """
    kept = list(_kept(edits_between(seen, now)[::-1], len(seen)))
    moved = [one for edit in reversed(edits) for one in _moved(edit, kept)]
    return moved[::-1]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A stretch of the text that was seen, and where it is now."""

    seen_at: int
    now_at: int
    length: int


def _kept(theirs: Sequence[TextEdit], length: int) -> Iterator[_Kept]:
    """What their edits, first place first, left of a text of `length` characters."""
    seen_at = now_at = 0
    for edit in theirs:
        yield _Kept(seen_at, now_at, edit.start - seen_at)
        now_at += edit.start - seen_at + len(edit.inserted)
        seen_at = edit.start + edit.deleted
    yield _Kept(seen_at, now_at, length - seen_at)


def _moved(edit: TextEdit, kept: Sequence[_Kept]) -> Iterator[TextEdit]:
    """One edit, first place first: its text goes behind whatever is left of what was before it."""
    end = edit.start + edit.deleted
    before = [part for part in kept if part.seen_at < edit.start and part.length]
    at = before[-1].now_at + min(before[-1].length, edit.start - before[-1].seen_at) if before else 0
    if edit.inserted:
        yield TextEdit(at, 0, edit.inserted)
    for part in kept:
        first, last = max(edit.start, part.seen_at), min(end, part.seen_at + part.length)
        if first < last:
            yield TextEdit(part.now_at + first - part.seen_at, last - first, "")


def _trimmed_edits(old: str, new: str, offset: int, grains: Sequence[re.Pattern[str]]) -> Iterator[TextEdit]:
    """Leave out what both begin and end with; compare the rest token by token, then finer."""
    prefix = _common(old, new)
    suffix = _common(old[prefix:][::-1], new[prefix:][::-1])
    old, new = old[prefix : len(old) - suffix], new[prefix : len(new) - suffix]
    offset += prefix
    if not old and not new:
        return
    if not old or not new or not grains:
        yield TextEdit(offset, len(old), new)
        return
    before, after = grains[0].findall(old), grains[0].findall(new)
    if max(len(before), len(after)) > _MAX_TOKENS:
        yield TextEdit(offset, len(old), new)
        return
    yield from _token_edits(before, after, offset, grains[1:])


def _token_edits(
    before: list[str], after: list[str], offset: int, finer: Sequence[re.Pattern[str]]
) -> Iterator[TextEdit]:
    at = 0
    for tag, old_start, old_end, new_start, new_end in SequenceMatcher(None, before, after, False).get_opcodes():
        old = "".join(before[old_start:old_end])
        if tag != "equal":
            yield from _trimmed_edits(old, "".join(after[new_start:new_end]), offset + at, finer)
        at += len(old)


def _common(left: str, right: str) -> int:
    """Length of the common beginning. Bisected: comparing slices is much faster than comparing characters."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
