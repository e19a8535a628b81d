"""A whole client against a server in memory: what a program sees, online, offline and in between."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from crdt import native
from syncline import Client, ClientClosed, IssueNotFound, NotAccepted, State
from syncline.backoff import Backoff
from syncline.local_store import LocalStore
from syncline.records import Acked, Applied, Event
from tests.sdk.server import NOW_MS, FakeServer, faked


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with faked() as running:
        yield running


def client_of(server: FakeServer, user: str = "ana", path: Path | None = None) -> Client:
    backoff = Backoff(first_seconds=0.01, max_seconds=0.05)
    return Client(server.url, token=user, path=path, backoff=backoff)


def claims(**named: object) -> str:
    """A token as the SDK reads it; whether it is good is the server's business."""
    return f"e30.{base64.urlsafe_b64encode(json.dumps(named).encode()).rstrip(b'=').decode()}.x"


def brief(name: str) -> str:
    """By the server's clock it has 0.4 s left at its start."""
    return claims(jti=name, exp=NOW_MS / 1000 + 0.4)


async def test_a_write_is_durable_then_committed(server: FakeServer) -> None:
    async with client_of(server) as client:
        receipt = await client.issues.create(title="Search is slow", status="open", labels=["bug"])
        await receipt.durable
        assert await receipt.committed == 1
        issue = await client.issues.get(receipt.id)
        assert (issue.title, issue.status, issue.labels) == ("Search is slow", "open", ("bug",))


async def test_a_write_that_changes_nothing_is_committed_with_the_one_before_it(
    server: FakeServer, tmp_path: Path
) -> None:
    await server.stop()
    async with client_of(server, path=tmp_path / "local.db") as client:
        first = await client.issues.create(title="Search", labels=["bug"])
        again = await client.issues.update(first.id, add_labels=["bug"])
        await server.start()
        assert await again.committed == await first.committed == 1


async def test_of_what_was_edited_offline_it_is_said_first_what_is_here(server: FakeServer, tmp_path: Path) -> None:
    """The issues are closed again when all of it is answered, but not those that are open here."""
    await server.stop()
    async with client_of(server, path=tmp_path / "local.db") as client:
        first = await client.issues.create(title="Search")
        second = await client.issues.create(title="Sort")
        await client.issues.update(first.id, status="done")
        async with await client.open(second.id):
            store = LocalStore(str(tmp_path / "local.db"), lambda: datetime.now(UTC))
            has = {issue: store.state_vector(issue) for issue in (first.id, second.id)}
            store.close()
            await server.start()
            await client.sent()
            async with asyncio.timeout(20):
                await server.left.wait()
            said = [frame for frame in server.opened[:2] if isinstance(frame, native.Open)]
            assert {frame.issue: frame.state_vector for frame in said} == has
            assert [frame for frame in server.opened if isinstance(frame, native.Close)] == [native.Close(first.id)]


async def test_another_client_hears_of_it(server: FakeServer) -> None:
    async with client_of(server) as ana, client_of(server, "ben") as ben:
        receipt = await ana.issues.create(title="Search is slow")
        async for change in ben.changes(since=0):
            assert (change.issue.id, change.issue.title, change.seq) == (receipt.id, "Search is slow", 1)
            break


async def test_an_update_changes_what_is_given_and_nothing_else(server: FakeServer) -> None:
    async with client_of(server) as client:
        issue_id = (await client.issues.create(title="t", description="d", priority="low", user_id="ben")).id
        await client.issues.update(issue_id, priority="high", user_id=None, add_labels=["a", "b"])
        await client.issues.update(issue_id, remove_labels=["a"])
        issue = await client.issues.get(issue_id)
        assert (issue.title, issue.description, issue.priority) == ("t", "d", "high")
        assert (issue.user_id, issue.labels) == (None, ("b",))


