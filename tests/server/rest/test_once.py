"""`Idempotency-Key`: done once and always answered the same, wherever a server was cut off."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from storage.errors import StoreUnavailable
from storage.keyed_requests import KeyedRequests
from storage.store import NewDelta
from storage.sweeper import Sweeper
from tests.server.rest.conftest import NOW, Api, Later
from tests.simulation.time import VirtualClock

ID = UUID(int=5)
ISSUE = f"/issues/{ID}"
PROBLEM = "urn:syncline:problem:"


@pytest.fixture
async def begun(api: Api) -> Api:
    assert (await api("POST", "/issues", {"id": str(ID), "title": "Slow search", "labels": ["old"]}))[0] == 201
    assert (await api("POST", f"{ISSUE}/comments", {"id": "c", "body": "Seen"}))[0] == 201
    return api


WRITES = [
    ("POST", "/issues", {"title": "new"}),
    ("PATCH", ISSUE, {"title": "Slow search, always"}),
    ("DELETE", ISSUE, None),
    ("POST", f"{ISSUE}/restore", None),
    ("POST", f"{ISSUE}/revert", {"to": "1"}),
    ("POST", f"{ISSUE}/comments", {"body": "Me too"}),
    ("PATCH", f"{ISSUE}/comments/c", {"body": "Seen twice"}),
    ("DELETE", f"{ISSUE}/comments/c", None),
    ("PUT", f"{ISSUE}/labels/bug", None),
    ("DELETE", f"{ISSUE}/labels/old", None),
    ("POST", "/issues/bulk", {"issues": [{"title": "one"}, {"title": "two"}]}),
    ("PATCH", "/issues/bulk", {"issues": [{"id": str(ID), "status": "done"}, {"id": str(UUID(int=9))}]}),
    ("PATCH", f"/issues/{UUID(int=9)}", {"status": "done"}),  # and so is what was refused
]


async def test_the_same_request_is_answered_the_same_and_writes_nothing_more(begun: Api) -> None:
    for key, (method, path, body) in enumerate(WRITES):
        first = await begun(method, path, body, idempotency_key=str(key))
        head = await begun.head()
        again = await begun(method, path, body, idempotency_key=f'"{key}"')  # a string of RFC 8941, or its content
        assert again[:2] == first[:2]
        assert await begun.head() == head
        assert "idempotent-replayed" not in first[2]
        assert again[2]["idempotent-replayed"] == "true"
        for header in ("location", "etag", "content-type"):
            assert again[2].get(header) == first[2].get(header)


MEMBER = "/members/ben"
# What is set, and by whom it is set otherwise meanwhile.
SETTINGS = [
    ("PUT", MEMBER, {"role": "viewer"}, ("PUT", MEMBER, {"role": "member"})),
    ("DELETE", MEMBER, None, ("PUT", MEMBER, {"role": "member"})),
]


@pytest.mark.parametrize(("method", "path", "body", "meanwhile"), SETTINGS, ids=lambda each: str(each)[:20])
async def test_what_is_set_is_not_set_again(
    begun: Api, method: str, path: str, body: object, meanwhile: tuple[str, str, object]
) -> None:
    assert (await begun("PUT", MEMBER, {"role": "member"}, token="admin"))[0] == 200
    first = await begun(method, path, body, token="admin", idempotency_key="k")
    assert first[0] in (200, 204)
    assert (await begun(*meanwhile, token="admin"))[0] == 200
    before = await begun.get("/members", token="admin")
    again = await begun(method, path, body, token="admin", idempotency_key="k")
    assert again[:2] == first[:2]
    assert again[2]["idempotent-replayed"] == "true"
    assert (await begun.get("/members", token="admin"))[1] == before[1]


async def test_whoever_came_back_is_not_signed_out_again(begun: Api) -> None:
    assert (await begun("PUT", MEMBER, {"role": "member"}, token="admin"))[0] == 200
    left = "SELECT signed_out_at FROM memberships WHERE user_id = 'ben'"
    assert (await begun("POST", f"{MEMBER}/sign-out", token="admin", idempotency_key="k"))[0] == 204
    assert await begun.connection.fetchval(left) is not None
    await begun.connection.execute("UPDATE memberships SET signed_out_at = NULL")
    assert (await begun("POST", f"{MEMBER}/sign-out", token="admin", idempotency_key="k"))[0] == 204
    assert await begun.connection.fetchval(left) is None


async def test_a_queue_takes_a_key_and_goes_by_its_own_ids(begun: Api) -> None:
    edit: dict[str, object] = {"id": "1", "table_name": "issues", "record_id": str(ID), "operation": "update"}
    edit |= {"data": {"title": "Fast"}, "created_at": "2026-01-01T00:00:00Z"}
    sent = {"device_id": "phone", "operations": [edit]}
    for status in "applied", "duplicate":
        _, told, headers = await begun("POST", "/sync", sent, idempotency_key="k")
        assert [each["status"] for each in told["results"]] == [status]
        assert "idempotent-replayed" not in headers


@pytest.mark.parametrize("path", ["token", "exchange", "sign-out"])
async def test_where_the_answer_is_a_secret_a_key_is_refused(begun: Api, path: str) -> None:
    body = {"id_token": "x"} if path == "exchange" else {"refresh_token": "x"}
    status, problem, _ = await begun("POST", f"/v1/auth/{path}", body, idempotency_key="k")
    assert (status, problem["errors"][0]["field"]) == (422, "Idempotency-Key")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param(*write, marks=[] if write[:2] in (("POST", "/issues"), ("PATCH", ISSUE)) else pytest.mark.long)
        for write in WRITES[:-1]
    ],
)
async def test_whoever_was_cut_off_between_commit_and_answer_does_not_write_twice(
    begun: Api,
    method: str,
    path: str,
    body: object,
    requests_clock: Later,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def die(*arguments: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as dying:
        dying.setattr(KeyedRequests, "finish", die)
        with pytest.raises(asyncio.CancelledError):
            await begun(method, path, body, idempotency_key="k")
    head = await begun.head()
    status, problem, headers = await begun(method, path, body, idempotency_key="k")
    assert (status, problem["type"], headers["retry-after"]) == (409, f"{PROBLEM}in-progress", "1")
    # Meanwhile somebody else writes what a second time would overwrite.
    assert (await begun("PATCH", ISSUE, {"title": "Fast", "status": "open"}, token="admin"))[0] == 200
    requests_clock.passed = timedelta(minutes=1)
    status, told, _ = await begun(method, path, body, idempotency_key="k")
    assert await begun.head() == head + 1  # theirs
    assert (await begun.content(ID)).title == "Fast"
    assert (await begun.content(ID)).status == "open"
    again = await begun(method, path, body, idempotency_key="k")
    assert again[:2] == (status, told)
    assert status == (201 if method == "POST" and path.endswith(("issues", "comments")) else 200)


async def test_another_request_with_the_key_is_refused_and_one_of_somebody_else_is_not(begun: Api) -> None:
    assert (await begun("PATCH", ISSUE, {"status": "open"}, idempotency_key="k"))[0] == 200
    for method, path, body in [
        ("PATCH", ISSUE, {"status": "done"}),
        ("PATCH", f"{ISSUE}?x", {"status": "open"}),
        ("POST", "/issues", {"title": "new"}),
        ("DELETE", ISSUE, None),
    ]:
        status, problem, _ = await begun(method, path, body, idempotency_key="k")
        assert (status, problem["type"]) == (422, f"{PROBLEM}{'invalid' if '?' in path else 'key-reused'}")
    status, problem, _ = await begun("PATCH", ISSUE, {"status": "open"}, idempotency_key="k", if_match='"3"')
    assert problem["type"] == f"{PROBLEM}key-reused"
    status, _, headers = await begun("PATCH", ISSUE, {"status": "done"}, idempotency_key="k", token="admin")
    assert status == 200
    assert "idempotent-replayed" not in headers
    assert (await begun.content(ID)).status == "done"


async def held(api: Api, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Appends wait: the first event says that one does, the second lets it go on."""
    waits, go = asyncio.Event(), asyncio.Event()
    append = api.home.store.append

    async def append_late(batch: list[NewDelta]) -> list[int]:
        waits.set()
        await go.wait()
        return await append(batch)

    monkeypatch.setattr(api.home.store, "append", append_late)
    return waits, go


