"""Conflicts in the local store: each page and its cursor at once, from whatever the store was before."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest

from syncline import conflict_list, tables
from syncline.conflict import Conflict
from syncline.errors import ConflictNotFound
from syncline.feed import Stale
from syncline.local_store import LocalStore
from syncline.records import ConflictCursor, ConflictsCame, PurgedCame

EPOCH = UUID(int=11)
ISSUES = [UUID(int=number) for number in range(1, 4)]
AT = "2026-03-01T12:00:00Z"


def told(number: int, change: int, state: str = "open", issue: UUID = ISSUES[0]) -> Conflict:
    """A conflict, as a server tells it."""
    side: dict[str, Any] = {"value": "done", "actor_id": "ana", "device_id": None, "at": AT}
    is_open = state == "open"
    return Conflict.of(
        {
            "id": str(UUID(int=number)),
            "issue_id": str(issue),
            "seq": number,
            "kind": "update_update",
            "field": "status",
            "standing": side,
            "losing": side | {"value": f"value {number}", "actor_id": "ben"},
            "strategy": "user_decision",
            "state": state,
            "resolution": None if is_open else "losing",
            "resolved_value": None,
            "resolved_by": None if is_open else "ana",
            "resolved_at": None if is_open else AT,
            "created_at": AT,
        },
        change,
    )


def page(first: int, last: int, *changed: Conflict | UUID, epoch: UUID = EPOCH) -> ConflictsCame:
    return ConflictsCame(epoch, first, last, changed)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    opened = LocalStore(str(tmp_path / "local.db"), lambda: datetime.now(UTC))
    yield opened
    opened.close()


def open_ones(store: LocalStore) -> set[UUID]:
    return {each.id for each in store.conflicts(None, True)}


def test_a_page_and_its_cursor_are_there_together(store: LocalStore) -> None:
    assert store.conflict_cursor() == ConflictCursor(None, 0)
    store.apply([page(0, 7, told(1, 3), told(2, 5, "resolved", ISSUES[1]))])
    assert store.conflict_cursor() == ConflictCursor(EPOCH, 7)
    assert [each.change for each in store.conflicts(None, None)] == [3, 5]
    assert store.conflicts(ISSUES[1], None) == [told(2, 5, "resolved", ISSUES[1])]
    assert store.conflict(UUID(int=1)).losing.value == "value 1"
    with pytest.raises(ConflictNotFound):
        store.conflict(UUID(int=9))


def test_what_does_not_follow_is_stale_and_changes_nothing(store: LocalStore) -> None:
    store.apply([page(0, 7, told(1, 3))])
    for beyond in (page(9, 10, told(2, 10)), page(8, 9, told(2, 9), epoch=UUID(int=12))):
        with pytest.raises(Stale):
            store.apply([page(7, 8, told(3, 8)), beyond])
    assert (open_ones(store), store.conflict_cursor().change) == ({UUID(int=1)}, 7)


def test_what_another_process_has_taken_already_is_not_taken_back(store: LocalStore) -> None:
    store.apply([page(0, 3, told(1, 3)), page(3, 9, told(1, 9, "resolved"))])
    store.apply([page(3, 5, told(2, 4), told(1, 5))])
    assert (open_ones(store), store.conflict_cursor().change) == (set(), 9)


def test_a_page_from_nothing_takes_the_place_of_all(store: LocalStore) -> None:
    store.apply([page(0, 3, told(1, 3))])
    store.apply([page(0, 1, told(2, 1), epoch=UUID(int=12))])
    assert open_ones(store) == {UUID(int=2)}
    assert store.conflict_cursor() == ConflictCursor(UUID(int=12), 1)


def test_they_go_with_their_issue(store: LocalStore) -> None:
    store.apply([page(0, 4, told(1, 3), told(2, 4, issue=ISSUES[1])), page(4, 5, ISSUES[0])])
    assert open_ones(store) == {UUID(int=2)}


def test_of_those_that_are_resolved_the_newest_are_kept(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflict_list, "RESOLVED_KEPT", 3)
    store.apply([page(0, 1, told(1, 1))])
    store.apply([page(1, 9, *(told(number, number, "resolved") for number in range(2, 10)))])
    assert [each.change for each in store.conflicts(None, None)] == [1, 7, 8, 9]


def test_a_store_of_an_earlier_version_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    for statement in tables._TABLES.split(";\n"):  # what version 1 made
        connection.execute(statement)
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    store = LocalStore(str(path), lambda: datetime.now(UTC))
    store.apply([page(0, 3, told(1, 3))])
    assert open_ones(store) == {UUID(int=1)}
    store.close()


@pytest.mark.parametrize("seed", range(20))
def test_from_any_interruption_it_ends_with_what_is_open(store: LocalStore, seed: int) -> None:
    """Pages of a ledger that goes on changing, some lost on the way, some come twice."""
    random = Random(seed)
    rows: dict[int, Conflict] = {}
    change = 0
    for _ in range(60):
        change += random.randint(1, 3)
        number = random.randrange(12)
        is_settled = number in rows and random.random() < 0.6
        rows[number] = told(number, change, "resolved" if is_settled else "open", ISSUES[number % 3])
        if random.random() < 0.5:
            cursor = store.conflict_cursor().change
            news = sorted((row for row in rows.values() if row.change > cursor), key=lambda row: row.change)
            pages = page(cursor, change, *(row for row in news if cursor or row.is_open))
            store.apply([pages] * random.randint(1, 2))
    cursor = store.conflict_cursor().change
    news = sorted((row for row in rows.values() if row.change > cursor), key=lambda row: row.change)
    store.apply([page(cursor, change, *news)])
    assert open_ones(store) == {row.id for row in rows.values() if row.is_open}


def test_a_purge_in_the_log_leaves_them_to_their_own_feed(store: LocalStore) -> None:
    store.apply([page(0, 3, told(1, 3)), PurgedCame(ISSUES[0])])
    assert open_ones(store) == {UUID(int=1)}
    store.apply([page(3, 4, ISSUES[0])])
    assert open_ones(store) == set()
