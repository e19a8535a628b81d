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
