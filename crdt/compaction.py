"""When a document may be folded through a live `Document`, and what comes out.

Merged bytes never shrink: 5,000 sets of one key are 78,890 bytes, through a document 39. But a document's snapshot
silently leaves out whatever is pending, so it replaces the merged bytes only after passing every test of `_flaw`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from crdt import ranges
from crdt.document import Document
from crdt.errors import Refused
from crdt.issue import read
from crdt.parser import parse
from crdt.records import ANY, BOUNDLESS, SKIP, Limits, Parsed, Section
from crdt.update import repair_cuts

_NO_BOUND: Final = 1 << 40
# What the log holds was bounded delta by delta; their sum has no bound of its own.
STORED: Final = Limits(
    max_update_bytes=_NO_BOUND,
    max_structs=_NO_BOUND,
    max_new_clients=_NO_BOUND,
    max_depth=128,
    max_key_bytes=_NO_BOUND,
    capacity=BOUNDLESS,
)


@dataclass(frozen=True, slots=True)
class Compaction:
    """`state` stands for the whole issue. `kept` says why the merged bytes were kept, None when they shrank."""

    state: bytes
    kept: str | None


def compact(merged: bytes, cuts: set[tuple[int, int]]) -> Compaction:
    """Fold an issue's merged updates into a snapshot, or keep them as they are when that might lose something.

    `cuts` are the halved surrogate pairs its index knows of: repaired first, since a document counts them wrongly.
    """
    try:
        whole = repair_cuts(merged, cuts)
        document = Document.load(whole)
        snapshot = document.snapshot()
        flaw = _flaw(whole, document, snapshot)
    except Refused as refused:
        flaw = f"not strict: {refused.reason}"
    except (ValueError, RuntimeError) as error:
        flaw = f"the engine refused: {type(error).__name__}"
    return Compaction(merged, flaw) if flaw else Compaction(snapshot, None)


def _flaw(merged: bytes, document: Document, snapshot: bytes) -> str | None:
    """Why `snapshot` cannot replace `merged`; None when it can."""
    before = parse(merged, STORED)
    if not _is_contiguous(before):
        return "not contiguous"
    if document.state_vector() != _state_vector(before):
        return "something is pending"
    after = parse(snapshot, STORED)
    if not _is_contiguous(after) or _state_vector(after) != _state_vector(before):
        return "the snapshot has another state vector"
    if not _covers(after.deletes, before.deletes):
        return "the snapshot lacks deletes"
    reloaded = Document.load(snapshot)
    if not _is_same(parse(reloaded.snapshot(), STORED), after):
        return "the snapshot does not load to itself"
    if read(reloaded) != read(document):
        return "the snapshot reads differently"
    return None


def _is_same(left: Parsed, right: Parsed) -> bool:
    """Struct for struct the same bytes; only plain objects differ, whose keys the engine writes in any order."""
    return left.deletes == right.deletes and [_shown(left, section) for section in left.sections] == [
        _shown(right, section) for section in right.sections
    ]


def _shown(parsed: Parsed, section: Section) -> tuple[int, int, list[bytes]]:
    structs = [parsed.data[struct.start : struct.end] for struct in section.structs]
    unordered = [
        bytes(sorted(written)) if struct.kind == ANY else written
        for struct, written in zip(section.structs, structs, strict=True)
    ]
    return section.client, section.clock, unordered


def _is_contiguous(parsed: Parsed) -> bool:
    return all(
        section.clock == 0 and all(struct.kind != SKIP for struct in section.structs) for section in parsed.sections
    )


def _state_vector(parsed: Parsed) -> dict[int, int]:
    return {section.client: section.end for section in parsed.sections}


def _covers(after: dict[int, list[int]], before: dict[int, list[int]]) -> bool:
    return all(
        not ranges.missing(joined, flat[at], flat[at + 1])
        for client, flat in before.items()
        for joined in [_joined(after.get(client, []))]
        for at in range(0, len(flat), 2)
    )


def _joined(flat: list[int]) -> list[int]:
    """The parser leaves ranges that touch apart; `ranges` wants them joined."""
    joined: list[int] = []
    for at in range(0, len(flat), 2):
        ranges.add(joined, flat[at], flat[at + 1])
    return joined
