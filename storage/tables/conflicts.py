"""Rows of `conflicts` and `conflict_policies`: how they are recorded, beside an append or alone, and read back."""

# ruff: noqa: S608 -- the statements are built from constants of this module; every value is an argument

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from asyncpg import Record

from storage.conflicts import (
    Conflict,
    ConflictChanges,
    ConflictQuery,
    Forgotten,
    NewConflict,
    Settlement,
    Side,
    Strategy,
    conflict_id,
)
from storage.store import NewDelta
from storage.tables import deltas

_SIDES: Final = """standing_key, standing_value, standing_actor, standing_device, standing_at,
    losing_key, losing_value, losing_actor, losing_device, losing_at"""
_COLUMNS: Final = f"""workspace_id, id, issue_id, seq, kind, field, {_SIDES},
    strategy, state, resolution, resolved_value, resolved_by, resolved_at, created_at, change"""

# Takes the next numbers of a workspace, and with them the lock that orders changes; the result is the last of them.
_COUNT: Final = """INSERT INTO conflict_counters (workspace_id, changes) {}
    ON CONFLICT (workspace_id) DO UPDATE SET changes = conflict_counters.changes + excluded.changes
    RETURNING changes"""
_COUNT_ONE: Final = _COUNT.format("VALUES ($1, 1)")

# One JSON document holds all that was found: it is rare, and eighteen arrays would say no more. Values are JSON texts
# inside it, because what is read out of JSON cannot hold NUL.
_FOUND: Final = """json_to_recordset({}::json) AS found (
        position bigint, id uuid, kind text, field text, supersedes uuid, otherwise text,
        standing_key text, standing_value text, standing_actor text, standing_device text, standing_at timestamptz,
        losing_key text, losing_value text, losing_actor text, losing_device text, losing_at timestamptz)"""

# `found` beside where and when it was found, in `located`, of one workspace. The strategy is the one of this moment, on
# whatever node. Each has two numbers: `change`, and the one below it for the row that it supersedes.
_RECORD: Final = f"""
, drawn AS (
    {_COUNT.format("SELECT workspace_id, 2 * count(*) FROM located GROUP BY workspace_id")}
), numbered AS (
    SELECT located.*, changes - 2 * (row_number() OVER (ORDER BY position DESC, id DESC) - 1) AS change
    FROM located CROSS JOIN drawn
), decided AS (
    SELECT located.*, strategy,
        strategy = 'merge_fields'
        OR strategy = 'last_write_wins' AND (losing_at > standing_at) IS NOT TRUE AS is_decided
    FROM numbered AS located CROSS JOIN LATERAL (
        SELECT coalesce((
            SELECT strategy FROM conflict_policies AS policy
            WHERE policy.workspace_id = located.workspace_id
                AND (policy.field = located.field OR policy.field = '*' AND located.kind = 'update_update')
            ORDER BY policy.field = '*' LIMIT 1
        ), otherwise) AS strategy
    ) AS chosen
), recorded AS (
    INSERT INTO conflicts ({_COLUMNS})
    SELECT workspace_id, id, issue_id, seq, kind, field,
        standing_key, standing_value::json, standing_actor, standing_device, standing_at,
        losing_key, losing_value::json, losing_actor, losing_device, losing_at,
        strategy, CASE WHEN is_decided THEN 'resolved' ELSE 'open' END,
        CASE WHEN is_decided THEN 'standing' END, NULL, CASE WHEN is_decided THEN 'system' END,
        CASE WHEN is_decided THEN created_at END, created_at, change
    FROM decided
    ON CONFLICT (workspace_id, id) DO NOTHING
), superseded AS (
    UPDATE conflicts SET state = 'resolved', resolution = 'superseded', resolved_by = numbered.losing_actor,
        resolved_at = numbered.created_at, change = numbered.change - 1
    FROM numbered
    WHERE conflicts.workspace_id = numbered.workspace_id AND conflicts.id = numbered.supersedes
        AND conflicts.state = 'open'
)"""

# The append statement with what its deltas conflict with: still one statement, committed whole or not at all.
APPEND: Final = f"""{deltas.APPENDING}, located AS (
    SELECT found.*, incoming.workspace_id, issue_id, before + place AS seq, incoming.created_at
    FROM {_FOUND.format("$8")}
    JOIN incoming USING (position) JOIN bumped ON bumped.id = incoming.workspace_id
){_RECORD} {deltas.APPENDED}"""

