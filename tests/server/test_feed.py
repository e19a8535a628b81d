"""The feed: what a client with a cursor is sent, in whatever state it and the log are."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from uuid import UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdt.native import AHEAD, EPOCH, FLOOR, NEW, Open, Page, Reload, ReloadPoint, Reset, State
from crdt.native_entries import ROW, SNAPSHOT, read_row
from crdt.update import decode_state_vector, merge
from server.doors.native.limits import NativeLimits
from server.feed import FeedLimits
from server.feed_readers import PageLimits
from storage.compactor import Compactor, CompactorLimits
from storage.engine import IssueKey
from storage.errors import StoreUnavailable
from storage.memory import MemoryStore
from storage.projector import Projector, ProjectorLimits
from storage.store import Store
from tests.inline_engine import InlineEngine
from tests.server.native_client import NativeClient
from tests.server.native_house import NativeHouse, native_house
from tests.simulation.time import VirtualClock, in_virtual_time, run_in_virtual_time
from tests.storage.authors import Author

ISSUES = [UUID(int=number) for number in range(1, 7)]
SMALL_PAGES = FeedLimits(page=PageLimits(deltas=3, bytes=400))
NO_HISTORY = CompactorLimits(tail_updates=4, idle_updates=2, interval_seconds=0.5, history_days=1 / 86_400)


@dataclass
class Readers:
    """The workers that project and trim a log."""

    store: Store
    engine: InlineEngine = field(default_factory=InlineEngine)

    def __post_init__(self) -> None:
        clock = VirtualClock()
        self.projector = Projector(self.store, self.engine, ProjectorLimits(), now=clock.now, random=Random(1))
        self.compactor = Compactor(self.store, self.engine, NO_HISTORY, now=clock.now, random=Random(1))

    async def trim(self, author: Author) -> int:
        """Write, and trim what was written of that issue before; the workspace's floor."""
        for _ in range(2):
            await self.store.append([author.types("x")])
            running = asyncio.create_task(self.projector.run())
            await asyncio.sleep(60)  # and the snapshot before grows older than the history
            running.cancel()
            await self.compactor.compact(IssueKey(author.workspace_id, author.issue_id))
        return next(w.floor for w in await self.store.workspaces() if w.id == author.workspace_id)


async def typed(store: Store, workspace_id: int, issues: int, edits: int) -> None:
    """So many deltas in so many issues, all by one author an issue, in turns."""
    authors = [Author(workspace_id, issue, 100 + at) for at, issue in enumerate(many(issues))]
    for number in range(edits):
        await store.append([author.types(chr(97 + number % 26)) for author in authors])


def many(count: int) -> list[UUID]:
    return [uuid5(ISSUES[0], str(number)) for number in range(count)]


async def expect_equal(client: NativeClient, store: Store, workspace_id: int) -> None:
    """The client's documents are those of the log."""
    for issue in await store.issue_ids(workspace_id, None, 10_000):
        stored = NativeClient(client.door)
        stored.doc(issue).apply_update(merge((await store.load(workspace_id, issue)).updates))
        assert client.title(issue) == stored.title(issue)
        states = [decode_state_vector(doc.get_state()) for doc in (client.doc(issue), stored.doc(issue))]
        assert states[0] == states[1]


