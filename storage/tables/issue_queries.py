"""Pages of `issues` for those who read records: filters, and keysets that writes in between do not disturb."""

# ruff: noqa: S608 -- the statements are built from constants of this module; every value is an argument, but for the limit, a number

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

KeysetValue: TypeAlias = str | int | datetime | UUID | None


@dataclass(frozen=True, slots=True)
class Column:
    """What a list may be sorted by: its expression, and the type of its values. NULL is first descending and last
    ascending, as an index has it, so that a row without a value is on a page, not lost."""

    name: str
    expression: str
    type: str
    is_nullable: bool = False


@dataclass(frozen=True, slots=True)
class SortKey:
    """One column of an order."""

    column: Column
    is_descending: bool


COLUMNS: Final = {
    column.name: column
    for column in (
        Column("updated_at", "i.updated_at", "timestamptz", is_nullable=True),
        Column("created_at", "i.created_at", "timestamptz", is_nullable=True),
        Column("completed_at", "i.completed_at", "timestamptz", is_nullable=True),
        Column("priority", "priority_rank(i.priority)", "int"),
        Column("status", "i.status", "text"),
        Column("version", "i.version", "bigint"),
        Column("id", "i.id", "uuid"),
    )
}
_ID: Final = COLUMNS["id"]
_EQUAL: Final = ("status", "user_id", "session_id", "claude_task_id")  # filters that are a column as it is
NEWEST_FIRST: Final = (SortKey(COLUMNS["updated_at"], is_descending=True),)

# Of a text that more issues hold than this, as Postgres estimates it, the order is walked until a page is full; what
# fewer hold is looked up and sorted. The two cost about the same here, of 100,000 issues.
MANY: Final = 5_500
# So few that were looked up are read by their ids; of more the order is walked past those that are not among them.
FEW: Final = 500
# So many are looked up where that was estimated too low.
MOST: Final = 11_000

_SELECTED: Final = """i.id, i.seq, i.version, i.title, i.description, i.status, i.priority, i.user_id, i.session_id,
    i.claude_task_id, i.labels, i.created_by, i.created_at, i.updated_at, i.completed_at, i.deleted_at, i.unreadable"""


@dataclass(frozen=True, slots=True)
class IssueQuery:
    """What to list. A filter that is None does not filter. Datetimes are aware, texts hold no NUL. `after`: the values
    of the last row of the page before, one a column of `order`."""

    limit: int = 50
    sort: Sequence[SortKey] = NEWEST_FIRST
    after: Sequence[KeysetValue] | None = None
    status: str | None = None
    priority: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    claude_task_id: str | None = None
    label: str | None = None
    updated_since: datetime | None = None
    is_deleted: bool = False
    text: str | None = None

    @property
    def filters(self) -> int:
        """How many there are, beside the text and what is deleted."""
        columns = (*_EQUAL, "priority", "label", "updated_since")
        return sum(getattr(self, column) is not None for column in columns)

    @property
    def order(self) -> list[SortKey]:
        """The sort, made total by the id."""
        keys = list(self.sort)
        if all(key.column is not _ID for key in keys):
            keys.append(SortKey(_ID, keys[-1].is_descending if keys else False))
        return keys


class _Statement:
    """A statement under way: its conditions, and its arguments under their numbers."""

    def __init__(self, workspace_id: int, query: IssueQuery) -> None:
        self.query = query
        self.arguments: list[object] = [workspace_id]
        self.conditions = ["i.workspace_id = $1"]
        self.tables = "issues AS i"

    def argument(self, value: object) -> str:
        """The place of a value."""
        self.arguments.append(value)
        return f"${len(self.arguments)}"

    def require(self, condition: str, *values: object) -> None:
        """Another condition, with a place for each value."""
        self.conditions.append(condition.format(*map(self.argument, values)))

    def expression(self, column: Column) -> str:
        """A column. With a label, its index has the order, so what it knows is taken from there."""
        return column.expression if self.query.label is None else _OF_LABEL.get(column.name, column.expression)


_BESIDE_LABEL: Final = ("status", "user_id")  # in its index too, whichever index is walked then
_OF_LABEL: Final = {"updated_at": "l.updated_at", "id": "l.issue_id"}


