"""What all reads of the past share: which moment is meant, and how the answer says that it cannot be told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, Field, WithJsonSchema

from crdt.errors import Refused
from server.doors.rest import cursors
from server.doors.rest.problems import (
    INVALID,
    SOON,
    TRIMMED,
    UNAVAILABLE,
    UNKNOWN_ISSUE,
    UNREADABLE,
    FieldError,
    Problem,
)
from server.moments import parse_moment
from storage.activity import Activity
from storage.engine import EngineFailed, EngineUnavailable, IssueKey
from storage.errors import Corrupt, Trimmed
from storage.history import History
from storage.store import ProjectedIssue, Workspace
from storage.timeline import SpanTooLong, Timeline

_MAX_SEQ: Final = 2**63 - 2


def _moment(text: str) -> str:
    try:
        moment = parse_moment(text)
    except ValueError:
        raise ValueError("give a seq (a number) or a time (ISO 8601)") from None
    if isinstance(moment, int) and moment > _MAX_SEQ:
        raise ValueError("no seq is that high")
    return text


Moment = Annotated[
    str,
    Field(min_length=1, max_length=40),
    AfterValidator(_moment),
    WithJsonSchema(
        {
            "type": "string",
            "anyOf": [{"pattern": "^[0-9]{1,18}$"}, {"format": "date-time"}],
            "description": "A seq, or a time in ISO 8601; without an offset it is UTC.",
        }
    ),
]


@dataclass(frozen=True, slots=True)
class Past:
    """Reads of what was."""

    history: History
    timeline: Timeline
    activity: Activity

    async def seq_of(self, key: IssueKey, moment: str) -> int:
        """The seq that a moment means. Raises `Problem`."""
        with answered():
            return await self.timeline.seq_at(key, parse_moment(moment))

    async def seq_before(self, workspace: Workspace, moment: str) -> int:
        """The newest seq of a workspace that is before what came since a moment."""
        since = parse_moment(moment)
        return since if isinstance(since, int) else await self.activity.seq_before(workspace.id, since)

    async def issue(self, workspace: Workspace, issue_id: UUID, moment: str) -> ProjectedIssue:
        """The issue as it was. Raises `Problem`, also where it did not exist yet."""
        seq = await self.seq_of(IssueKey(workspace.id, issue_id), moment)
        with answered():
            row = await self.history.as_of(workspace.id, issue_id, seq)
        if row is None:
            raise Problem(UNKNOWN_ISSUE, "it did not exist yet")
        return row


@contextmanager
def answered() -> Iterator[None]:
    """What reading the past raises, as problems."""
    try:
        yield
    except Trimmed as trimmed:
        raise Problem(TRIMMED, str(trimmed)) from None
    except SpanTooLong as long:
        raise Problem(
            INVALID, errors=[FieldError("since", f"there are {long} since then: name a later moment")]
        ) from None
    except (EngineFailed, Refused, Corrupt):
        raise Problem(UNREADABLE) from None
    except EngineUnavailable:
        raise Problem(UNAVAILABLE, "too busy", headers=SOON) from None


def before(cursor: str | None, of: str) -> int | None:
    """The seq a cursor holds, None without one. Raises `Problem`."""
    if cursor is None:
        return None
    try:
        (seq,) = cursors.read(cursor, of, ["int8"])
    except ValueError as error:
        raise Problem(INVALID, errors=[FieldError("cursor", str(error))]) from None
    assert isinstance(seq, int)
    return seq


def following(seq: int | None, of: str) -> str | None:
    """A cursor that holds a seq."""
    return None if seq is None else cursors.written(of, [seq])
