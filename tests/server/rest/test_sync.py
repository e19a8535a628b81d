"""`POST …/sync` on a real Postgres: what a device queued is made once, in order, each operation for itself."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from server.doors.rest.sync_models import MAX_OPERATIONS
from server.feed_readers import PageLimits
from server.outbox_batch import OutboxLimits
from storage.engine import EngineUnavailable, IssueKey
from storage.errors import StoreUnavailable
from storage.store import NewDelta
from storage.sweeper import Sweeper
from storage.sync_queue import SyncQueue
from tests.server.rest.conftest import Api
from tests.simulation.time import VirtualClock

ID, OTHER = UUID(int=5), UUID(int=6)
AT = "2025-12-31T23:00:00Z"


def at(moment: str) -> datetime:
    return datetime.fromisoformat(moment)


def operation(number: int, kind: str, data: object = None, *, issue: UUID = ID, **more: Any) -> dict[str, Any]:
    return {
        "id": f"op-{number}",
        "table_name": "issues",
        "record_id": str(issue),
        "operation": kind,
        "data": data,
        "created_at": AT,
        **more,
    }


def insert(number: int = 1, issue: UUID = ID, **columns: Any) -> dict[str, Any]:
    return operation(number, "insert", {"title": "Slow search", **columns}, issue=issue)


async def sync(api: Api, *operations: object, device: str = "phone", status: int = 200, **more: Any) -> Any:
    got, told, _ = await api("POST", "/sync", {"device_id": device, "operations": operations}, **more)
    assert got == status, told
    return told["results"] if status == 200 else told


def statuses(results: Any) -> list[str]:
    return [result["status"] for result in results]


async def column(api: Api, name: str) -> list[Any]:
    return [row[0] for row in await api.connection.fetch(f"SELECT {name} FROM sync_queue ORDER BY id")]


async def test_what_was_queued_is_made_in_order(api: Api) -> None:
    results = await sync(
        api,
        insert(1, status="open", labels=["bug"]),
        operation(2, "update", {"status": "done", "title": "Slower search"}),
        operation(3, "delete"),
        operation(4, "update", {"deletedAt": None, "userId": "ben"}),
    )
    assert statuses(results) == ["applied"] * 4
    content = await api.content(ID)
    assert (content.title, content.status, content.user_id) == ("Slower search", "done", "ben")
    assert (content.labels, content.deleted_at, content.created_by) == (("bug",), None, "ana")
    assert content.created_at == at(AT)
    assert await api.head() == 1, "one commit"
    assert {result["seq"] for result in results} == {1}


async def test_an_operation_that_is_sent_again_is_made_once(api: Api) -> None:
    sent = [insert(1), operation(2, "update", {"status": "done"})]
    await sync(api, *sent)
    await sync(api, operation(3, "update", {"status": "open"}))
    await api.project()
    again = await sync(api, *sent)
    assert statuses(again) == ["duplicate"] * 2
    assert [(result["outcome"], result["seq"]) for result in again] == [("applied", 1)] * 2
    assert again[0]["record"]["status"] == "open", "the record as it is now"
    assert await api.head() == 2


async def test_an_operation_that_is_in_a_batch_twice_is_made_once(api: Api) -> None:
    results = await sync(api, insert(1), operation(2, "update", {"title": "Slow search!"}), insert(1))
    assert statuses(results) == ["applied", "applied", "duplicate"]
    assert results[2]["outcome"] == "applied"
    assert (await api.content(ID)).title == "Slow search!"


async def test_the_answer_holds_the_record_when_its_row_is_there(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    append = api.home.store.append

    async def append_and_project(batch: list[NewDelta]) -> list[int]:
        seqs = await append(batch)
        await api.project()
        return seqs

    monkeypatch.setattr(api.home.store, "append", append_and_project)
    (result,) = await sync(api, insert(1))
    assert (result["record"]["title"], result["version"]) == ("Slow search", 1)
    assert await column(api, "version") == [1]


async def test_ids_are_a_devices_own(api: Api) -> None:
    await sync(api, insert(1), device="phone")
    assert statuses(await sync(api, insert(1, issue=OTHER), device="desk")) == ["applied"]


WRONG: list[tuple[object, str | None]] = [
    ({"id": "op-2", "operation": "update"}, "table_name"),
    (operation(2, "upsert"), "operation"),
    (operation(2, "update", {"colour": "red"}), "data.colour"),
    (operation(2, "update", {"status": 7}), "data.status"),
    (operation(2, "update", {"title": "x" * 10_001}), "data.title"),
    (operation(2, "update", {"user_id": "a", "userId": "b"}), "data.user_id"),
    (operation(2, "update", {"id": str(OTHER)}), "data.id"),
    (operation(2, "update", "text"), "data"),
    (operation(2, "insert", {"description": "no title"}), "data.title"),
    (operation(2, "update", {"labels": ["bug", ""]}), "data.labels.1"),
    (operation(2, "update", {}, device_id="desk"), "device_id"),
    (operation(2, "update", {}, created_at="yesterday"), "created_at"),
    (operation(2, "update", {"status": "open"}, record_id="7"), "record_id"),
    ({**operation(2, "delete"), "id": "x" * 101}, "id"),
    ("nonsense", ""),
    (operation(3, "update", {"status": "open"}, issue=OTHER), None),
]


async def test_what_is_wrong_with_one_operation_keeps_no_other_out(api: Api) -> None:
    first, *results, last = await sync(
        api, insert(1), *(wrong for wrong, _ in WRONG), operation(5, "update", {"status": "done"})
    )
    assert statuses([first, *results, last]) == ["applied", *["rejected"] * len(WRONG), "applied"]
    assert [result["field"] for result in results] == [field for _, field in WRONG]
    assert all(result["reason"] for result in results)
    assert (await api.content(ID)).status == "done"


async def test_what_was_rejected_may_be_sent_again(api: Api) -> None:
    assert statuses(await sync(api, operation(2, "update", {"status": "done"}))) == ["rejected"]
    results = await sync(api, insert(1), operation(2, "update", {"status": "done"}))
    assert statuses(results) == ["applied", "applied"]
    assert await column(api, "retries") == [0, 1]


async def test_who_may_not_edit_is_told_for_each_operation(api: Api) -> None:
    await sync(api, insert(1), status=403, token="viewer")
    assert await api.head() == 0


async def test_a_batch_with_something_they_may_not_is_audited_once(api: Api) -> None:
    await sync(api, insert())
    await api.audit.write()
    before = await audited(api)
    results = await sync(api, insert(2, UUID(int=77)), insert(3, UUID(int=78)), token="commenter")
    assert statuses(results) == ["rejected", "rejected"]
    await api.audit.write()
    (row,) = (await audited(api))[: len(await audited(api)) - len(before)]
    assert (row["action"], row["is_refused"], row["count"], row["via"]) == ("sync", True, 1, "http")
    assert row["detail"]["reason"]


async def audited(api: Api) -> list[dict[str, Any]]:
    """Newest first."""
    _, body, _ = await api("GET", "/audit", token="admin")
    entries: list[dict[str, Any]] = body["entries"]
    return entries


async def test_a_batch_has_a_bound(api: Api) -> None:
    told = await sync(api, *[None] * (MAX_OPERATIONS + 1), status=422)
    assert told["errors"][0]["field"] == "operations"


async def test_rows_that_say_what_is_there_already_write_nothing(api: Api) -> None:
    await sync(api, insert(1, status="open"))
    whole = {"id": str(ID), "title": "Slow search", "description": None, "status": "open", "version": 1, "seq": 1}
    assert statuses(await sync(api, operation(2, "update", whole))) == ["applied"]
    assert await api.head() == 1


async def test_operations_that_cannot_be_made_now_are_to_be_sent_again(api: Api) -> None:
    key = IssueKey(api.workspace, ID)
    api.home.engine.failing[key] = EngineUnavailable("too busy")
    results = await sync(api, insert(1), insert(2, issue=OTHER))
    assert statuses(results) == ["retry", "applied"]
    del api.home.engine.failing[key]
    assert statuses(await sync(api, insert(1), insert(2, issue=OTHER))) == ["applied", "duplicate"]


async def test_an_operation_that_somebody_is_at_keeps_those_behind_it_waiting(api: Api) -> None:
    held = asyncio.Event()
    reached = asyncio.Event()

    async def hold(name: str, key: IssueKey) -> None:
        if name == "MakeDated":
            reached.set()
            await held.wait()

    api.home.engine.before = hold
    first = asyncio.create_task(sync(api, insert(1)))
    await reached.wait()
    assert statuses(await sync(api, insert(1), operation(2, "update", {"status": "done"}))) == ["retry", "retry"]
    held.set()
    assert statuses(await first) == ["applied"]
    results = await sync(api, insert(1), operation(2, "update", {"status": "done"}))
    assert statuses(results) == ["duplicate", "applied"]


@pytest.mark.parametrize("is_committed", [True, False])
async def test_a_server_that_dies_between_writing_down_and_finishing_makes_nothing_twice(
    api: Api, monkeypatch: pytest.MonkeyPatch, *, is_committed: bool
) -> None:
    await sync(api, insert(1))
    store, append = api.home.store, api.home.store.append

    async def dies(batch: list[NewDelta]) -> list[int]:
        if is_committed:
            await append(batch)
        raise StoreUnavailable("gone")

    monkeypatch.setattr(store, "append", dies)
    typed = operation(2, "update", {"title": "Slow search, again and again"})
    assert statuses(await sync(api, typed)) == ["retry"]
    monkeypatch.setattr(store, "append", append)
    assert (await column(api, "becomes"))[1] == "applied"
    await sync(api, operation(3, "update", {"status": "open"}), device="desk")
    (result,) = await sync(api, typed)
    assert (result["status"], result["outcome"]) == ("duplicate", "applied")
    content = await api.content(ID)
    assert (content.title, content.status) == ("Slow search, again and again", "open")
    assert await column(api, "update") == [None] * 3, "no content stays"
    assert statuses(await sync(api, typed)) == ["duplicate"]


async def test_the_account_says_how_often_an_operation_came_and_why_it_was_not_made(api: Api) -> None:
    early = operation(2, "update", {"status": "done"})
    for _ in range(3):
        await sync(api, early)
    rows = await api.connection.fetch("SELECT id, outcome, error, field, retries, seq FROM sync_queue")
    assert [tuple(row) for row in rows] == [("op-2", "rejected", "there is no such record", None, 2, None)]
    await sync(api, insert(1), early)
    (row,) = await api.connection.fetch("SELECT outcome, error, retries, seq FROM sync_queue WHERE id = 'op-2'")
    assert tuple(row) == ("applied", None, 3, 1)


async def test_what_was_rejected_too_often_stays_rejected_and_its_reason_is_told(api: Api) -> None:
    early = operation(2, "update", {"status": "done"})
    await sync(api, early)
    await api.connection.execute("UPDATE sync_queue SET retries = 99")
    assert statuses(await sync(api, early)) == ["rejected"]
    await sync(api, insert(1))
    (result,) = await sync(api, early)
    assert (result["status"], result["outcome"], result["reason"]) == ("rejected", None, "there is no such record")
    assert statuses(await sync(api, {**early, "id": "another"})) == ["applied"]


async def test_what_became_of_operations_is_forgotten_after_a_month(api: Api) -> None:
    start = VirtualClock().now()
    later = start
    sweeper = Sweeper(api.home.store, [SyncQueue(api.database)], now=lambda: later)
    await sync(api, insert(1), operation(3, "update", {"status": "open"}, issue=UUID(int=9)))
    later = start + timedelta(days=29)
    assert await sweeper.sweep() == 0
    assert statuses(await sync(api, insert(1))) == ["duplicate"]
    await api.connection.execute("UPDATE sync_queue SET at = at + interval '20 days' WHERE id = 'op-3'")
    later = start + timedelta(days=31)
    assert await sweeper.sweep() == 1
    assert await column(api, "id") == ["op-3"]


async def test_what_is_sent_again_once_it_was_rejected_is_known_for_a_month_from_then(api: Api) -> None:
    await sync(api, operation(2, "update", {"status": "done"}))
    await api.connection.execute("UPDATE sync_queue SET at = at - interval '29 days'")
    await sync(api, insert(1), operation(2, "update", {"status": "done"}))
    soon = VirtualClock().now() + timedelta(days=2)
    assert await Sweeper(api.home.store, [SyncQueue(api.database)], now=lambda: soon).sweep() == 0


async def changed(api: Api, cursor: int | None, **more: Any) -> Any:
    status, told, _ = await api("POST", "/sync", {"device_id": "phone", "cursor": cursor, **more})
    assert status == 200, told
    return told["changes"]


async def test_the_answer_tells_what_has_changed_since_the_cursor(api: Api) -> None:
    await sync(api, insert(1), insert(2, issue=OTHER), device="desk")
    await sync(api, operation(3, "update", {"status": "done"}), device="desk")
    await api.project()
    everything = await changed(api, 0)
    assert [(each["issue"], each["seq"]) for each in everything["changes"]] == [(str(OTHER), 2), (str(ID), 3)]
    assert everything["changes"][1]["row"]["status"] == "done"
    assert (everything["cursor"], everything["has_more"], everything["reset"]) == (3, False, None)
    after = await changed(api, everything["cursor"], epoch=everything["epoch"])
    assert (after["changes"], after["cursor"]) == ([], 3)
    assert await changed(api, None) is None


async def test_a_cursor_that_leads_nowhere_is_told_where_to_go_on(api: Api) -> None:
    await sync(api, insert(1))
    await api.project()
    ahead = await changed(api, 9)
    assert (ahead["reset"]["reason"], ahead["cursor"], ahead["changes"]) == ("ahead", 1, [])
    other = await changed(api, 1, epoch=str(OTHER))
    assert other["reset"]["reason"] == "epoch"
    assert other["reset"]["reload"].startswith("/v1/workspaces/main/changes?reload=1.0&epoch=")


async def test_a_page_of_changes_is_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.outbox.PageLimits", lambda: PageLimits(deltas=1))
    await sync(api, insert(1), insert(2, issue=OTHER))
    await api.project()
    page = await changed(api, 0)
    assert (len(page["changes"]), page["cursor"], page["has_more"]) == (1, 1, True)
    assert (await changed(api, 1))["has_more"] is False


def comment(number: int, kind: str, comment_id: str = "c1", **data: Any) -> dict[str, Any]:
    about = {"issueId": str(ID), **data}
    return operation(number, kind, about, table_name="comments", record_id=comment_id)


async def test_comments_are_records_too(api: Api) -> None:
    results = await sync(
        api,
        insert(1),
        comment(2, "insert", body="Seen on Monday."),
        comment(3, "update", body="Seen on Tuesday."),
        comment(4, "insert", "c2", body="Me too."),
        comment(5, "delete", "c2"),
        comment(6, "update", "c3", body="nobody wrote it"),
        comment(7, "insert", body="taken"),
        comment(8, "insert", "c4"),
    )
    assert statuses(results) == ["applied"] * 5 + ["rejected"] * 3
    assert results[7]["field"] == "data.body"
    first, second = (await api.content(ID)).comments
    assert (first.id, first.body, first.author, first.created_at) == ("c1", "Seen on Tuesday.", "ana", at(AT))
    assert (second.id, second.deleted_at) == ("c2", at(AT))
    assert statuses(await sync(api, comment(3, "update", body="Seen on Tuesday."))) == ["duplicate"]


class TestSmall:
    @pytest.fixture
    def outbox_limits(self) -> OutboxLimits:
        return OutboxLimits(operations=2, bytes=1_000, rows_seconds=0.02)

    async def test_how_much_a_request_may_bring_is_a_setting(self, api: Api) -> None:
        told = await sync(api, insert(1), insert(2), insert(3), status=422)
        assert told["errors"] == [{"field": "operations", "message": "are more than 2"}]
        assert (await sync(api, insert(1, description="x" * 1_000), status=413))["type"].endswith("too-large")
        assert statuses(await sync(api, insert(1), insert(2))) == ["applied", "applied"]
