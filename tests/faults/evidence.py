"""What can be proved after a fault: what the log holds, what clients were shown, and that none of it went missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from asyncpg import Connection
from pycrdt import get_state

from crdt import update
from tests.faults.typing_crew import Crew
from tests.js.browser import Replica, Tab
from tests.peers.server_process import ServerProcess, eventually


@dataclass(frozen=True, slots=True)
class Log:
    """An issue as committed: its rows by seq (as checksums), and the clocks of its newest snapshot and all rows."""

    checksums: dict[int, int]
    floor: int
    clocks: dict[int, int]


async def read_log(database: Connection, issue: UUID) -> Log:
    """Read the issue's deltas and newest snapshot in one consistent look."""
    async with database.transaction(isolation="repeatable_read", readonly=True):
        rows = await database.fetch("SELECT seq, checksum, update FROM deltas WHERE issue_id = $1 ORDER BY seq", issue)
        states = await database.fetch(
            "SELECT state FROM snapshots WHERE issue_id = $1 ORDER BY seq DESC LIMIT 1", issue
        )
        floor = await database.fetchval("SELECT max(floor) FROM documents WHERE issue_id = $1", issue)
    merged = update.merge([state["state"] for state in states] + [row["update"] for row in rows])
    return Log({row["seq"]: row["checksum"] for row in rows}, floor or 0, clocks_of(merged))


def clocks_of(merged: bytes) -> dict[int, int]:
    """Client → next clock of an update that starts at the beginning."""
    return update.decode_state_vector(get_state(merged))


@dataclass(frozen=True, slots=True)
class Shown:
    """How far each tab had heard of every other tab."""

    tab: str
    clocks: dict[int, int]


async def what_was_shown(tabs: Sequence[Tab]) -> list[Shown]:
    """For each tab the clocks of the others' edits it holds; its own prove nothing, it may still have to send them."""
    shown = []
    for tab in tabs:
        replica = await tab.look()
        clocks = update.decode_state_vector(replica.state_vector)
        clocks.pop(tab.client_id, None)
        shown.append(Shown(tab.name, clocks))
    return shown


def assert_shown_is_committed(shown: Sequence[Shown], log: Log) -> None:
    """Nobody holds an edit of somebody else that the log does not."""
    for one in shown:
        for client, clock in one.clocks.items():
            assert log.clocks.get(client, 0) >= clock, (
                f"{one.tab} was shown {client} up to {clock}, committed: {log.clocks}"
            )


def assert_kept(before: Log, after: Log) -> None:
    """Every committed row is still there, byte for byte, or folded into a snapshot; no clock went back."""
    for seq, checksum in before.checksums.items():
        if seq > after.floor:
            assert after.checksums.get(seq) == checksum, f"row {seq} is gone or changed"
    for client, clock in before.clocks.items():
        assert after.clocks.get(client, 0) >= clock, f"edits of {client} are gone"


async def assert_all_agree(server: ServerProcess, issue: UUID, tabs: Sequence[Tab]) -> Replica:
    """Every replica, the log and the row in SQL come to the same; returns what that is. They are all looked at again
    while they do not: where two set a field at once, the server may set it to the later value once more."""
    for tab in tabs:
        for other in tabs:
            await tab.wait_covers(await other.look())
    replicas: list[Replica] = []

    async def agreed() -> bool:
        replicas[:] = [await tab.look() for tab in tabs]
        last = replicas[-1]
        async with server.database() as database:
            clocks = (await read_log(database, issue)).clocks
            row = await database.fetchrow("SELECT description, session_id FROM issues WHERE id = $1", issue)
        return (
            all(replica.content == last.content for replica in replicas)
            and clocks == update.decode_state_vector(last.state_vector)
            and row is not None
            and tuple(row) == (last.description, last.content["fields"].get("sessionId"))
        )

    await eventually(agreed, "replicas, log and row to say the same")
    return replicas[-1]


async def assert_nothing_lost(server: ServerProcess, typing: Crew) -> None:
    """Everybody online hears everybody; once they rest, all copies agree and every word typed is in them."""
    await typing.all_hear_each_other()
    marks = await typing.stop_typing()
    end = await assert_all_agree(server, typing.issue, typing.all_tabs)
    assert_words_are_there(end.description, marks)


def assert_words_are_there(description: str, marks: dict[str, int]) -> None:
    """Every word of every typist (mark → number of words) is in the text exactly once."""
    found = description.split()
    expected = [f"{mark}{number}" for mark, words in marks.items() for number in range(words)]
    assert sorted(found) == sorted(expected)