async def test_while_a_request_is_done_the_same_one_is_told_to_wait(
    begun: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, go = await held(begun, monkeypatch)
    first = asyncio.create_task(begun("POST", "/issues", {"title": "new"}, idempotency_key="k"))
    await asyncio.wait_for(waits.wait(), 5)
    status, problem, _ = await begun("POST", "/issues", {"title": "new"}, idempotency_key="k")
    assert (status, problem["type"]) == (409, f"{PROBLEM}in-progress")
    go.set()
    assert (await first)[0] == 201


async def test_of_two_who_do_one_request_only_one_writes(
    begun: Api, requests_clock: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that was only slow, and not dead, when its request was taken over."""
    waits, go = await held(begun, monkeypatch)
    slow = asyncio.create_task(begun("PATCH", ISSUE, {"title": "Slow"}, idempotency_key="k"))
    await asyncio.wait_for(waits.wait(), 5)
    requests_clock.passed = timedelta(minutes=1)
    head = await begun.head()
    other = asyncio.create_task(begun("PATCH", ISSUE, {"title": "Slow"}, idempotency_key="k"))
    go.set()
    assert sorted([(await slow)[0], (await other)[0]]) in ([200, 200], [200, 503])
    assert await begun.head() == head + 1


async def test_a_failure_that_may_pass_is_no_answer_to_keep(begun: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(batch: list[NewDelta]) -> list[int]:
        raise StoreUnavailable("away")

    with monkeypatch.context() as failing:
        failing.setattr(begun.home.store, "append", fail)
        assert (await begun("PATCH", ISSUE, {"status": "done"}, idempotency_key="k"))[0] == 503
    assert (await begun("PATCH", ISSUE, {"status": "done"}, idempotency_key="k"))[0] == 200


async def test_of_many_only_those_are_made_again_that_were_not_made(
    begun: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"issues": [{"title": f"t{n}"} for n in range(6)]}
    append, appended = begun.home.store.append, list[int]()

    async def fail_later(batch: list[NewDelta]) -> list[int]:
        if appended:
            raise StoreUnavailable("away")
        appended.append(1)
        return await append(batch[:1]) + await fail_later(batch[1:]) if len(batch) > 1 else await append(batch)

    with monkeypatch.context() as failing:
        failing.setattr(begun.home.store, "append", fail_later)
        status, told, _ = await begun("POST", "/issues/bulk", wanted, idempotency_key="k")
    assert status == 200
    assert 503 in {each["status"] for each in told["results"]}
    status, told, _ = await begun("POST", "/issues/bulk", wanted, idempotency_key="k")
    assert [each["status"] for each in told["results"]] == [201] * 6
    await begun.project()
    assert sorted(await begun.titles()) == ["Slow search", *(f"t{n}" for n in range(6))]


async def test_a_key_is_another_one_after_a_day_whether_it_was_swept_or_not(begun: Api, requests_clock: Later) -> None:
    body = {"title": "new"}
    first = await begun("POST", "/issues", body, idempotency_key="k")
    requests_clock.passed = timedelta(hours=23)
    assert (await begun("POST", "/issues", body, idempotency_key="k"))[1] == first[1]
    requests_clock.passed = timedelta(hours=25)
    second = await begun("POST", "/issues", body, idempotency_key="k")
    assert second[1]["id"] != first[1]["id"]
    assert (await begun("POST", "/issues", body, idempotency_key="k"))[1] == second[1]
    status, problem, _ = await begun("PATCH", ISSUE, {"status": "done"}, idempotency_key="k")
    assert (status, problem["type"]) == (422, f"{PROBLEM}key-reused")


async def test_an_old_key_that_was_never_answered_is_another_one_too(
    begun: Api, requests_clock: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*arguments: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as dying:
        dying.setattr(KeyedRequests, "finish", die)
        with pytest.raises(asyncio.CancelledError):
            await begun("PATCH", ISSUE, {"status": "open"}, idempotency_key="k")
    requests_clock.passed = timedelta(hours=25)
    head = await begun.head()
    assert (await begun("PATCH", ISSUE, {"status": "done"}, idempotency_key="k"))[0] == 200
    assert await begun.head() == head + 1


async def test_keys_are_swept_after_a_day_with_all_that_was_kept_of_them(begun: Api, requests_clock: Later) -> None:
    keys = KeyedRequests(begun.database)
    later = VirtualClock().now()
    sweeper = Sweeper(begun.home.store, [keys], now=lambda: later)
    await begun("POST", "/issues", {"title": "old"}, idempotency_key="old")
    requests_clock.passed = timedelta(hours=2)
    await begun("POST", "/issues", {"title": "new"}, idempotency_key="new")
    later += timedelta(hours=23)
    assert await sweeper.sweep() == 0
    later += timedelta(hours=2)
    assert await sweeper.sweep() == 1
    for table in ("keyed_requests", "keyed_edits"):
        assert [row[0] for row in await begun.connection.fetch(f"SELECT key FROM {table}")] == ["new"], table


async def test_a_key_that_is_none_is_told(begun: Api) -> None:
    head = await begun.head()
    for key in ("", '"', '""', "ä", "x" * 256, 'a"b', "a\\b"):
        status, problem, _ = await begun("POST", "/issues", {"title": "new"}, idempotency_key=key)
        assert (status, problem["errors"][0]["field"]) == (422, "Idempotency-Key"), key
    assert await begun.head() == head


async def test_what_the_purged_issue_was_answered_is_gone(begun: Api) -> None:
    await begun("DELETE", ISSUE, idempotency_key="k")
    await begun.project()
    await begun.home.store.purge(begun.workspace, ID, by="root", at=NOW)
    for table in ("keyed_requests", "keyed_edits"):
        assert await begun.connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table