class TestCatchingUp:
    @in_virtual_time
    async def test_a_first_load_is_a_reload_of_whole_issues_and_ends_live(self) -> None:
        async with native_house(feed_limits=SMALL_PAGES) as node:
            store, workspace = node.house.store, node.house.workspace.id
            await typed(store, workspace, issues=20, edits=10)
            client = node.client()
            client.connect()
            await client.until_live(200)
            assert [frame.reason for frame in client.heard if isinstance(frame, Reset)] == [NEW]
            assert sum(isinstance(frame, Reload) for frame in client.heard) > 3
            assert Counter(entry.issue for entry in client.entries) == Counter(many(20))
            assert {entry.kind for entry in client.entries} == {SNAPSHOT}
            await expect_equal(client, store, workspace)

    @in_virtual_time
    async def test_what_came_while_away_comes_in_contiguous_pages_merged_per_issue(self) -> None:
        async with native_house() as node:
            store, workspace = node.house.store, node.house.workspace.id
            client = node.client()
            client.connect()
            await client.until_live()
            client.disconnect()
            await typed(store, workspace, issues=3, edits=500)
            client.connect()
            await client.until_live(1_500)
            assert len(client.entries) == 3
            await expect_equal(client, store, workspace)

    @in_virtual_time
    async def test_a_reload_goes_on_where_it_was_interrupted(self) -> None:
        async with native_house(feed_limits=SMALL_PAGES) as node:
            store, workspace = node.house.store, node.house.workspace.id
            await typed(store, workspace, issues=30, edits=3)
            client = node.client()
            for _ in range(100):
                client.connect()
                await client.until(Reload)
                client.disconnect()
                if client.cursor is not None:
                    break
            client.connect()
            await client.until_live(90)
            loaded = Counter(entry.issue for entry in client.entries)
            assert loaded == Counter(many(30)), "an issue was loaded twice"
            assert sum(isinstance(frame, Reset) for frame in client.heard) == 1
            await expect_equal(client, store, workspace)

    @in_virtual_time
    async def test_below_the_floor_only_what_changed_since_is_reloaded(self) -> None:
        async with native_house() as node:
            store, workspace = node.house.store, node.house.workspace.id
            await typed(store, workspace, issues=10, edits=2)
            client = node.client()
            client.connect()
            await client.until_live(20)
            client.disconnect()
            client.entries.clear()
            author = Author(workspace, many(10)[4], 7)
            await store.append([author.types(character) for character in "trimmed away"])
            assert await Readers(store).trim(author) > 32
            client.connect()
            await client.until_live(34)
            assert [frame.reason for frame in client.heard if isinstance(frame, Reset)] == [NEW, FLOOR]
            assert [entry.issue for entry in client.entries] == [author.issue_id]
            await expect_equal(client, store, workspace)

    @pytest.mark.parametrize(
        ("cursor", "same_epoch", "reason"), [(99, True, AHEAD), (3, False, EPOCH), (99, False, EPOCH)]
    )
    def test_a_cursor_of_another_log_is_reset(self, cursor: int, same_epoch: bool, reason: str) -> None:
        async def scenario() -> None:
            async with native_house() as node:
                await typed(node.house.store, node.house.workspace.id, issues=3, edits=3)
                client = node.client()
                client.epoch = node.house.workspace.epoch if same_epoch else UUID(int=5)
                client.cursor = cursor
                client.connect()
                reset = await client.until(Reset)
                assert (reset.reason, reset.since, reset.base) == (reason, 0, 9)
                await client.until_live(9)
                await expect_equal(client, node.house.store, node.house.workspace.id)

        run_in_virtual_time(scenario())

    @in_virtual_time
    async def test_a_reload_of_another_log_does_not_go_on(self) -> None:
        async with native_house() as node:
            await typed(node.house.store, node.house.workspace.id, issues=3, edits=3)
            client = node.client()
            client.epoch, client.reload = node.house.workspace.epoch, ReloadPoint(99, 0, ISSUES[0])
            client.connect()
            assert (await client.until(Reset)).reason == AHEAD
            await client.until_live(9)

    @in_virtual_time
    async def test_a_store_that_fails_delays_the_feed_and_breaks_nothing(self) -> None:
        failures = 5

        async def trouble(moment: str, operation: str) -> None:
            nonlocal failures
            if failures and operation in ("page", "load_many", "changed_extents"):
                failures -= 1
                raise StoreUnavailable("away")

        store = MemoryStore()
        async with native_house(store=store) as node:
            await typed(store, node.house.workspace.id, issues=3, edits=3)
            store.fault = trouble
            client = node.client()
            client.connect()
            await client.until_live(9)
            failures = 3
            await typed(store, node.house.workspace.id, issues=1, edits=1)
            await client.until_live(10)


