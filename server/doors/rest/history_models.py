"""Changes of issues as clients of `/v1` see them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, Self, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from crdt import changes
from crdt.jobs_history import Entry
from crdt.reverts import LeftAlone
from storage.timeline import Blamed

MAX_CURSOR: Final = 500  # of what we write ourselves
Kind: TypeAlias = Literal["created", "field", "text", "labels", "comment", "other", "purged"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class TextEdit(_Frozen):
    """In a text, `deleted` was replaced by `inserted`. `at` counts code points of the text as it was before."""

    at: int
    deleted: str
    inserted: str


class FieldChanged(_Frozen):
    """A field got another value."""

    kind: Literal["field"] = "field"
    field: str
    old: str | datetime | None
    new: str | datetime | None


class TextChanged(_Frozen):
    """The title or the description got other characters, first place first."""

    kind: Literal["text"] = "text"
    field: str
    edits: list[TextEdit]


class LabelsChanged(_Frozen):
    """Labels were put on and taken off."""

    kind: Literal["labels"] = "labels"
    added: list[str]
    removed: list[str]


class CommentChanged(_Frozen):
    """`edits` are of its body. `deleted`: marked, its text is still there; `removed`: taken out of the document."""

    kind: Literal["comment"] = "comment"
    id: str
    change: Literal["added", "edited", "deleted", "restored", "removed"]
    edits: list[TextEdit]


class OtherChanged(_Frozen):
    """Something that no field shows: formats of a text, fields of other programs. `paths`: where."""

    kind: Literal["other"] = "other"
    paths: list[str]


Changed: TypeAlias = Annotated[
    FieldChanged | TextChanged | LabelsChanged | CommentChanged | OtherChanged, Field(discriminator="kind")
]


class HistoryEntry(_Frozen):
    """What one actor did on one device in edits that follow each other, `deltas` of them, from `first_seq` to `seq`.
    Without changes it has no visible effect. `version`: of the issue, with this entry."""

    seq: int
    first_seq: int
    deltas: int
    version: int
    actor: str
    device: str | None
    began_at: datetime
    at: datetime
    kinds: list[Kind]
    changes: list[Changed]

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """An entry as the timeline has it."""
        return cls(
            seq=entry.seq,
            first_seq=entry.first_seq,
            deltas=entry.deltas,
            version=entry.version,
            actor=entry.actor_id,
            device=entry.device_id,
            began_at=entry.began_at,
            at=entry.created_at,
            kinds=kinds_of(entry),
            changes=shown(entry.changes),
        )


class HistoryPage(_Frozen):
    """Entries, newest first. `cursor`: of the next page, null at the end. `floor`: the history begins after this seq, 0
    where all of it is kept."""

    entries: list[HistoryEntry]
    cursor: str | None
    floor: int


class ActivityEntry(_Frozen):
    """An entry of one issue. `is_readable` is false where no engine digests the issue, or it is gone; then there are no
    changes."""

    issue: UUID
    seq: int
    actor: str
    device: str | None
    at: datetime
    is_readable: bool
    kinds: list[Kind]
    changes: list[Changed]


class ActivityPage(_Frozen):
    """Entries of all issues, newest first, perhaps none. `cursor`: of the next page, null at the end."""

    entries: list[ActivityEntry]
    cursor: str | None


class Difference(_Frozen):
    """What makes the issue at seq `to_seq` of the issue at seq `from_seq`."""

    from_seq: int
    to_seq: int
    changes: list[Changed]


class BlameRun(_Frozen):
    """Characters that follow each other and were written in one entry. Of what was written up to `exact_after` only the
    actor is known, by whose replica it came from; null: not even that."""

    text: str
    actor: str | None
    device: str | None
    first_seq: int | None
    seq: int | None
    at: datetime | None


class BlamePage(_Frozen):
    """A text in runs, as it is at `seq`."""

    field: str
    seq: int
    exact_after: int
    runs: list[BlameRun]

    @classmethod
    def of(cls, field: str, blamed: Blamed) -> Self:
        """A blame as the timeline has it."""
        runs = [
            BlameRun(
                text=run.text,
                actor=run.actor_id,
                device=run.device_id,
                first_seq=run.first_seq,
                seq=run.seq,
                at=run.created_at,
            )
            for run in blamed.runs
        ]
        return cls(field=field, seq=blamed.seq, exact_after=blamed.exact_after, runs=runs)


class NotReverted(_Frozen):
    """Left as it is, because somebody else changed it later; only just now where there is no seq. `part`: "status",
    "labels.bug", "comments.c1"."""

    part: str
    actor: str | None
    seq: int | None


class RevertResult(_Frozen):
    """The revert is committed in `seq`; without changes nothing was to be taken back."""

    id: UUID
    seq: int
    changes: list[Changed]
    left_alone: list[NotReverted]


def left_alone(left: Iterable[LeftAlone]) -> list[NotReverted]:
    """What a revert did not touch."""
    return [NotReverted(part=".".join(one.part), actor=one.actor_id, seq=one.seq) for one in left]


def kinds_of(entry: Entry) -> list[Kind]:
    """What kinds of changes are in it."""
    kinds: list[Kind] = ["created"] if entry.version == entry.deltas else []
    return [*kinds, *dict.fromkeys(change.kind for change in shown(entry.changes))]


def shown(found: Sequence[changes.Change]) -> list[Changed]:
    """Changes as JSON has them."""
    return [_shown(change) for change in found]


def _shown(change: changes.Change) -> Changed:
    match change:
        case changes.FieldChange():
            return FieldChanged(field=change.field, old=change.old, new=change.new)
        case changes.TextChange():
            return TextChanged(field=change.field, edits=_edits(change.edits))
        case changes.LabelsChange():
            return LabelsChanged(added=list(change.added), removed=list(change.removed))
        case changes.CommentChange():
            return CommentChanged.model_validate(
                {"id": change.id, "change": change.kind, "edits": _edits(change.edits)}
            )
    return OtherChanged(paths=list(change.paths))


def _edits(edits: Sequence[changes.Replacement]) -> list[TextEdit]:
    return [TextEdit(at=edit.at, deleted=edit.deleted, inserted=edit.inserted) for edit in edits]