async def test_written_offline_it_is_sent_when_there_is_a_server(server: FakeServer, tmp_path: Path) -> None:
    await server.stop()
    async with client_of(server, path=tmp_path / "local.db") as client:
        await client.status.until(State.OFFLINE)
        receipt = await client.issues.create(title="Written on a train")
        assert client.status.pending == 1
        await server.start()
        await receipt.committed
        await client.status.until(State.LIVE)
        assert client.status.pending == 0


async def test_what_was_written_before_the_end_is_sent_by_the_next_client(server: FakeServer, tmp_path: Path) -> None:
    await server.stop()
    async with client_of(server, path=tmp_path / "local.db") as client:
        receipt = await client.issues.create(title="Written on a train")
    with pytest.raises(ClientClosed):
        await receipt.committed
    await server.start()
    async with client_of(server, path=tmp_path / "local.db") as client:
        await client.sent()
    assert server.log.issues() == [receipt.id]


async def test_the_cursor_is_kept_and_only_what_is_new_is_asked_for(server: FakeServer, tmp_path: Path) -> None:
    async with client_of(server, path=tmp_path / "local.db") as client:
        await (await client.issues.create(title="one")).committed
        await anext(client.changes(since=0))
    async with client_of(server, path=tmp_path / "local.db") as client:
        await client.status.until(State.LIVE)
    assert [hello.cursor for hello in server.hellos] == [None, 1]


async def test_a_text_written_over_what_was_seen_keeps_what_came_since(server: FakeServer) -> None:
    async with client_of(server) as client:
        seen = (await client.issues.create(title="Search", description="It is slow.")).issue
        assert seen is not None
        await client.issues.update(seen.id, description="Since Tuesday it is slow.")
        await client.issues.update(seen.id, title="Search!", description="It is very slow.", seen=seen)
        issue = await client.issues.get(seen.id)
        assert (issue.title, issue.description) == ("Search!", "Since Tuesday it is very slow.")


async def test_an_open_document_streams_both_ways(server: FakeServer) -> None:
    async with client_of(server) as ana, client_of(server, "ben") as ben:
        issue_id = (await ana.issues.create(title="Search")).id
        await ana.sent()
        async with await ana.open(issue_id) as here, await ben.open(issue_id) as there:
            async for content in there.changes():
                if content.title == "Search":
                    break
            here.title.insert(len(here.title), " is slow")
            there.fields["status"] = "open"
            await asyncio.gather(here.save().committed, there.save().committed)
            async for content in here.changes():
                if content.status == "open":
                    break
            async for content in there.changes():
                if content.title == "Search is slow":
                    break


async def test_an_update_of_an_open_issue_goes_through_the_open_document(server: FakeServer) -> None:
    async with client_of(server) as client:
        issue_id = (await client.issues.create(title="Search")).id
        async with await client.open(issue_id) as document:
            document.title.insert(6, " is")
            receipt = await client.issues.update(issue_id, title="Search is slow")
            assert str(document.title) == "Search is slow"
            assert receipt.issue is not None
            assert receipt.issue.title == "Search is slow"
            await receipt.committed


async def test_edits_of_one_turn_are_one_entry(server: FakeServer) -> None:
    async with client_of(server) as client, await client.open(uuid4()) as document:
        for character in "slow":
            document.title.insert(len(document.title), character)
        await document.save().committed
    assert len(server.pushed) == 1


async def test_closing_a_document_keeps_what_was_edited(server: FakeServer, tmp_path: Path) -> None:
    await server.stop()
    issue_id = uuid4()
    async with client_of(server, path=tmp_path / "local.db") as client:
        document = await client.open(issue_id)
        document.title.insert(0, "Search is slow")
    async with client_of(server, path=tmp_path / "local.db") as client:
        assert (await client.issues.get(issue_id)).title == "Search is slow"