def statement(
    workspace_id: int, query: IssueQuery, *, words: str = "", is_looked_up: bool = False
) -> tuple[str, list[object]]:
    """The SQL of a page and its arguments; it asks for one row more than the page, which tells whether one follows.

    `words`: the condition of `issue_words` that `query.text` makes, where there is one. With `is_looked_up` what meets
    it is found first, otherwise rows are looked at in the order asked for. Its rows have a column `found`, how many
    that were, NULL for none: above `MOST` it was given up. Where no row is on the page there is one whose id is NULL.
    """
    made = _Statement(workspace_id, query)
    if query.label is not None:
        made.tables += " JOIN issue_labels AS l ON l.workspace_id = i.workspace_id AND l.issue_id = i.id"
        made.require(f"l.workspace_id = $1 AND l.label = {{}} AND l.is_deleted = {query.is_deleted}", query.label)
    _filter(made)
    if query.after is not None:
        made.conditions.append(_beyond(made, query.after))
    keys = [(made.expression(key.column), key.is_descending) for key in query.order]
    named = [(f"key_{at}", is_descending) for at, (_, is_descending) in enumerate(keys)]
    told = ", ".join(f"{expression} AS {name}" for (expression, _), (name, _) in zip(keys, named, strict=True))
    limit = int(query.limit) + 1  # not an argument: a plan that is kept would reckon with a tenth of all rows
    meets = "" if query.text is None else words.format(made.argument(query.text))

    def page(columns: str, *conditions: str) -> str:
        where = " AND ".join([*made.conditions, *conditions])
        return f"SELECT {columns}, {told} FROM {made.tables} WHERE {where} ORDER BY {_order(keys)} LIMIT {limit}"

    if meets and not is_looked_up:
        of_it = "w.workspace_id = i.workspace_id AND w.issue_id = i.id"
        made.conditions.append(f"(SELECT {meets} FROM issue_words AS w WHERE {of_it})")
    if query.label is None and not meets:
        return page(_SELECTED), made.arguments
    # Which rows it is can be told from indexes alone; only these are fetched.
    names = ", ".join(f"page.{name}" for name, _ in named)
    order, of_page = _order(named), "issues AS i ON i.workspace_id = $1 AND i.id = page.id"
    if not is_looked_up:
        sql = f"SELECT {_SELECTED}, {names} FROM ({page('i.id')}) AS page JOIN {of_page} ORDER BY {order}"
        return sql, made.arguments
    # One of the two, by how many were found: the other has nothing to do.
    pages = f"({page('i.id', _among_few())}) UNION ALL ({page('i.id', _among_more())})"
    return (
        f"WITH found AS MATERIALIZED ({_finding(meets)}) SELECT {_SELECTED}, {names}, told.found"
        " FROM (SELECT cardinality(ids) AS found FROM found) AS told"
        f" LEFT JOIN ({pages}) AS page JOIN {of_page} ON true ORDER BY {order}",
        made.arguments,
    )


def _finding(meets: str) -> str:
    found = f"SELECT w.issue_id FROM issue_words AS w WHERE w.workspace_id = $1 AND {meets} LIMIT {MOST + 1}"
    return f"SELECT array_agg(issue_id) AS ids FROM ({found}) AS each"


def _among_few() -> str:
    return f"i.id = ANY ((SELECT ids FROM found WHERE cardinality(ids) <= {FEW})::uuid[])"


def _among_more() -> str:
    # Only a subquery whose outcome is compared is looked into for each row of an order; an IN would become a join, and
    # all of it would be sorted.
    are_more = f"(SELECT cardinality(ids) > {FEW} AND cardinality(ids) <= {MOST} FROM found)"
    return f"{are_more} AND (i.id IN (SELECT unnest(ids) FROM found)) IS TRUE"


def _order(keys: Sequence[tuple[str, bool]]) -> str:
    return ", ".join(f"{expression} DESC" if is_descending else expression for expression, is_descending in keys)


def _filter(made: _Statement) -> None:
    query = made.query
    made.conditions.append(f"i.deleted_at IS {'NOT ' if query.is_deleted else ''}NULL")
    besides = () if query.label is None else _BESIDE_LABEL
    for column in _EQUAL:
        if (wanted := getattr(query, column)) is not None:
            made.require(
                f"i.{column} = {{0}} AND l.{column} = {{0}}" if column in besides else f"i.{column} = {{0}}", wanted
            )
    if query.priority is not None:
        # The index has ranks, so that it can sort by them too.
        made.require("priority_rank(i.priority) = priority_rank({0}) AND i.priority = {0}", query.priority)
    if query.updated_since is not None:
        made.require(f"{made.expression(COLUMNS['updated_at'])} >= {{}}", query.updated_since)


def _beyond(made: _Statement, after: Sequence[KeysetValue]) -> str:
    """The condition of being behind a row in the order."""
    keys = [(made.expression(key.column), key) for key in made.query.order]
    places = [f"{made.argument(value)}::{key.column.type}" for (_, key), value in zip(keys, after, strict=True)]
    is_descending = keys[0][1].is_descending
    # Only this form is a range of an index. Descending, the rows without a value came before.
    if all(
        key.is_descending == is_descending and (not key.column.is_nullable or (is_descending and value is not None))
        for (_, key), value in zip(keys, after, strict=True)
    ):
        columns = ", ".join(expression for expression, _ in keys)
        return f"({columns}) {'<' if is_descending else '>'} ({', '.join(places)})"
    choices = []
    for at, (expression, key) in enumerate(keys):
        same = [
            f"{before} IS NOT DISTINCT FROM {place}" for (before, _), place in zip(keys[:at], places[:at], strict=True)
        ]
        choices.append(" AND ".join([*same, _further(expression, key, places[at], is_null=after[at] is None)]))
    return f"({' OR '.join(f'({choice})' for choice in choices)})"


def _further(expression: str, key: SortKey, place: str, *, is_null: bool) -> str:
    if is_null:
        return f"{expression} IS NOT NULL" if key.is_descending else "false"
    if key.is_descending:
        return f"{expression} < {place}"
    return f"({expression} > {place} OR {expression} IS NULL)" if key.column.is_nullable else f"{expression} > {place}"
