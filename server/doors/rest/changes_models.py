"""What `GET …/changes` is asked, and what it answers."""

from __future__ import annotations

from base64 import b64encode
from enum import StrEnum
from typing import Annotated, Any, Final, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from crdt import native
from crdt.native_entries import CONFLICT, ROW, SNAPSHOT, TOMBSTONE, Entry, read_conflict, read_row
from server.doors.rest.models import Seq
from server.doors.rest.operations import Query

_HEX: Final = "[0-9a-fA-F]"
_UUID: Final = f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
RELOAD: Final = rf"^([0-9]{{1,15}})\.([0-9]{{1,15}})(?:\.({_UUID}))?$"


class Mode(StrEnum):
    """What is followed."""

    UPDATES = native.UPDATES
    ROWS = native.ROWS
    CONFLICTS = native.CONFLICTS


class ChangesQuery(Query):
    """Where to go on."""

    since: Seq | None = Field(
        None, description="The cursor. Without it, and without `reload`, the answer is the first page of a reload."
    )
    epoch: UUID | None = Field(None, description="Of the cursor; without it the current one is assumed.")
    limit: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Deltas of the log, or conflicts, that an answer takes in; `feed-page-deltas` at most."
    )
    wait: Annotated[int, Field(ge=0)] = Field(
        0, description="Seconds to wait for the first change, `max-poll-seconds` at most."
    )
    mode: Mode = Mode.UPDATES
    reload: Annotated[str, Field(pattern=RELOAD)] | None = Field(
        None, description="`base.since` or `base.since.after`, as `next` or a 410 has it: a reload to go on with."
    )


class Change(BaseModel):
    """What has changed of an issue: one of `update` and `snapshot` (base64), `row`, `conflict` and `purged`. `seq`: of
    its newest delta; in its place `change`, the number of a conflict's newest change."""

    issue: UUID
    seq: int = 0
    change: int = 0
    update: str = ""
    snapshot: str = ""
    row: dict[str, Any] | None = None
    conflict: dict[str, Any] | None = None
    purged: bool = False

    @classmethod
    def of(cls, entry: Entry, mode: Mode) -> Self:
        """An entry of the feed."""
        told: dict[str, Any] = {"change" if mode is Mode.CONFLICTS else "seq": entry.seq}
        if entry.kind == TOMBSTONE:
            told["purged"] = True
        elif entry.kind == CONFLICT:
            told["conflict"] = read_conflict(entry.payload)
        elif entry.kind == ROW:
            told["row"] = read_row(entry.payload)
        else:
            told["snapshot" if entry.kind == SNAPSHOT else "update"] = b64encode(entry.payload).decode()
        return cls(issue=entry.issue, **told)


class ChangesPage(BaseModel):
    """A page of the log after a cursor, through `to`; or of a reload: `from` and `to` are null then, and `until` says
    how far it got. `next`: the address of what follows."""

    model_config = ConfigDict(serialize_by_alias=True)

    epoch: UUID
    from_seq: int | None = Field(serialization_alias="from")
    to_seq: int | None = Field(serialization_alias="to")
    head: int
    until: UUID | None = None
    next: str
    changes: list[Change]