NOTE: Final = f"""
WITH located AS (
    SELECT found.*, $2::bigint AS workspace_id, $3::uuid AS issue_id, $4::bigint AS seq, $5::timestamptz AS created_at
    FROM {_FOUND.format("$1")}
    WHERE NOT EXISTS (SELECT FROM tombstones WHERE workspace_id = $2 AND issue_id = $3)
){_RECORD} SELECT"""

ONE: Final = f"SELECT {_COLUMNS} FROM conflicts WHERE workspace_id = $1 AND id = $2"

CLAIM: Final = f"""
UPDATE conflicts SET claimed_until = $4
WHERE workspace_id = $1 AND id = $2 AND (claimed_until <= $3) IS NOT FALSE
RETURNING {_COLUMNS}"""

RELEASE: Final = "UPDATE conflicts SET claimed_until = NULL WHERE workspace_id = $1 AND id = $2"

SETTLE: Final = f"""
WITH drawn AS ({_COUNT_ONE})
UPDATE conflicts SET state = 'resolved', resolution = $3, resolved_value = $4, resolved_by = $5, resolved_at = $6,
    claimed_until = NULL, change = changes
FROM drawn WHERE workspace_id = $1 AND id = $2 AND (state = 'open' OR resolved_by = 'system' AND $5 <> 'system')
RETURNING {_COLUMNS}"""

# What a purge does, after it has locked the workspace: the number of that change, NULL where there were none.
FORGET: Final = f"""
WITH drawn AS ({_COUNT_ONE}), forgotten AS (
    DELETE FROM conflicts USING drawn WHERE workspace_id = $1 AND issue_id = $2 RETURNING changes
)
SELECT max(changes) FROM forgotten"""

CHANGES: Final = "SELECT changes FROM conflict_counters WHERE workspace_id = $1"

# The newest number beside what changed after $2, all as of one moment: at most $3 rows and, after the first, at most $4
# bytes of values. Whoever begins is told what is open, and the changes after that. Of an issue that was purged there is
# its id alone.
CHANGED: Final = f"""
WITH changed AS (
    (SELECT {_COLUMNS} FROM conflicts WHERE workspace_id = $1 AND change > $2 AND ($2 > 0 OR state = 'open')
    ORDER BY change LIMIT $3 + 1)
    UNION ALL
    (SELECT workspace_id, NULL, issue_id, seq, {"NULL, " * 19}conflict_change
    FROM tombstones WHERE workspace_id = $1 AND conflict_change > $2 AND $2 > 0 ORDER BY conflict_change LIMIT $3 + 1)
), measured AS (
    SELECT *, row_number() OVER (ORDER BY change) AS row,
        sum(coalesce(octet_length(standing_value::text), 0) + coalesce(octet_length(losing_value::text), 0)
            + coalesce(octet_length(resolved_value::text), 0)) OVER (ORDER BY change) AS bytes
    FROM changed
)
SELECT newest, (SELECT count(*) FROM changed) AS found, measured.*
FROM (SELECT coalesce(({CHANGES}), 0) AS newest) AS counter
LEFT JOIN measured ON row <= $3 AND (bytes <= $4 OR row = 1) ORDER BY change"""

UNSETTLED_WORKSPACES: Final = "SELECT syncline_undecided_workspaces() ORDER BY 1"
UNSETTLED: Final = f"""
SELECT {_COLUMNS} FROM conflicts
WHERE workspace_id = $1 AND state = 'open' AND strategy = 'last_write_wins' AND (claimed_until <= $3) IS NOT FALSE
ORDER BY seq, id LIMIT $2"""

POLICY: Final = "SELECT field, strategy FROM conflict_policies WHERE workspace_id = $1"
SET_POLICY: Final = """
WITH kept AS (
    INSERT INTO conflict_policies (workspace_id, field, strategy)
    SELECT $1, field, strategy FROM unnest($2::text[], $3::text[]) AS row (field, strategy)
    ON CONFLICT (workspace_id, field) DO UPDATE SET strategy = excluded.strategy
)
DELETE FROM conflict_policies WHERE workspace_id = $1 AND field <> ALL ($2)"""