class TestLive:
    @in_virtual_time
    async def test_edits_of_one_interval_are_one_page_shared_by_all(self) -> None:
        async with native_house() as node:
            readers = [node.client(f"reader{number}", number + 10) for number in range(5)]
            writer = node.client()
            for client in (*readers, writer):
                client.connect()
                await client.until_live()
            rows = node.house.counted("feed_rows_total")
            for number in range(40):
                writer.write(ISSUES[number % 2], "x")
                await asyncio.sleep(0.005)
            for reader in readers:
                await reader.until_live(40)
                pages = [frame for frame in reader.heard if isinstance(frame, Page) and frame.to_seq > frame.from_seq]
                assert len(pages) <= 4
            assert node.house.counted("feed_rows_total") - rows == 40, "the log is read once for all"

    @in_virtual_time
    async def test_commits_of_another_node_come_with_the_poll(self) -> None:
        store = MemoryStore()
        async with native_house(store=store) as one, native_house(store=store) as other:
            reader, writer = one.client("bob", 2), other.client()
            for client in (reader, writer):
                client.connect()
                await client.until_live()
            writer.write(ISSUES[0], "from over there")
            await reader.until_live(1)
            assert reader.title(ISSUES[0]) == "from over there"

    @in_virtual_time
    async def test_a_slow_reader_holds_no_more_than_its_bound_and_ends_with_everything(self) -> None:
        limits = NativeLimits(full_bytes=2_000)
        async with native_house(limits, SMALL_PAGES) as node:
            slow, writer = node.client("bob", 2), node.client()
            for client in (slow, writer):
                client.connect()
                await client.until_live()
            slow.socket.stalled = True
            for number in range(200):
                writer.write(ISSUES[number % 6], "some text " * 5)
                await asyncio.sleep(0.05)
            assert slow.socket.largest_backlog < 2_000 + 3 * 500
            slow.socket.flow()
            head = (await node.house.store.workspaces())[0].head
            await slow.until_live(head)
            await expect_equal(slow, node.house.store, node.house.workspace.id)

    @in_virtual_time
    async def test_open_issues_come_ahead_and_the_cursor_is_exact(self) -> None:
        async with native_house() as node:
            reader, writer = node.client("bob", 2), node.client()
            for client in (reader, writer):
                client.connect()
                await client.until_live()
            reader.say(Open(ISSUES[0], None))
            await reader.until(State)
            for _ in range(10):
                writer.write(ISSUES[0], "a")
                writer.write(ISSUES[1], "b")
                await asyncio.sleep(0.02)
                reader.hear()
                before = (reader.title(ISSUES[0]), reader.cursor)
                reader.disconnect()
                reader.connect()
                reader.say(Open(ISSUES[0], reader.doc(ISSUES[0]).get_state()))
                assert before[0] == writer.title(ISSUES[0])
            await reader.until_live((await node.house.store.workspaces())[0].head)
            await expect_equal(reader, node.house.store, node.house.workspace.id)

    @in_virtual_time
    async def test_a_feed_nobody_follows_is_not_read(self) -> None:
        async with native_house() as node:
            client = node.client()
            client.connect()
            await client.until_live()
            client.disconnect()
            await asyncio.sleep(1)
            rows = node.house.counted("feed_rows_total")
            await typed(node.house.store, node.house.workspace.id, issues=1, edits=3)
            await asyncio.sleep(5)
            assert node.house.counted("feed_rows_total") == rows


class TestRows:
    @in_virtual_time
    async def test_rows_come_when_they_are_projected_and_not_before(self) -> None:
        async with native_house() as node:
            client, writer = node.client("bob", 2, mode="rows"), node.client()
            for one in (client, writer):
                one.connect()
                await one.until_live()
            writer.write(ISSUES[0], "hello")
            await writer.until_live(1)
            await asyncio.sleep(2)
            client.hear()
            assert not client.entries
            running = asyncio.create_task(Readers(node.house.store).projector.run())
            await client.until_live(1)
            running.cancel()
            (entry,) = client.entries
            row = read_row(entry.payload)
            assert row is not None
            assert (entry.kind, entry.seq, row["id"], row["title"]) == (ROW, 1, str(ISSUES[0]), "hello")

    @in_virtual_time
    async def test_a_first_load_holds_every_row_and_an_empty_one_for_what_is_under_quarantine(self) -> None:
        async with native_house() as node:
            store, workspace = node.house.store, node.house.workspace.id
            await typed(store, workspace, issues=4, edits=2)
            bad = many(4)[2]
            await store.quarantine(workspace, bad, "for a test")
            running = asyncio.create_task(Readers(store).projector.run())
            await asyncio.sleep(3)
            running.cancel()
            client = node.client(mode="rows")
            client.connect()
            await client.until_live(8)
            rows = {entry.issue: read_row(entry.payload) for entry in client.entries}
            assert set(rows) == set(many(4))
            assert [issue for issue, row in rows.items() if row is None] == [bad]


class TestCost:
    @pytest.mark.parametrize("mode", ["updates", "rows"])
    def test_catch_up_costs_what_has_changed_and_not_what_there_is(self, mode: str) -> None:
        async def cost(issues: int) -> tuple[float, float]:
            store = MemoryStore()
            async with native_house(store=store) as node:
                workspace = node.house.workspace.id
                await typed(store, workspace, issues=issues, edits=1)
                running = asyncio.create_task(Readers(store).projector.run())
                client = node.client(mode=mode)
                client.epoch, client.cursor = node.house.workspace.epoch, issues
                for at, issue in enumerate(many(50)):
                    author = Author(workspace, issue, 5_000 + at)
                    await store.append([author.types(character) for character in "changed"])
                await asyncio.sleep(3)
                client.connect()
                await client.until_live(issues + 350)
                running.cancel()
                return node.house.counted("feed_rows_total"), node.house.counted("feed_bytes_total")

        small, big = run_in_virtual_time(cost(60)), run_in_virtual_time(cost(600))
        assert small[0] == big[0] == 350
        assert big[1] < 1.1 * small[1]

    @in_virtual_time
    async def test_a_hundred_clients_at_one_cursor_cost_one_reading(self) -> None:
        async with native_house() as node:
            await typed(node.house.store, node.house.workspace.id, issues=5, edits=20)
            clients = [node.client(f"user{number}", number + 1) for number in range(100)]
            for client in clients:
                client.epoch, client.cursor = node.house.workspace.epoch, 0
                client.connect()
            for client in clients:
                await client.until_live(100)
            assert node.house.counted("feed_rows_total") == 100