async def test_a_refused_edit_is_taken_back_and_the_receipt_says_so(server: FakeServer) -> None:
    server.log.refuses = b"POISON"
    async with client_of(server) as client:
        issue_id = (await client.issues.create(title="Search")).id
        async with await client.open(issue_id) as document:
            document.title.insert(0, "POISON ")
            with pytest.raises(NotAccepted, match="schema"):
                await document.save().committed
            async for content in document.changes():
                if content.title == "Search":
                    break
            document.title.insert(0, "Full-text ")
            await document.save().committed
            assert str(document.title) == "Full-text Search"
            assert client.status.pending == 0


async def test_an_edit_that_could_not_be_committed_is_sent_again_in_order(server: FakeServer) -> None:
    server.retries = 3
    async with client_of(server) as client:
        issue_id = (await client.issues.create(title="Search")).id
        receipts = [await client.issues.update(issue_id, status=f"s{number}") for number in range(5)]
        await asyncio.gather(*(receipt.committed for receipt in receipts))
    assert [entry.client_seq for entry in server.pushed][-6:] == [1, 2, 3, 4, 5, 6]


@pytest.mark.long
async def test_who_is_told_when_to_come_again_comes_then_with_everything_in_order(server: FakeServer) -> None:
    server.retries, server.retry_after = 1, 1
    loop = asyncio.get_running_loop()
    async with client_of(server) as client:
        issue_id = (await client.issues.create(title="Search")).id
        receipts = [await client.issues.update(issue_id, status=f"s{number}") for number in range(5)]
        began = loop.time()
        await asyncio.gather(*(receipt.committed for receipt in receipts))
        assert 1 <= loop.time() - began < 5
    assert [entry.client_seq for entry in server.pushed][-6:] == [1, 2, 3, 4, 5, 6]


@pytest.mark.long
async def test_who_is_closed_for_being_too_fast_stays_away_as_long_as_told(server: FakeServer) -> None:
    loop = asyncio.get_running_loop()
    async with client_of(server) as client:
        await client.issues.create(title="Search")
        await client.sent()
        began = loop.time()
        await server.tell(native.Refusal(native.TOO_FAST, "more than it may", 1))
        await server.close_all(4429)
        server.is_deaf = False
        receipt = await client.issues.create(title="Later")
        await client.sent()
        assert 1 <= loop.time() - began < 5
        assert receipt.id
    assert len(server.hellos) == 2


async def test_what_the_server_lost_is_given_back(server: FakeServer) -> None:
    async with client_of(server) as client:
        issue_id = (await client.issues.create(title="Search")).id
        await client.sent()
        server.log.indexes.clear()
        receipt = await client.issues.update(issue_id, title="Search is slow")
        await receipt.committed
        assert client.status.pending == 0


async def test_an_edit_above_the_limit_is_refused_here(server: FakeServer) -> None:
    async with client_of(server) as client:
        issue_id = (await client.issues.create(title="Search")).id
        receipt = await client.issues.update(issue_id, description="x" * 200_000)
        with pytest.raises(NotAccepted, match="too_large"):
            await receipt.committed
        await (await client.issues.update(issue_id, description="y")).committed


async def test_no_more_is_unanswered_than_the_server_allows(server: FakeServer) -> None:
    await server.stop()
    async with client_of(server) as client:
        issue_id = (await client.issues.create(title="Search")).id
        for number in range(30):
            await client.issues.comment(issue_id, f"comment {number}")
        await server.start()
        await client.sent()
    assert server.most_unanswered <= 4
    assert len(server.pushed) == 31


async def test_a_refused_token_needs_another_one(server: FakeServer) -> None:
    async with Client(server.url, token="expired") as client:
        status = await client.status.until(State.NEEDS_AUTH)
        assert "bad token" in status.reason
        client.use_token("ana")
        await client.status.until(State.LIVE)


async def test_a_token_function_is_asked_for_every_connection(server: FakeServer) -> None:
    tokens = iter(["expired", "ana", "ana"])
    async with Client(server.url, token=lambda: next(tokens)) as client:
        await client.status.until(State.NEEDS_AUTH)
        client.try_now()
        await client.status.until(State.LIVE)


