"""kill -9 while devices send what they queued: they send again until there is an answer, and nothing is made twice and
nothing is missing."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from random import Random
from typing import Any
from uuid import UUID

import pytest

from tests.peers.forked_server import forking
from tests.peers.server_process import ServerProcess

ISSUES = [UUID(int=number) for number in range(1, 4)]
DEVICES = 3
ANSWERS_BEFORE_KILL = (1, 20)
AT = "2026-01-01T10:00:00Z"
FLAGS = ("--projection-settle-seconds", "0", "--outbox-claim-seconds", "0.2")
LOST = 0  # the status where there is no answer


class Device:
    """A client with a queue: it appends words to texts that others append to as well, comments, and sets labels."""

    def __init__(self, name: str, server: ServerProcess, chance: Random) -> None:
        self.name = name
        self.words: list[tuple[UUID, str]] = []
        self.sent: set[str] = set()
        self.is_done = False
        self._server = server
        self._token = server.token("ana")
        self._chance = chance

    async def work(self, heard: Callable[[], None]) -> None:
        """Read, edit, send until it is answered; again and again."""
        while not self.is_done:
            batch = [operation for issue in ISSUES for operation in await self._edits(issue)]
            unanswered = {operation["id"] for operation in batch}
            self.sent |= unanswered
            while unanswered:
                status, told = await self._ask("POST", "/sync", {"device_id": self.name, "operations": batch})
                if status == LOST:
                    continue
                assert status in (200, 503), told
                for answer in told["results"] if status == 200 else ():
                    assert answer["status"] in ("applied", "merged", "duplicate", "retry"), answer
                    if answer["status"] != "retry":
                        unanswered.discard(answer["id"])
                heard()

    async def begin(self, issue: UUID) -> None:
        """The issue is there."""
        insert = self._operation(f"begin {issue}", "issues", str(issue), "insert", {"title": "Counted words"})
        status, told = await self._ask("POST", "/sync", {"device_id": "founder", "operations": [insert]})
        assert (status, told["results"][0]["status"]) == (200, "applied"), told

    async def _edits(self, issue: UUID) -> list[dict[str, Any]]:
        """Some words at the end of the text as it is now, each in an operation, and things beside it."""
        row = await self._row(issue)
        text, based, edits = row["description"], {"base_seq": row["seq"]}, []
        for _ in range(self._chance.randint(0, 3)):
            word = f"{self.name}.{len(self.words)}"
            self.words.append((issue, word))
            text += f" {word} "
            edits.append(self._operation(word, "issues", str(issue), "update", {"description": text}, **based))
            said = {"issue_id": str(issue), "body": word}
            edits.append(self._operation(f"said {word}", "comments", word, "insert", said))
        return edits

    async def _row(self, issue: UUID) -> dict[str, Any]:
        while True:
            status, row = await self._ask("GET", f"/issues/{issue}")
            if status == 200:
                found: dict[str, Any] = row
                return found

    def _operation(self, id: str, table: str, record: str, operation: str, data: object, **more: object) -> Any:
        what = {"id": id, "table_name": table, "record_id": record, "operation": operation, "data": data}
        return what | {"created_at": AT, **more}

    async def _ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        return await asyncio.to_thread(self._asked, method, path, body)

    def _asked(self, method: str, path: str, body: object) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._server.port}/v1/workspaces/main{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)
        except (OSError, HTTPException, ValueError):
            return LOST, None


async def run_kills(*, kills: int, seed: int) -> None:
    chance = Random(seed)
    async with forking(*FLAGS) as server:
        devices = [Device(f"device{number}", server, Random(seed + number)) for number in range(DEVICES)]
        for issue in ISSUES:
            await devices[0].begin(issue)
        answers: asyncio.Queue[None] = asyncio.Queue()
        async with asyncio.TaskGroup() as tasks:
            for device in devices:
                tasks.create_task(device.work(lambda: answers.put_nowait(None)))
            for _ in range(kills):
                for _ in range(chance.randint(*ANSWERS_BEFORE_KILL)):
                    await answers.get()
                server.process.send_signal(signal.SIGKILL)
                await server.process.wait()
                await server.start()
            for device in devices:
                device.is_done = True
        await expect_everything_once(server, devices)
        code, output = await server.command("verify")
        assert code == 0, output


async def expect_everything_once(server: ServerProcess, devices: list[Device]) -> None:
    """In the documents, as rows show them, and in the account of operations."""
    words = [each for device in devices for each in device.words]
    texts = [word for _, word in words]
    assert words, "nobody wrote anything"
    for issue in ISSUES:
        row = await devices[0]._row(issue)
        expected = [word for there, word in words if there == issue]
        assert sorted(row["description"].split()) == sorted(expected)
        for device in devices:
            own = [word for word in row["description"].split() if word.startswith(device.name)]
            assert own == [word for there, word in device.words if there == issue], "in their order"
    async with server.database() as database:
        said = await database.fetch("SELECT id, body FROM comments")
        assert sorted((row["id"], row["body"]) for row in said) == sorted((word, word) for word in texts)
        rows = await database.fetch("SELECT device_id, id, outcome, update, seq FROM sync_queue")
    sent = {(device.name, each) for device in devices for each in device.sent}
    assert {(row["device_id"], row["id"]) for row in rows if row["device_id"] != "founder"} == sent
    assert all(row["outcome"] in ("applied", "merged") and row["seq"] and row["update"] is None for row in rows)


@pytest.mark.long
async def test_what_a_killed_server_was_sent_is_made_once() -> None:
    await run_kills(kills=5, seed=1)