class Chaos:
    """Writers and readers that come and go on two nodes, while the log is projected, compacted and trimmed."""

    def __init__(self, seed: int, nodes: list[NativeHouse], store: Store) -> None:
        self.trouble = Trouble(seed)
        self.random = Random(seed)
        self.nodes = nodes
        self.store = store
        self.clients = [
            NativeClient(lambda: self.random.choice(self.nodes).door, f"user{number}", number + 1)
            for number in range(5)
        ]

    async def run(self, steps: int) -> None:
        if isinstance(self.store, MemoryStore):
            self.store.fault = self.trouble
        for _ in range(steps):
            self._step(self.random.choice(self.clients))
            await asyncio.sleep(self.random.choice((0, 0.001, 0.05, 0.4)))
        self.trouble.is_calm = True
        await asyncio.sleep(1)
        for client in self.clients:
            if client.is_connected:
                client.disconnect()
            client.connect()
            client.push()
        for client in self.clients:
            await client.until_live()
            await self._until_answered(client)
        head = (await self.store.workspaces())[0].head
        for client in self.clients:
            await client.until_live(head)

    async def _until_answered(self, client: NativeClient) -> None:
        for _ in range(100):
            client.hear()
            if not client.outbox:
                return
            client.push()  # what was answered with `retry`
            await asyncio.sleep(0.1)
        raise AssertionError(f"never acked: {client.outbox}, heard {client.heard[-3:]}")

    def _step(self, client: NativeClient) -> None:
        client.hear()
        luck = self.random.random()
        if not client.is_connected or client.socket.closed is not None:
            if luck < 0.5:
                client.connect()
                client.push()
        elif luck < 0.1:
            client.disconnect()
        elif luck < 0.15:
            client.socket.stalled = True
        elif luck < 0.25 and client.socket.stalled:
            client.socket.flow()
        elif luck < 0.35:
            client.say(Open(self.random.choice(ISSUES), None))
        elif client.number != 1:  # the first one only reads
            issue = self.random.choice(ISSUES)
            client.write(issue, self.random.choice("abcdef") * self.random.choice((1, 1, 1, 60)))


class Trouble:
    """A store that is away now and then, before or after the fact, until it is calm."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.is_calm = False

    async def __call__(self, moment: str, operation: str) -> None:
        """See `storage.memory.Fault`."""
        await asyncio.sleep(self.random.choice((0, 0.001, 0.01)))
        if not self.is_calm and self.random.random() < 0.02:
            raise StoreUnavailable(f"{operation} fails {moment} it happened")


async def chaos(seed: int, deltas: int, size: int, store: Store, steps: int = 150) -> int:
    """One run; everybody must end with exactly the documents of the log. Its floor."""
    limits = FeedLimits(page=PageLimits(deltas, size))
    door = NativeLimits(full_bytes=1_500, linger_seconds=0.1)
    async with native_house(door, limits, store=store) as one, native_house(door, limits, store=store) as other:
        workers = Readers(store)
        running = [asyncio.create_task(work()) for work in (workers.projector.run, workers.compactor.run)]
        try:
            world = Chaos(seed, [one, other], store)
            await world.run(steps)
            for client in world.clients:
                await expect_equal(client, store, one.house.workspace.id)
            return (await store.workspaces())[0].floor
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([1, 60, 400, 100_000]))
def test_whatever_happens_a_client_that_follows_its_cursor_has_everything(seed: int, deltas: int, size: int) -> None:
    run_in_virtual_time(chaos(seed, deltas, size, MemoryStore()))


@pytest.mark.parametrize("seed", range(2))
async def test_the_same_holds_on_postgres(seed: int, store: Store) -> None:
    await chaos(seed, 10, 400, store, steps=40)


@pytest.mark.long(seconds=20)
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([1, 60, 400, 100_000]))
def test_whatever_happens_for_longer(seed: int, deltas: int, size: int) -> None:
    run_in_virtual_time(chaos(seed, deltas, size, MemoryStore(), steps=300))


def test_the_chaos_is_one_in_which_logs_are_trimmed() -> None:
    assert run_in_virtual_time(chaos(1, 10, 400, MemoryStore(), steps=400)) > 0