async def test_a_token_that_runs_out_is_replaced_on_the_connection_that_stays(server: FakeServer) -> None:
    given = [brief("first"), brief("second"), "ana"]
    server.tokens |= dict.fromkeys(given, "ana")
    tokens = iter(given)

    async def fetch() -> str:
        return next(tokens)

    async with Client(server.url, token=fetch) as client:
        while len(server.renewed) < 2:
            await (await client.issues.create(title="Search")).committed
    assert [hello.token for hello in server.hellos] == given[:1]
    assert server.renewed == given[1:]


async def test_a_function_that_has_no_better_token_yet_is_asked_again(server: FakeServer) -> None:
    token = "expired"
    backoff = Backoff(first_seconds=0.01, max_seconds=0.05)
    async with Client(server.url, token=lambda: token, backoff=backoff) as client:
        await client.status.until(State.NEEDS_AUTH)
        assert len(server.hellos) == 1
        token = "ana"
        await client.status.until(State.LIVE)
    assert [hello.token for hello in server.hellos] == ["expired", "ana"]


async def test_another_token_is_used_at_once_and_one_that_is_refused_needs_yet_another(server: FakeServer) -> None:
    server.tokens["newer"] = "ana"
    async with client_of(server) as client:
        await client.status.until(State.LIVE)
        client.use_token("newer")
        await client.issues.create(title="Search")
        await client.sent()
        client.use_token(lambda: "expired")
        status = await client.status.until(State.NEEDS_AUTH)
        assert "bad token" in status.reason
        client.use_token("ana")
        await client.status.until(State.LIVE)
    assert server.renewed == ["newer", "expired"]
    assert [hello.token for hello in server.hellos] == ["ana", "ana"]


async def test_a_token_of_somebody_else_is_not_taken(server: FakeServer) -> None:
    async with Client(server.url, token=claims(sub="ana")) as client:
        with pytest.raises(ValueError, match="another user"):
            client.use_token(claims(sub="ben"))


async def test_a_final_close_is_an_error_until_somebody_tries_again(server: FakeServer) -> None:
    async with client_of(server) as client:
        await client.status.until(State.LIVE)
        await server.close_all(4404, "no such workspace")
        status = await client.status.until(State.ERROR)
        assert "no such workspace" in status.reason
        client.try_now()
        await client.status.until(State.LIVE)


async def test_any_other_close_is_followed_by_another_connection(server: FakeServer) -> None:
    async with client_of(server) as client:
        await client.status.until(State.LIVE)
        await server.close_all(1013)
        await client.status.until(State.OFFLINE, State.CONNECTING)
        await client.status.until(State.LIVE)
    assert len(server.hellos) == 2


async def test_a_write_nobody_waits_for_any_longer_is_sent_all_the_same(server: FakeServer) -> None:
    async with client_of(server) as client:
        issue_id = uuid4()
        writing = asyncio.create_task(client.issues.create(id=issue_id, title="Search"))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await anext(client.changes(since=0))
        assert server.log.issues() == [issue_id]


