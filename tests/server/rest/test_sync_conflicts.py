"""Operations that rest on a base which others have changed since: merged by field, and what meets is in the ledger."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest

from crdt.shape import Changes
from server.decisions import Decision, edits_for
from storage.conflicts import Conflict, ConflictQuery
from storage.errors import StoreUnavailable
from storage.store import NewDelta
from tests.server.rest.conftest import Api
from tests.server.rest.test_sync import ID, insert, operation, statuses, sync
from tests.simulation.time import START

LATE = (START + timedelta(days=1)).isoformat()  # counts as now: no clock is ahead
EARLY = "2020-01-01T00:00:00Z"


async def begun(api: Api, **columns: object) -> int:
    """An issue that everybody has seen."""
    row: dict[str, Any] = {"status": "open", "description": "It is slow.", "labels": ["bug"], **columns}
    (result,) = await sync(api, insert(1, **row), device="desk")
    return int(result["seq"])


async def patched(api: Api, device: str = "desk", **columns: object) -> int:
    status, told, _ = await api("PATCH", f"/issues/{ID}", columns, x_device_id=device)
    assert status == 200, told
    return int(told["seq"])


async def ledger(api: Api) -> list[Conflict]:
    return await api.home.store.ledger.page(api.workspace, ConflictQuery())


def update(number: int, base: int, at: str = LATE, **columns: object) -> dict[str, Any]:
    return operation(number, "update", columns, base_seq=base, created_at=at)


async def test_fields_that_one_side_touched_merge_silently(api: Api) -> None:
    base = await begun(api)
    await patched(api, status="done", add_labels=["slow"])
    whole = {"title": "Slower search", "description": "It is slow.", "status": "open", "priority": "high"}
    (result,) = await sync(api, update(1, base, **whole, labels=["bug", "search"], deleted_at=None))
    assert result["status"] == "merged"
    content = await api.content(ID)
    assert (content.title, content.status, content.priority) == ("Slower search", "done", "high")
    assert content.labels == ("bug", "search", "slow")
    assert await ledger(api) == []


async def test_a_base_nobody_has_changed_since_is_simply_applied(api: Api) -> None:
    base = await begun(api)
    assert statuses(await sync(api, update(1, base, status="done"))) == ["applied"]
    assert statuses(await sync(api, update(2, base, status="review"))) == ["applied"], "their own change is no conflict"
    assert (await api.content(ID)).status == "review"


@pytest.mark.parametrize(("at", "stands"), [(LATE, "review"), (EARLY, "done")])
async def test_of_two_values_of_a_field_the_newer_stands_and_the_other_is_kept(api: Api, at: str, stands: str) -> None:
    base = await begun(api)
    await patched(api, status="done")
    (result,) = await sync(api, update(1, base, at, status="review", priority="high"))
    assert result["status"] == "conflict"
    content = await api.content(ID)
    assert (content.status, content.priority) == (stands, "high")
    (row,) = await ledger(api)
    assert (row.kind, row.field, row.strategy, row.state) == ("update_update", "status", "merge_fields", "resolved")
    assert {row.standing.value, row.losing.value} == {"done", "review"}
    assert row.standing.value == stands
    assert {row.standing.device_id, row.losing.device_id} == {"desk", "phone"}
    assert row.seq == result["seq"]


async def test_the_workspace_says_who_decides(api: Api) -> None:
    base = await begun(api)
    await api.home.store.ledger.set_policy(api.workspace, {"status": "user_decision"})
    await patched(api, status="done")
    await sync(api, update(1, base, status="review"))
    (row,) = await ledger(api)
    assert (row.strategy, row.state) == ("user_decision", "open")


async def test_texts_are_merged_on_the_text_that_was_seen(api: Api) -> None:
    base = await begun(api)
    await patched(api, description="It is very slow.")
    first = update(1, base, description="It is slow. Since Monday.")
    second = update(2, base, description="It is slow. Since Monday, or Tuesday.")
    assert statuses(await sync(api, first)) == ["merged"]
    assert statuses(await sync(api, first, second)) == ["duplicate", "merged"]
    assert (await api.content(ID)).description == "It is very slow. Since Monday, or Tuesday."
    assert await ledger(api) == []


async def test_a_comment_is_merged_on_the_text_that_was_seen(api: Api) -> None:
    await begun(api)
    about: Any = {"table_name": "comments", "record_id": "c1"}
    seen = {"issue_id": str(ID), "body": "Seen on Monday."}
    (result,) = await sync(api, operation(2, "insert", seen, **about), device="desk")
    theirs = operation(3, "update", seen | {"body": "Seen twice on Monday."}, **about)
    assert statuses(await sync(api, theirs, device="desk")) == ["applied"]
    more = seen | {"body": "Seen on Monday. And on Tuesday."}
    ours = operation(4, "update", more, base_seq=result["seq"], created_at=LATE, **about)
    again = operation(5, "update", more | {"body": "Seen on Monday. And on Sunday."}, **about, base_seq=result["seq"])
    assert statuses(await sync(api, ours, again)) == ["merged", "merged"]
    (comment,) = (await api.content(ID)).comments
    assert comment.body == "Seen twice on Monday. And on Sunday."


async def test_what_somebody_wrote_to_a_deleted_issue_is_kept_and_the_deletion_stands(api: Api) -> None:
    base = await begun(api)
    await api("DELETE", f"/issues/{ID}", x_device_id="desk")
    (result,) = await sync(api, update(1, base, status="done", title="Slow search!"))
    assert result["status"] == "conflict"
    content = await api.content(ID)
    assert content.deleted_at is not None
    assert (content.status, content.title) == ("done", "Slow search!")
    (row,) = await ledger(api)
    assert (row.kind, row.field, row.state, row.losing.device_id) == ("update_delete", "deleted_at", "open", "phone")
    assert row.losing.value == {"status": "done", "title": "Slow search!"}


async def test_a_deletion_stands_above_what_it_did_not_know_of(api: Api) -> None:
    base = await begun(api)
    await patched(api, status="done")
    (result,) = await sync(api, operation(1, "delete", base_seq=base))
    assert result["status"] == "conflict"
    assert (await api.content(ID)).deleted_at is not None
    (row,) = await ledger(api)
    assert (row.kind, row.losing.value, row.losing.actor_id) == ("update_delete", {"status": "done"}, "ana")


async def test_two_who_delete_agree(api: Api) -> None:
    base = await begun(api)
    await api("DELETE", f"/issues/{ID}", x_device_id="desk")
    assert statuses(await sync(api, operation(1, "delete", base_seq=base))) == ["merged"]
    assert await ledger(api) == []


async def test_an_issue_that_began_otherwise_is_a_conflict_for_people(api: Api) -> None:
    await begun(api)
    (result,) = await sync(api, insert(1, description="Mine."))
    assert result["status"] == "conflict"
    (row,) = await ledger(api)
    assert (row.kind, row.state) == ("create_create", "open")
    assert row.losing.value == {"title": "Slow search", "description": "Mine.", "labels": []}
    assert (await api.content(ID)).description == "It is slow."
    assert statuses(await sync(api, insert(1, description="Mine."))) == ["duplicate"]


async def test_an_issue_that_somebody_else_began_with_other_fields_is_a_conflict_too(api: Api) -> None:
    await sync(api, insert(1, status="open", user_id="ben"), device="desk")
    mine = insert(1, status="done", user_id="ben") | {"created_at": "2026-01-01T00:00:00Z"}
    assert statuses(await sync(api, mine)) == ["conflict"]
    (row,) = await ledger(api)
    losing, standing = cast("dict[str, str]", row.losing.value), cast("dict[str, str]", row.standing.value)
    assert (row.kind, losing["status"], standing["status"]) == ("create_create", "done", "open")
    assert (await api.content(ID)).status == "open"
    (edit,) = edits_for(row, Decision("losing"))
    assert isinstance(edit, Changes)
    assert edit.fields == {"status": "done", "user_id": "ben"}


async def test_who_comes_with_their_own_issue_once_more_is_no_conflict(api: Api) -> None:
    await sync(api, insert(1, status="open"))
    await patched(api, status="done")
    assert statuses(await sync(api, insert(2, status="open"))) == ["applied"]
    assert await ledger(api) == []


async def test_a_base_is_a_version_too(api: Api) -> None:
    await begun(api)
    await patched(api, status="done")
    stale = operation(1, "update", {"status": "review"}, base_version=1, created_at=LATE)
    fresh = operation(2, "update", {"status": "closed"}, base_version=2, created_at=LATE)
    unknown = operation(3, "update", {"status": "x"}, base_version=9)
    both = operation(4, "update", {"status": "x"}, base_version=1, base_seq=1)
    results = await sync(api, stale, fresh, unknown, both)
    assert statuses(results) == ["conflict", "applied", "rejected", "rejected"]
    assert [result["field"] for result in results[2:]] == ["base_version", "base_seq"]


async def test_a_conflict_survives_a_server_that_dies_before_it_commits(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = await begun(api)
    await patched(api, status="done")
    store, append = api.home.store, api.home.store.append

    async def dies(batch: list[NewDelta]) -> list[int]:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(store, "append", dies)
    assert statuses(await sync(api, update(1, base, status="review"))) == ["retry"]
    assert await ledger(api) == []
    monkeypatch.setattr(store, "append", append)
    (result,) = await sync(api, update(1, base, status="review"))
    assert (result["status"], result["outcome"]) == ("duplicate", "conflict")
    (row,) = await ledger(api)
    assert (row.standing.value, row.losing.value, row.standing.actor_id) == ("review", "done", "ana")


async def test_nothing_is_made_before_what_changes_nothing_and_came_first(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = await begun(api)
    await patched(api, status="done")
    store, append = api.home.store, api.home.store.append

    async def dies(batch: list[NewDelta]) -> list[int]:
        await append(batch)
        raise StoreUnavailable("gone")

    monkeypatch.setattr(store, "append", dies)
    batch = update(1, base, EARLY, status="review"), update(2, base, EARLY, priority="high")
    assert statuses(await sync(api, *batch)) == ["retry", "retry"]
    monkeypatch.setattr(store, "append", append)
    await patched(api, status="closed")
    first, second = await sync(api, *batch)
    assert [first["outcome"], second["outcome"]] == ["conflict", "merged"]
    assert first["seq"] == second["seq"]
    (row,) = await ledger(api)
    assert (row.standing.value, row.losing.value) == ("done", "review"), "what it met then, and nothing since"
