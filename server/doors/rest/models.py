"""Issues as clients of `/v1` see them, and what they may ask: the models validate and describe at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from crdt.edits import Begin
from crdt.encoding import MAX_SAFE_INTEGER
from crdt.issue import MAX_DESCRIPTION_CHARS, MAX_LABELS, MAX_SHORT_CHARS, MAX_TITLE_CHARS
from crdt.shape import Changes
from storage.store import ProjectedIssue
from storage.tables.issue_queries import IssueQuery, Keyset, Sort

MAX_PAGE = 200


class Issue(BaseModel):
    """One issue. `version` counts its edits, `seq` is where in the workspace's log it was read."""

    id: UUID
    seq: int
    version: int
    title: str
    description: str
    status: str
    priority: str
    user_id: str | None
    session_id: str | None
    claude_task_id: str | None
    labels: list[str]
    created_by: str | None
    created_at: datetime | None
    updated_at: datetime | None
    completed_at: datetime | None
    deleted_at: datetime | None

    @classmethod
    def of(cls, row: ProjectedIssue) -> Self:
        """What a row says."""
        content = {name: getattr(row.content, name) for name in cls.model_fields if hasattr(row.content, name)}
        return cls(id=row.issue_id, seq=row.seq, version=row.version, **content)


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("out of range") from None


def _known_fields(text: str) -> str:
    if unknown := set(text.split(",")) - Issue.model_fields.keys():
        raise ValueError(f"{len(unknown)} of them are not fields of an issue")
    return text


# Postgres text holds no NUL, so nothing stored can match one.
Short = Annotated[str, Field(min_length=1, max_length=MAX_SHORT_CHARS, pattern="^[^\\x00]*$")]
Seq = Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER)]


class ReadParameters(BaseModel):
    """The query of every read. `token` is where a browser without headers puts its token."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    min_seq: Seq = 0
    fields: Annotated[str, AfterValidator(_known_fields)] | None = None
    token: str | None = None

    def shown(self, row: ProjectedIssue) -> dict[str, Any]:
        """An issue with the fields asked for, as JSON has it."""
        chosen = None if self.fields is None else set(self.fields.split(","))
        return Issue.of(row).model_dump(mode="json", include=chosen)


class ListParameters(ReadParameters):
    """The query of a list."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50
    sort: Sort = "-updated_at"
    cursor: Annotated[str, Field(max_length=500)] | None = None
    status: Short | None = None
    priority: Short | None = None
    user_id: Short | None = None
    session_id: Short | None = None
    claude_task_id: Short | None = None
    label: Short | None = None
    updated_since: Annotated[AwareDatetime, AfterValidator(_utc)] | None = None
    deleted: bool = False

    def query(self, after: Keyset | None) -> IssueQuery:
        """What the reader is asked."""
        return IssueQuery(
            limit=self.limit,
            sort=self.sort,
            after=after,
            status=self.status,
            priority=self.priority,
            user_id=self.user_id,
            session_id=self.session_id,
            claude_task_id=self.claude_task_id,
            label=self.label,
            updated_since=self.updated_since,
            is_deleted=self.deleted,
        )


class _Fields(BaseModel):
    """What a client may write of an issue. None empties a field that may be empty."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    status: Short | None = None
    priority: Short | None = None
    user_id: Short | None = None
    session_id: Short | None = None
    claude_task_id: Short | None = None
    completed_at: AwareDatetime | None = None

    def fields(self) -> dict[str, str | datetime | None]:
        """The fields that are named."""
        return {name: getattr(self, name) for name in _Fields.model_fields if name in self.model_fields_set}


class IssueCreate(_Fields):
    """A new issue. With an `id`, sending it again changes nothing."""

    id: UUID | None = None
    title: Annotated[str, Field(min_length=1, max_length=MAX_TITLE_CHARS)]
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION_CHARS)] = ""
    labels: Annotated[list[Short], Field(max_length=MAX_LABELS)] = []

    def edit(self) -> Begin:
        """What is asked of the document."""
        return Begin(self.title, self.description, self.labels, self.fields())


class IssuePatch(_Fields):
    """Changes of an issue: only what is named. `labels` replaces them all, `add_labels` and `remove_labels` do not."""

    title: Annotated[str, Field(max_length=MAX_TITLE_CHARS)] = ""
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION_CHARS)] = ""
    labels: Annotated[list[Short], Field(max_length=MAX_LABELS)] = []
    add_labels: Annotated[list[Short], Field(max_length=MAX_LABELS)] = []
    remove_labels: Annotated[list[Short], Field(max_length=MAX_LABELS)] = []

    def edit(self) -> Changes:
        """What is asked of the document."""
        named = self.model_fields_set
        return Changes(
            title=self.title if "title" in named else None,
            description=self.description if "description" in named else None,
            fields=self.fields(),
            labels=self.labels if "labels" in named else None,
            add_labels=tuple(self.add_labels),
            remove_labels=tuple(self.remove_labels),
        )
