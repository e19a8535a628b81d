"""Catching up costs what has changed, not what there is: counted in bytes, rows and steps, not in seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid5

import asyncpg

from crdt.native import Reset
from storage.database import DatabaseLimits, open_database
from storage.postgres import PostgresStore
from storage.store import NewDelta
from syncline.local_store import LocalStore
from syncline.records import Content, Event, PageCame, ReloadCame, ResetCame
from tests.conftest import execute
from tests.peers.server_process import eventually
from tests.server.native_client import NativeClient
from tests.server.native_house import native_house
from tests.storage.authors import Author

CHANGED = 500
EDITS = 3  # of each changed issue
DESCRIPTION = "It takes ten seconds. " * 45  # about 1 kB
BATCH = 1_000
AT_MOST = 1.5
SMALL, BIG = 1_000, 10_000


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one catch-up. `rows`: of the log that the server read · `tuples`: that Postgres looked at for it."""

    frames: int
    bytes: int
    rows: int
    tuples: int


class Workspace:
    """A workspace in Postgres that grows, and what its log says next."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.authors: list[Author] = []

    async def grow(self, issues: int) -> None:
        """Have so many issues of about 1 kB."""
        async with opened(self.dsn) as store:
            workspace = await store.create_workspace("main", "Main")
            numbers = range(len(self.authors), issues)
            new = [Author(workspace.id, uuid5(UUID(int=1), str(number)), 1_000 + number) for number in numbers]
            for batch in batches([author.types(DESCRIPTION, "description") for author in new]):
                await store.append(batch)
            await self._count(store)
            self.authors += new

    async def change(self) -> None:
        """Edit as many issues as change while a client is away."""
        async with opened(self.dsn) as store:
            for _ in range(EDITS):
                await store.append([author.types("and more ") for author in self.changed()])

    def changed(self) -> list[Author]:
        """Spread over the workspace."""
        return self.authors[:: len(self.authors) // CHANGED][:CHANGED]

    async def catch_up(self, *, below_floor: bool = False) -> Cost:
        """A client was here, `change` happened, and it comes back; what that costs. `below_floor`: to a log that no
        longer begins where it left."""
        async with opened(self.dsn) as store:
            before = (await store.workspaces())[0]
        await self.change()
        if below_floor:
            await execute(self.dsn, f"UPDATE workspaces SET floor = {before.head + 1}")
        tuples = await self._tuples()
        async with opened(self.dsn) as store, native_house(store=store) as node:
            client = node.client()
            client.epoch, client.cursor = before.epoch, before.head
            client.connect()
            await client.until_live(before.head + CHANGED * EDITS)
            expect_what_changed(client, self)
            assert any(isinstance(frame, Reset) for frame in client.heard) == below_floor
            count = node.house.counted
            frames, sent, rows = len(client.heard), count("feed_bytes_total"), count("feed_rows_total")
        return Cost(frames, int(sent), int(rows), await self._tuples() - tuples)

    async def _count(self, store: PostgresStore) -> None:
        """What the projector does for every page, and what autovacuum does in the end."""
        workspace = (await store.workspaces())[0]
        async with store.projection(workspace.id) as turn:
            assert turn is not None
            while page := await store.page_by_issue(workspace.id, turn.cursor, BATCH):
                await turn.save([], page)
        await execute(self.dsn, "ANALYZE")

    async def _tuples(self) -> int:
        """Rows that statements of this database have looked at so far, catalogues included."""
        connection = await asyncpg.connect(self.dsn)
        try:

            async def alone() -> bool:
                return bool(await connection.fetchval(_ALONE))

            await eventually(alone, "the store's connections to end: Postgres counts what they did then")
            return int(await connection.fetchval(_TUPLES))
        finally:
            await connection.close()


_ALONE = (
    "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
)
_TUPLES = "SELECT tup_returned FROM pg_stat_database WHERE datname = current_database()"


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(await open_database(dsn, DatabaseLimits(connections_max=4)))
    try:
        yield store
    finally:
        await store.close()


def batches(deltas: Sequence[NewDelta]) -> Iterator[Sequence[NewDelta]]:
    return (deltas[at : at + BATCH] for at in range(0, len(deltas), BATCH))


def expect_what_changed(client: NativeClient, workspace: Workspace) -> None:
    """It was sent the issues that changed, and no other."""
    assert {entry.issue for entry in client.entries} == {author.issue_id for author in workspace.changed()}


async def test_catching_up_costs_the_server_what_has_changed(dsn: str) -> None:
    workspace = Workspace(dsn)
    await workspace.grow(SMALL)
    cheap = await workspace.catch_up()
    await workspace.grow(BIG)
    dear = await workspace.catch_up()
    assert cheap.rows == dear.rows == CHANGED * EDITS
    for name in ("frames", "bytes", "tuples"):
        assert getattr(dear, name) <= AT_MOST * getattr(cheap, name), f"{name}: {cheap} of {SMALL}, {dear} of {BIG}"


async def test_below_the_floor_it_still_costs_what_has_changed(dsn: str) -> None:
    workspace = Workspace(dsn)
    await workspace.grow(SMALL)
    cheap = await workspace.catch_up(below_floor=True)
    await workspace.grow(BIG)
    dear = await workspace.catch_up(below_floor=True)
    for name in ("bytes", "tuples"):
        assert getattr(dear, name) <= AT_MOST * getattr(cheap, name), f"{name}: {cheap} of {SMALL}, {dear} of {BIG}"


# On the device.


class Steps:
    """Counts what SQLite's virtual machine does."""

    GRAIN = 10

    def __init__(self, store: LocalStore) -> None:
        self.count = 0
        store._connection.set_progress_handler(self._step, self.GRAIN)

    def _step(self) -> int:
        self.count += self.GRAIN
        return 0


def device_cost(path: Path, issues: int) -> int:
    """Steps to take in pages with the changes, and to show them to who follows the changes, with so many issues."""
    store = LocalStore(str(path), lambda: datetime.now(UTC))
    authors = [Author(1, uuid5(UUID(int=1), str(number)), 1_000 + number) for number in range(issues)]
    store.apply([ResetCame(UUID(int=7), 0, 0, is_new_history=False), ReloadCame(0, None, ())])
    for page in pages(0, [author.types(DESCRIPTION, "description") for author in authors]):
        store.apply([page])
    cursor = store.feed().cursor
    steps = Steps(store)
    for page in pages(cursor, [author.types("and more ") for author in authors[:: issues // CHANGED][:CHANGED]]):
        store.apply([page])
    assert len(store.committed_after(cursor, CHANGED + 1)) == CHANGED
    store.close()
    return steps.count


def pages(after: int, deltas: Sequence[NewDelta]) -> Iterator[Event]:
    """The log from a cursor, a hundred deltas a page."""
    for at in range(0, len(deltas), 100):
        part = deltas[at : at + 100]
        entries = tuple(Content(one.issue_id, after + at + 1 + n, one.update) for n, one in enumerate(part))
        yield PageCame(after + at, after + at + len(part), entries)


def test_catching_up_costs_the_device_what_has_changed(tmp_path: Path) -> None:
    cheap, dear = device_cost(tmp_path / "small.db", SMALL), device_cost(tmp_path / "big.db", BIG)
    assert dear <= AT_MOST * cheap