async def test_an_ack_that_is_taken_in_while_the_connection_ends_is_not_forgotten(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply, began, go_on = LocalStore.apply, threading.Event(), threading.Event()

    def slowly(store: LocalStore, events: Sequence[Event]) -> Applied:
        if any(isinstance(event, Acked) for event in events):
            began.set()
            go_on.wait(10)
        return apply(store, events)

    monkeypatch.setattr(LocalStore, "apply", slowly)
    async with client_of(server) as client:
        receipt = await client.issues.create(title="Search")
        await asyncio.to_thread(began.wait, 10)
        await server.close_all(1012)
        await client.status.until(State.OFFLINE)
        go_on.set()
        assert await receipt.committed == 1
        await client.sent()


async def test_a_new_epoch_is_followed_and_gets_back_what_it_lacks(server: FakeServer) -> None:
    async with client_of(server) as client:
        issue_id = (await client.issues.create(title="Search")).id
        await client.sent()
        await anext(client.changes(since=0))
        before = server.log
        server.log = type(before)()
        await server.close_all(1012)
        while server.log.issues() != [issue_id]:
            await client.sent()
            await anext(aiter(client.changes(since=0)))
        assert (await client.issues.get(issue_id)).title == "Search"


async def test_presence_is_seen_and_leaves(server: FakeServer) -> None:
    issue_id = uuid4()
    async with client_of(server) as ana, client_of(server, "ben") as ben:
        for client in (ana, ben):
            await client.status.until(State.LIVE)
        here, there = await ana.open(issue_id), await ben.open(issue_id)
        await here.save().durable
        here.presence.set({"name": "Ana", "cursor": 3})
        async for others in there.presence:
            if others:
                assert list(others.values()) == [{"name": "Ana", "cursor": 3}]
                break
            there.presence.set({"name": "Ben"})
        here.presence.clear()
        async for others in there.presence:
            if not others:
                break


async def test_two_clients_on_one_file_see_each_other_without_a_server(server: FakeServer, tmp_path: Path) -> None:
    await server.stop()
    path = tmp_path / "local.db"
    async with client_of(server, path=path) as first, client_of(server, path=path) as second:
        issue_id = (await first.issues.create(title="Search")).id
        async for issue in second.issues.watch():
            if issue.id == issue_id:
                break
        async with await second.open(issue_id) as document:
            receipt = await first.issues.update(issue_id, title="Search is slow")
            async for content in document.changes():
                if content.title == "Search is slow":
                    break
        await server.start()
        await receipt.committed
        await second.sent()


async def test_an_issue_nobody_has_heard_of_is_not_found(server: FakeServer) -> None:
    async with client_of(server) as client:
        with pytest.raises(IssueNotFound):
            await client.issues.get(UUID(int=1))


async def test_lists_are_filtered_and_found_by_the_beginning_of_an_id(server: FakeServer) -> None:
    async with client_of(server) as client:
        one = (await client.issues.create(title="Search is SLOW", status="open", labels=["bug"])).id
        two = (await client.issues.create(title="Login", status="done")).id
        await client.issues.delete(two)
        assert [issue.id for issue in await client.issues.list(text="slow", status="open", label="bug")] == [one]
        assert [issue.id for issue in await client.issues.list()] == [one]
        assert len(await client.issues.list(include_deleted=True)) == 2
        await client.issues.restore(two)
        assert len(await client.issues.list()) == 2
        assert [issue.id for issue in await client.issues.find(str(one)[:8])] == [one]


@pytest.mark.parametrize("title", ["\ud800", "x" * 10_001])
async def test_what_cannot_be_written_is_refused_before_it_is_written(server: FakeServer, title: str) -> None:
    async with client_of(server) as client:
        with pytest.raises(ValueError, match="title"):
            await client.issues.create(title=title)
        assert await client.issues.list() == []


async def test_iterations_end_with_the_client(server: FakeServer) -> None:
    async with client_of(server) as client:
        document = await client.open(uuid4())
        loops = [
            asyncio.create_task(_exhaust(iteration))
            for iteration in (client.changes(), client.issues.watch(), aiter(client.status), document.changes())
        ]
        await client.status.until(State.LIVE)
    await asyncio.gather(*loops)
    assert client.status.state is State.CLOSED


async def test_read_only_holds_edits_back(server: FakeServer) -> None:
    async with client_of(server) as client:
        await client.status.until(State.LIVE)
        await server.tell(native.Notice(native.READ_ONLY, "true"))
        await server.tell(native.Ping(1))
        receipt = await client.issues.create(title="Search")
        await server.tell(native.Notice(native.READ_ONLY, "false"))
        await receipt.committed


async def _exhaust(iteration: AsyncIterator[object]) -> None:
    async for _ in iteration:
        pass
