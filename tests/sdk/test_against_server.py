"""The SDK and a real server: nothing acknowledged is lost, nothing is doubled, whoever is killed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pycrdt import Doc, Text
from typer.testing import CliRunner

from syncline import Client, State, Status
from syncline.backoff import Backoff
from syncline.commands import application
from tests.forking import FORKING
from tests.peers.forked_server import forking
from tests.peers.pycrdt_peer import provided
from tests.peers.server_process import ServerProcess
from tests.sdk import writer

BRIEF = timedelta(seconds=2)
PHASES = ("before", "durable", "pushed", "committed")


@pytest.fixture
async def server() -> AsyncIterator[ServerProcess]:
    async with forking() as running:
        yield running


def client_of(server: ServerProcess, user: str, path: Path | None = None) -> Client:
    backoff = Backoff(first_seconds=0.05, max_seconds=0.5)
    return Client(f"http://127.0.0.1:{server.port}", token=server.token(user), path=path, backoff=backoff)


class Writer:
    """`tests.sdk.writer` in a process of its own, and the promises it has announced."""

    def __init__(self, process: ForkServerProcess, lines: asyncio.StreamReader) -> None:
        self._process = process
        self._lines = lines
        self.promised: dict[str, set[int]] = {"ready": set(), "durable": set(), "committed": set()}

    @classmethod
    async def start(cls, server: ServerProcess, store: Path, issue_id: UUID, name: str, phase: str) -> Writer:
        ours, its = FORKING.Pipe(duplex=False)
        url, token = f"http://127.0.0.1:{server.port}", server.token("ana")
        with ours, its:
            arguments = (its, url, token, str(store), str(issue_id), name, phase)
            process = FORKING.Process(target=writer.run, args=arguments, daemon=True)
            process.start()
            pipe = os.fdopen(os.dup(ours.fileno()), "rb", buffering=0)
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), pipe)
        return cls(process, lines)

    async def until(self, what: str, number: int) -> None:
        """Read on until it has promised that."""
        while number not in self.promised[what]:
            if not await self._read():
                raise AssertionError("the writer ended by itself")

    async def kill(self) -> None:
        """kill -9; what it had said by then is read to the end."""
        self._process.kill()
        while await self._read():
            pass
        await asyncio.to_thread(self._process.join)
        self._process.close()

    async def _read(self) -> bool:
        line = await self._lines.readline()
        if not line.endswith(b"\n"):
            return False
        what, number = line.decode().split()
        self.promised[what].add(int(number))
        return True


async def test_two_clients_edit_at_once_offline_and_across_a_restart(server: ServerProcess, tmp_path: Path) -> None:
    async with client_of(server, "ana", tmp_path / "ana.db") as ana, client_of(server, "ben") as ben:
        issue_id = (await ana.issues.create(title="Search is slow", description="It takes ten seconds.")).id
        await ana.sent()
        async for change in ben.changes(since=0):
            if change.issue.id == issue_id:
                break
        await server.kill()
        await asyncio.gather(*(client.status.until(State.OFFLINE) for client in (ana, ben)))
        await ana.issues.update(issue_id, description="It takes twenty seconds.")
        await ben.issues.update(issue_id, description="Since Tuesday, it takes ten seconds.")
        assert (ana.status.pending, ben.status.pending) == (1, 1)
        await server.start()
        await asyncio.gather(ana.sent(), ben.sent())
        texts = await asyncio.gather(*(described(client, issue_id, "Since", "twenty") for client in (ana, ben)))
        assert texts == ["Since Tuesday, it takes twenty seconds."] * 2


async def test_a_command_sends_what_earlier_ones_kept_before_it_shows_anything(
    server: ServerProcess, tmp_path: Path
) -> None:
    store = str(tmp_path / "a.db")
    options = ["--token", server.token("ana"), "--store", store, "--json"]
    offline, online = ["--url", "http://127.0.0.1:9", "--wait", "0"], ["--url", f"http://127.0.0.1:{server.port}"]

    async def run(*arguments: str) -> dict[str, Any]:
        result = await asyncio.to_thread(CliRunner().invoke, application(), [*arguments, *options])
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    made = await run("create", "Search", *offline)
    shown = await run("show", made["id"], *online, "--wait", "20")
    assert (made["pending"], shown["pending"]) == (1, 0)


async def test_open_documents_see_each_other_at_once(server: ServerProcess) -> None:
    async with client_of(server, "ana") as ana, client_of(server, "ben") as ben:
        issue_id = uuid4()
        async with await ana.open(issue_id) as here, await ben.open(issue_id) as there:
            here.title.insert(0, "Search is slow 🙂")
            assert await here.save().committed > 0
            async for content in there.changes():
                if content.title == "Search is slow 🙂":
                    break
            here.presence.set({"name": "Ana"})
            async for others in there.presence:
                if any(state["name"] == "Ana" and "user" in state["syncline"] for state in others.values()):
                    break


async def test_a_y_websocket_client_edits_the_same_issue(server: ServerProcess) -> None:
    async with client_of(server, "ana") as ana:
        issue_id = (await ana.issues.create(title="Search")).id
        await ana.sent()
        theirs: Doc[Text] = Doc()
        title = theirs.get("title", type=Text)
        async with provided(theirs, server.address(server.token("ben"), issue_id)) as provider:
            await provider.synced.wait()
            title += " is slow"
            async for issue in ana.issues.watch():
                if issue.title == "Search is slow":
                    break
            await ana.issues.update(issue_id, title="Full-text search is slow")
            async with title.events(deep=False) as events:
                while str(title) != "Full-text search is slow":
                    await anext(aiter(events))


async def test_a_connection_outlives_its_tokens_and_ends_when_there_is_no_other(server: ServerProcess) -> None:
    given: list[str] = []

    async def fetch() -> str:
        given.append(server.token("ana", lasting=BRIEF))
        return given[-1]

    async with Client(f"http://127.0.0.1:{server.port}", token=fetch) as client:
        await client.status.until(State.LIVE)
        states = asyncio.create_task(until_not_live(client))
        while len(given) < 5:  # the first has run out by then
            await (await client.issues.create(title="Still here")).committed
        assert not states.done()
        client.use_token(given[-1])
        assert (await states).state is not State.LIVE
        assert "token expired" in (await client.status.until(State.NEEDS_AUTH)).reason


async def until_not_live(client: Client) -> Status:
    async for status in client.status:
        if status.state is not State.LIVE:
            return status
    raise AssertionError("the client was closed")


async def test_what_a_client_sees_is_what_the_tables_say(server: ServerProcess) -> None:
    async with client_of(server, "ana") as ana:
        receipt = await ana.issues.create(title="Search is slow", priority="high", labels=["bug"])
        await ana.issues.comment(receipt.id, "Me too")
        await ana.sent()
        async with server.database() as database:
            row = None
            while row is None:
                row = await database.fetchrow(
                    "SELECT title, priority, labels, created_by FROM issues"
                    " WHERE EXISTS (SELECT 1 FROM comments WHERE body = 'Me too')"
                )
            assert tuple(row) == ("Search is slow", "high", ["bug"], "ana")


async def test_a_client_killed_in_any_phase_loses_and_doubles_nothing(server: ServerProcess, tmp_path: Path) -> None:
    for phase in PHASES:
        await kill_and_count(server, tmp_path / f"{phase}.db", phase, rounds=1)


@pytest.mark.long(seconds=40)
async def test_a_client_killed_many_times_loses_and_doubles_nothing(server: ServerProcess, tmp_path: Path) -> None:
    for phase in PHASES:
        await kill_and_count(server, tmp_path / f"{phase}.db", phase, rounds=25)


async def kill_and_count(server: ServerProcess, store: Path, phase: str, rounds: int) -> None:
    async with client_of(server, "ana", store) as client:
        issue_id = (await client.issues.create(title="Search is slow")).id
        await client.sent()
    durable: set[str] = set()
    for number in range(rounds):
        name = f"life {number}"
        started = await Writer.start(server, store, issue_id, name, phase)
        await started.until("ready", 0)
        match phase:
            case "durable":
                await started.until("durable", number % 5)
            case "pushed":
                await started.until("durable", 20 + number % 5)
            case "committed":
                await started.until("committed", number % 5)
        await started.kill()
        durable |= {f"{name} {done}" for done in started.promised["durable"]}
    async with client_of(server, "ana", store) as survivor, client_of(server, "ben") as witness:
        await survivor.sent()
        await witness.status.until(State.LIVE)
        mine = await survivor.issues.get(issue_id)
        async for change in witness.changes(since=0):
            if change.issue.id == issue_id and len(change.issue.comments) == len(mine.comments):
                break
        said = [comment.body for comment in change.issue.comments]
        assert durable <= set(said)
        assert len(said) == len(set(said))
        assert sorted(said) == sorted(comment.body for comment in mine.comments)


async def described(client: Client, issue_id: UUID, *words: str) -> str:
    """The description, as soon as it has these words."""
    async for issue in client.issues.watch():
        if issue.id == issue_id and all(word in issue.description for word in words):
            return issue.description
    raise AssertionError("the client was closed")
