"""What a room accepted lately, held against what the log tells it only later: another node may have committed first."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from crdt.index import Index
from crdt.overwrites import deletion_in
from crdt.records import FieldWrite
from crdt.unaware import Heard, edited_by, edited_under
from server.batch import Batch
from server.hearsay import holds
from server.permissions import Identity
from storage.conflict_findings import before_deletion, under_deletion
from storage.conflicts import SYSTEM, NewConflict
from storage.store import Delta

_MAX_KEPT: Final = 64  # deltas: more than one node commits to an issue before it reads what another has
_MAX_BYTES: Final = 64 * 1024  # of one


Accepted: TypeAlias = tuple[int, bytes, Identity, Mapping[int, int]]  # seq, update, who, and what they stated


class Lately:
    """Of one room. `deletion`: the last one that was accepted here for an issue that was not deleted, as far as was
    known."""

    __slots__ = ("_accepted", "deletion")

    def __init__(self) -> None:
        self._accepted: deque[Accepted] = deque(maxlen=_MAX_KEPT)
        self.deletion: tuple[int, int] | None = None

    def landed(self, batch: Batch, seqs: Sequence[int]) -> None:
        """This was committed."""
        for session, update, seq in zip(batch.authors, batch.updates, seqs, strict=True):
            if len(update) <= _MAX_BYTES:
                self._accepted.append((seq, update, session.identity, session.stated))

    def met(self, index: Index, delta: Delta, was_deleted: bool, max_lead: timedelta) -> list[NewConflict]:
        """What of this node met a delta of another one, which came before it and is in the index now. `was_deleted`:
        the issue, before that was known."""
        deletion = deletion_in(index)
        after = [each for each in self._accepted if each[0] > delta.seq]
        if deletion is None or delta.actor_id == SYSTEM:
            return []
        if holds(delta.update, deletion):
            found = [] if was_deleted else [_under(index, deletion, each, delta.created_at, max_lead) for each in after]
        elif (deletion.client, deletion.clock) == self.deletion:
            found = [_before(index, deletion, each, delta, max_lead) for each in after if holds(each[1], deletion)]
        else:
            found = []
        return [conflict for conflict in found if conflict is not None]


def _under(index: Index, deletion: FieldWrite, edit: Accepted, at: datetime, max_lead: timedelta) -> NewConflict | None:
    _, update, who, stated = edit
    told = None if who.user_id == SYSTEM else edited_under(index, deletion, update, Heard(who.user_id, stated, {}))
    return under_deletion(deletion, told, who.user_id, who.device_id, at, max_lead) if told else None


def _before(
    index: Index, deletion: FieldWrite, deleted: Accepted, delta: Delta, max_lead: timedelta
) -> NewConflict | None:
    told = None if deleted[2].user_id == delta.actor_id else edited_by(index, delta.update, deleted[3])
    return before_deletion(deletion, told, delta.actor_id, max_lead) if told else None