def append_arguments(batch: Sequence[NewDelta]) -> Sequence[object]:
    """What `APPEND` takes."""
    found = [
        _found(delta.issue_id, conflict, position)
        for position, delta in enumerate(batch, start=1)
        for conflict in delta.conflicts
    ]
    return *deltas.append_arguments(batch), json.dumps(found)


def note_arguments(
    workspace_id: int, issue_id: UUID, seq: int, found: Sequence[NewConflict], at: datetime
) -> Sequence[object]:
    """What `NOTE` takes."""
    return json.dumps([_found(issue_id, conflict) for conflict in found]), workspace_id, issue_id, seq, at


def settle_arguments(workspace_id: int, conflict_id: UUID, settlement: Settlement) -> Sequence[object]:
    """What `SETTLE` takes."""
    value = None if settlement.value is None else json.dumps(settlement.value)
    return workspace_id, conflict_id, settlement.resolution, value, settlement.by, settlement.at


def set_policy_arguments(workspace_id: int, policy: Mapping[str, Strategy]) -> Sequence[object]:
    """What `SET_POLICY` takes."""
    return workspace_id, list(policy), list(policy.values())


def page(workspace_id: int, query: ConflictQuery) -> tuple[str, Sequence[object]]:
    """The SQL of a page and its arguments."""
    arguments: list[object] = [workspace_id]
    conditions = ["workspace_id = $1"]

    def require(condition: str, *values: object) -> None:
        numbers = [f"${len(arguments) + place}" for place in range(1, len(values) + 1)]
        arguments.extend(values)
        conditions.append(condition.format(*numbers))

    for column, wanted in (("issue_id", query.issue_id), ("kind", query.kind)):
        if wanted is not None:
            require(f"{column} = {{}}", wanted)
    if query.state is not None:
        conditions.append(f"state = '{'open' if query.state == 'open' else 'resolved'}'")  # finds the partial index
    if query.after is not None:
        require("(seq, id) > ({}, {})", query.after.seq, query.after.id)
    arguments.append(query.limit)
    where = " AND ".join(conditions)
    return f"SELECT {_COLUMNS} FROM conflicts WHERE {where} ORDER BY seq, id LIMIT ${len(arguments)}", arguments


def conflict(row: Record) -> Conflict:
    """A row of this table."""
    return Conflict(
        row["workspace_id"],
        row["id"],
        row["issue_id"],
        row["seq"],
        row["kind"],
        row["field"],
        _side(row, "standing"),
        _side(row, "losing"),
        row["strategy"],
        row["state"],
        row["resolution"],
        _value(row["resolved_value"]),
        row["resolved_by"],
        row["resolved_at"],
        row["created_at"],
        row["change"],
    )


def changed(rows: Sequence[Record]) -> ConflictChanges:
    """What `CHANGED` returns, one row at least."""
    newest: int = rows[0]["newest"]
    told = [row for row in rows if row["change"] is not None]
    is_whole = not told or len(told) == told[0]["found"]
    return ConflictChanges(
        [Forgotten(row["issue_id"], row["change"]) if row["id"] is None else conflict(row) for row in told],
        newest if is_whole else told[-1]["change"],
        newest,
    )


def _found(issue_id: UUID, found: NewConflict, position: int = 0) -> dict[str, object]:
    supersedes = found.supersedes
    if supersedes is not None:
        supersedes = str(conflict_id(issue_id, found.kind, found.field, supersedes))
    return {
        "position": position,
        "id": str(conflict_id(issue_id, found.kind, found.field, found.losing.key)),
        "kind": found.kind,
        "field": found.field,
        "supersedes": supersedes,
        "otherwise": found.default_strategy,
        **_columns("standing", found.standing),
        **_columns("losing", found.losing),
    }


def _columns(side: str, of: Side) -> dict[str, object]:
    return {
        f"{side}_key": of.key,
        f"{side}_value": json.dumps(of.value),
        f"{side}_actor": of.actor_id,
        f"{side}_device": of.device_id,
        f"{side}_at": None if of.at is None else of.at.isoformat(),
    }


def _side(row: Record, side: str) -> Side:
    key, actor, device, at = (row[f"{side}_{column}"] for column in ("key", "actor", "device", "at"))
    return Side(key, _value(row[f"{side}_value"]), actor, device, at)


def _value(stored: str | None) -> object:
    value: object = None if stored is None else json.loads(stored)
    return value
