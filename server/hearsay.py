"""What an update met without having heard of it: a deletion of its issue, or, if it is one, what others had written.
docs/conflicts.md says what counts as having heard.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from crdt.index import Index
from crdt.overwrites import deletion_in
from crdt.parser import parse
from crdt.records import UNBOUNDED, FieldWrite
from crdt.unaware import Heard, edited_before, edited_under
from server.session import Session
from storage.conflict_findings import before_deletion, under_deletion
from storage.conflicts import SYSTEM, NewConflict


def found_around(
    index: Index,
    before: FieldWrite | None,
    update: bytes,
    session: Session,
    arrived: Mapping[int, int],
    now: datetime,
    max_lead: timedelta,
) -> list[NewConflict]:
    """What `update`, which is in the index and was new, met. `before`: what the issue was deleted by when it came ·
    `arrived`: what was committed when its session sent it."""
    deletion = deletion_in(index)
    user, device = session.identity.user_id, session.identity.device_id
    if deletion is None or user == SYSTEM:
        return []
    heard = Heard(user, session.stated, arrived)
    if not holds(update, deletion):
        edited = edited_under(index, deletion, update, heard)
        return [under_deletion(deletion, edited, user, device, now, max_lead)] if edited else []
    if before is not None:
        return []  # two who delete an issue agree
    unheard = edited_before(index, deletion, update, heard)
    return [
        before_deletion(deletion, edited, author, max_lead) for author, edited in unheard.items() if author != SYSTEM
    ]


def holds(update: bytes, write: FieldWrite) -> bool:
    """Whether an update brings a value."""
    sections = parse(update, UNBOUNDED).sections
    return any(each.client == write.client and each.clock <= write.clock < each.end for each in sections)
