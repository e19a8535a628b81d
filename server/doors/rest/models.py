"""Issues as clients of `/v1` see them, and what they may ask: the models validate and describe at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from crdt.edits import Begin
from crdt.encoding import MAX_SAFE_INTEGER
from crdt.issue import MAX_DESCRIPTION_CHARS, MAX_LABELS, MAX_SHORT_CHARS, MAX_TITLE_CHARS
from crdt.shape import Changes
from server.doors.rest.cursors import MAX_CHARS
from server.doors.rest.operations import Nothing, Query
from storage.store import ProjectedIssue
from storage.tables.issue_queries import COLUMNS, IssueQuery, KeysetValue, SortKey

MAX_PAGE = 200  # with their descriptions, which may be long; `max-page` may say less
MAX_SORT = 4  # of the format: no index has more
MAX_TEXT_CHARS = 200  # of the format: what is looked for, not read


class Issue(BaseModel):
    """One issue. `version` counts its edits, `seq` is where in the workspace's log it was read. With `fields=`, only
    what was asked for is there."""

    model_config = ConfigDict(frozen=True, json_schema_extra=lambda schema: schema.pop("required", None))

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
    labels: tuple[str, ...]
    created_by: str | None
    created_at: datetime | None
    updated_at: datetime | None
    completed_at: datetime | None
    deleted_at: datetime | None

    @classmethod
    def of(cls, row: ProjectedIssue, fields: Collection[str] | None = None) -> Self:
        """What a row says, or those `fields` of it."""
        of_row = {"id": row.issue_id, "seq": row.seq, "version": row.version}
        chosen: dict[str, Any] = {
            name: of_row[name] if name in of_row else getattr(row.content, name)
            for name in (cls.model_fields if fields is None else fields)
        }
        return cls.model_construct(**chosen)


class IssuePage(BaseModel):
    """Some issues. `cursor`: of the next page, null at the end."""

    issues: list[Issue]
    cursor: str | None


class Written(BaseModel):
    """An edit is committed. A read with `min_seq` of this `seq` sees it."""

    id: UUID
    seq: int


def _whole(number: Any) -> Any:
    """1.0 is an integer in JSON."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("out of range") from None


_FIELD = "|".join(Issue.model_fields)
_SORT = f"-?({'|'.join(COLUMNS)})"
# Postgres text holds no NUL, so nothing stored can match one.
Short = Annotated[str, Field(min_length=1, max_length=MAX_SHORT_CHARS, pattern="^[^\\x00]*$")]
Labels = Annotated[tuple[Short, ...], Field(max_length=MAX_LABELS)]
Seq = Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER), BeforeValidator(_whole)]


class RowsQuery(Query):
    """The query of every read of rows."""

    min_seq: Seq = Field(0, description="Wait until the rows are this far: the `seq` of what you wrote.")


class ReadParameters(RowsQuery):
    """The query of every read of issues."""

    fields: Annotated[str, Field(pattern=f"^({_FIELD})(,({_FIELD}))*$", max_length=500)] | None = Field(
        None, description="Only these fields, with commas between them."
    )

    def shown(self, row: ProjectedIssue) -> Issue:
        """An issue with the fields asked for."""
        return Issue.of(row, None if self.fields is None else self.fields.split(","))


class ListParameters(ReadParameters):
    """The query of a list."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50
    sort: Annotated[str, Field(pattern=f"^{_SORT}(,{_SORT}){{0,{MAX_SORT - 1}}}$")] = Field(
        "-updated_at", description="Columns with commas between them; `-` in front of one: descending."
    )
    cursor: Annotated[str, Field(max_length=MAX_CHARS)] | None = Field(None, description="The page before told it.")
    q: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS, pattern="^[^\\x00]*$")] | None = Field(
        None, description="Words of title, description or comments, all of them; each may go on."
    )
    status: Short | None = None
    priority: Short | None = None
    user_id: Short | None = None
    session_id: Short | None = None
    claude_task_id: Short | None = None
    label: Short | None = None
    updated_since: Annotated[AwareDatetime, AfterValidator(_utc)] | None = None
    deleted: bool = False

    @field_validator("sort")
    @classmethod
    def _once(cls, sort: str) -> str:
        names = [name.removeprefix("-") for name in sort.split(",")]
        if len(set(names)) < len(names):
            raise ValueError("names a column twice")
        return sort

    def keys(self) -> tuple[SortKey, ...]:
        """The sort."""
        return tuple(SortKey(COLUMNS[name.removeprefix("-")], name.startswith("-")) for name in self.sort.split(","))

    def list_name(self) -> str:
        """What a cursor is of: everything asked but how much of it is shown."""
        return self.model_dump_json(exclude={"cursor", "limit", "fields", "min_seq", "token"})

    def query(self, after: Sequence[KeysetValue] | None = None) -> IssueQuery:
        """What the reader is asked."""
        return IssueQuery(
            limit=self.limit,
            sort=self.keys(),
            after=after,
            text=self.q,
            status=self.status,
            priority=self.priority,
            user_id=self.user_id,
            session_id=self.session_id,
            claude_task_id=self.claude_task_id,
            label=self.label,
            updated_since=self.updated_since,
            is_deleted=self.deleted,
        )


class _Fields(Nothing):
    """What a client may write of an issue. None empties a field that may be empty."""

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
    labels: Labels = ()

    def edit(self) -> Begin:
        """What is asked of the document."""
        return Begin(self.title, self.description, self.labels, self.fields())


class IssuePatch(_Fields):
    """Changes of an issue: only what is named. `labels` replaces them all, `add_labels` and `remove_labels` do not."""

    title: Annotated[str, Field(max_length=MAX_TITLE_CHARS)] = ""
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION_CHARS)] = ""
    labels: Labels = ()
    add_labels: Labels = ()
    remove_labels: Labels = ()

    def edit(self) -> Changes:
        """What is asked of the document."""
        named = self.model_fields_set
        return Changes(
            title=self.title if "title" in named else None,
            description=self.description if "description" in named else None,
            fields=self.fields(),
            labels=self.labels if "labels" in named else None,
            add_labels=self.add_labels,
            remove_labels=self.remove_labels,
        )
