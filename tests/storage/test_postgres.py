"""What only Postgres can show: several processes on one log, rows damaged on disk, and plans that use their indexes."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from storage.database import DatabaseLimits, open_database
from storage.errors import Corrupt, StoreUnavailable
from storage.isolation import DIRECTORY, SERVER
from storage.postgres import PostgresStore
from storage.tables import deltas, documents, snapshots, workspaces
from tests.conftest import execute
from tests.storage.rows import ISSUE, OTHER_ISSUE, comment, new_delta, projected, snapshot

WRITERS = 8
BATCHES = 30
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def workspace(store: PostgresStore) -> int:
    return (await store.create_workspace("main", "Main")).id


async def until(dsn: str, question: str) -> None:
    """Ask the server until it says yes."""
    connection = await asyncpg.connect(dsn)
    async with asyncio.timeout(10):
        while not await connection.fetchval(question):
            pass
    await connection.close()


class TestSeveralProcesses:
    async def test_writers_keep_the_sequence_dense_and_a_reader_misses_nothing(
        self, store: PostgresStore, workspace: int, dsn: str
    ) -> None:
        other = (await store.create_workspace("other", "Other")).id
        command = (sys.executable, "-m", "tests.storage.writer", dsn)
        numbers = [(str(writer), str(BATCHES), str(workspace), str(other)) for writer in range(WRITERS)]
        writers = [
            await asyncio.create_subprocess_exec(*command, *each, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
            for each in numbers
        ]
        told = asyncio.gather(*(writer.communicate() for writer in writers))
        # A reader that always asks for what comes after the newest seq it saw: the law is that this suffices.
        seen: list[tuple[int, bytes]] = []
        while not told.done() or (await store.workspaces())[0].head > len(seen):
            seen += [(d.seq, d.update) for d in await store.page(workspace, seen[-1][0] if seen else 0, 50)]
        acknowledged = [line.split() for stdout, _ in told.result() for line in stdout.splitlines()]
        assert [writer.returncode for writer in writers] == [0] * WRITERS
        assert len(acknowledged) == len(seen)
        assert [seq for seq, _ in seen] == list(range(1, len(acknowledged) + 1))
        assert dict(seen) == {int(seq): update for seq, update in acknowledged}

    async def test_batches_that_lock_workspaces_in_opposite_order_do_not_deadlock(
        self, store: PostgresStore, workspace: int
    ) -> None:
        other = (await store.create_workspace("other", "Other")).id
        there, back = [new_delta(w) for w in (workspace, other)], [new_delta(w) for w in (other, workspace)]
        await asyncio.gather(*(store.append(batch) for _ in range(20) for batch in (there, back)))
        assert [w.head for w in await store.workspaces()] == [40, 40]

    async def test_an_append_that_waits_for_another_node_commits_after_it(
        self, store: PostgresStore, workspace: int, dsn: str
    ) -> None:
        slow = await asyncpg.connect(dsn)
        async with slow.transaction():
            await slow.fetch(deltas.APPEND, *deltas.append_arguments([new_delta(workspace, update=b"first")]))
            waiting = asyncio.create_task(store.append([new_delta(workspace, update=b"second")]))
            await until(dsn, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
            assert await store.page(workspace, 0, 10) == []
        assert await waiting == [2]
        assert [d.update for d in await store.page(workspace, 0, 10)] == [b"first", b"second"]
        await slow.close()

    async def test_a_node_that_dies_gives_up_its_turn(self, store: PostgresStore, workspace: int, dsn: str) -> None:
        dying = await asyncpg.connect(dsn)
        await dying.execute("BEGIN")
        assert await dying.fetchval(workspaces.TAKE_CURSOR, workspace, workspaces.PROJECTION) == 0
        async with store.projection(workspace) as turn:
            assert turn is None
        dying.terminate()
        async with asyncio.timeout(10):
            while not await self.has_turn(store, workspace):
                pass

    async def has_turn(self, store: PostgresStore, workspace: int) -> bool:
        async with store.projection(workspace) as turn:
            return turn is not None

    async def test_a_turn_that_takes_too_long_is_given_up_and_saves_nothing(
        self, store: PostgresStore, workspace: int, dsn: str
    ) -> None:
        await store.append([new_delta(workspace)])
        page = await store.page_by_issue(workspace, 0, 10)
        hasty = PostgresStore(await open_database(dsn, DatabaseLimits(turn_timeout=0.05)))

        async def dawdle() -> None:
            async with hasty.projection(workspace) as turn:
                assert turn is not None
                await until(
                    dsn,
                    """SELECT NOT EXISTS (SELECT FROM pg_stat_activity
                       WHERE datname = current_database() AND state = 'idle in transaction')""",
                )
                await turn.save([projected(1)], page)

        with pytest.raises(StoreUnavailable):
            await dawdle()
        await hasty.close()
        assert await store.projected(workspace, [ISSUE]) == {}


class TestDamage:
    async def test_a_damaged_delta_is_never_served(self, store: PostgresStore, workspace: int, dsn: str) -> None:
        await store.append([new_delta(workspace), new_delta(workspace, OTHER_ISSUE)])
        await execute(dsn, "UPDATE deltas SET update = 'other' WHERE seq = 1")
        for read in (
            store.load(workspace, ISSUE),
            store.load_log(workspace, ISSUE),
            store.tail(workspace, ISSUE, 0),
            store.page(workspace, 0, 10),
            store.page_by_issue(workspace, 0, 10),
        ):
            with pytest.raises(Corrupt, match="delta 1 of workspace"):
                await read
        assert (await store.load(workspace, OTHER_ISSUE)).seq == 2

    async def test_a_delta_that_moved_to_another_issue_is_damaged(
        self, store: PostgresStore, workspace: int, dsn: str
    ) -> None:
        await store.append([new_delta(workspace)])
        await execute(dsn, f"UPDATE deltas SET issue_id = '{OTHER_ISSUE}'")
        with pytest.raises(Corrupt):
            await store.load(workspace, OTHER_ISSUE)

    @pytest.mark.parametrize("column", ["state", "index"])
    async def test_a_damaged_snapshot_is_never_served(
        self, store: PostgresStore, workspace: int, dsn: str, column: str
    ) -> None:
        await store.append([new_delta(workspace)])
        await store.save_snapshot(snapshot(workspace, 1))
        await execute(dsn, f"UPDATE snapshots SET {column} = 'other'")
        for read in (store.load(workspace, ISSUE), store.snapshots(workspace, ISSUE)):
            with pytest.raises(Corrupt, match="snapshot at 1 of workspace"):
                await read


class TestBounds:
    async def test_a_page_of_big_updates_is_short_but_never_empty(
        self, store: PostgresStore, workspace: int, dsn: str
    ) -> None:
        small = PostgresStore(await open_database(dsn, DatabaseLimits(connections_max=1)), page_bytes_max=1000)
        await store.append([new_delta(workspace, update=b"x" * size) for size in (5000, 400, 400, 400)])
        assert [d.seq for d in await small.page(workspace, 0, 10)] == [1]
        assert [d.seq for d in await small.page(workspace, 1, 10)] == [2, 3]
        assert [d.seq for d in await small.page(workspace, 3, 10)] == [4]
        assert [d.seqs for d in await small.page_by_issue(workspace, 0, 10)] == [[1]]
        assert [d.seqs for d in await small.page_by_issue(workspace, 1, 10)] == [[2, 3]]
        await small.close()

    async def test_comments_that_did_not_change_are_not_written_again(
        self, store: PostgresStore, workspace: int, dsn: str
    ) -> None:
        connection = await asyncpg.connect(dsn)
        versions = []
        for seq in (1, 2):
            await store.append([new_delta(workspace)])
            async with store.projection(workspace) as turn:
                assert turn is not None
                page = await store.page_by_issue(workspace, seq - 1, 9)
                await turn.save([projected(seq, ISSUE, "title", comment("a"))], page)
            versions.append(await connection.fetchval("SELECT xmin::text FROM comments"))
        await connection.close()
        assert versions[0] == versions[1]

    async def test_the_counter_row_is_rewritten_in_place(self, store: PostgresStore, workspace: int, dsn: str) -> None:
        for _ in range(50):
            await store.append([new_delta(workspace)])
        connection = await asyncpg.connect(dsn)
        pages = await connection.fetchval("SELECT pg_relation_size('workspaces') / current_setting('block_size')::int")
        await connection.close()
        assert pages == 1


class TestPlans:
    """Each hot query stays on its index once the tables have rows. The numbers are a small installation's."""

    @pytest.fixture
    async def connection(self, dsn: str, workspace: int) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        connection = await asyncpg.connect(dsn)
        issue = "('00000000-0000-0000-0000-' || lpad(to_hex(n % 400), 12, '0'))::uuid"
        await connection.execute(f"""
            INSERT INTO deltas (workspace_id, seq, issue_id, created_at, checksum, actor_id, update)
            SELECT {workspace}, n, {issue}, now(), 0, 'ana', 'update' FROM generate_series(1, 20000) AS n;
            INSERT INTO snapshots (workspace_id, issue_id, seq, version, created_at, checksum, state, index)
            SELECT {workspace}, {issue}, n, n, now(), 0, 'state', 'index' FROM generate_series(1, 4000) AS n;
            INSERT INTO documents (workspace_id, issue_id, tail_updates, tail_bytes)
            SELECT {workspace}, gen_random_uuid(), n % 997, n % 9973 FROM generate_series(1, 20000) AS n;
            INSERT INTO issues (workspace_id, id, seq, version, title, description, status, user_id, session_id,
                updated_at)
            SELECT {workspace}, gen_random_uuid(), n, 1, 'title', '', 'status ' || n % 50, 'user ' || n % 500,
                'session ' || n % 900, now() - n * interval '1 minute' FROM generate_series(1, 20000) AS n;
            ANALYZE""")
        await self.serve(connection, str(workspace))
        yield connection
        await connection.close()

    async def serve(self, connection: asyncpg.Connection[asyncpg.Record], scope: str) -> None:
        """Policies are part of a plan: they hold for the server's role."""
        await connection.execute(f"SET ROLE {SERVER}")
        await connection.execute("SELECT set_config('syncline.workspace', $1, false)", scope)

    async def plan(self, connection: asyncpg.Connection[asyncpg.Record], query: str, *arguments: object) -> str:
        # The generic plan is the one a prepared statement ends up with.
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        rows = await connection.fetch(f"EXPLAIN {query}", *arguments)
        return "\n".join(row[0] for row in rows)

    async def test_loads_page_and_tail(self, connection: asyncpg.Connection[asyncpg.Record], workspace: int) -> None:
        ids = [UUID(int=n) for n in range(5)]
        load = await self.plan(connection, snapshots.LOAD, workspace, ids)
        assert re.search("using snapshots_pkey|on snapshots_pkey", load), load
        assert re.search("using deltas_by_issue|on deltas_by_issue", load), load
        tail = await self.plan(connection, deltas.TAIL, workspace, ISSUE, 0)
        assert "deltas_by_issue" in tail, tail
        pages = [
            await self.plan(connection, query, workspace, 0, 500, 1_000_000)
            for query in (deltas.PAGE, deltas.PAGE_BY_ISSUE)
        ]
        for page in pages:
            assert "Index Scan using deltas_pkey" in page, page
        for plan in (load, tail, *pages):
            assert "Seq Scan" not in plan, plan

    async def test_appends_with_many_workspaces(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        await connection.execute(
            "RESET ROLE;"
            "INSERT INTO workspaces (slug, name) SELECT n, n FROM generate_series(1, 5000) AS n; ANALYZE workspaces;"
            "INSERT INTO tombstones SELECT n % 50, gen_random_uuid(), n, now(), 'system', '{}'"
            " FROM generate_series(1, 5000) AS n; ANALYZE tombstones"
        )
        await self.serve(connection, DIRECTORY)
        workspace_ids, *columns = deltas.append_arguments([new_delta(1)] * 10)
        many = await self.plan(connection, deltas.APPEND, workspace_ids, *columns)
        one = await self.plan(connection, deltas.APPEND_TO_ONE, workspace_ids[0], *columns)
        for plan, look_ups in ((many, 3), (one, 2)):
            assert plan.count("Index Scan using workspaces_pkey") == look_ups, plan
            assert "Index Scan using tombstones_pkey" in plan, plan
            assert "Seq Scan" not in plan, plan

    async def test_work_for_the_compactor(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        await self.serve(connection, DIRECTORY)
        plan = await self.plan(connection, documents.TO_COMPACT, 900, 9000, 20)
        assert "documents_by_tail_updates" in plan, plan
        assert "documents_by_tail_bytes" in plan, plan
        assert "Seq Scan" not in plan, plan

    async def test_the_projections_statements(
        self, connection: asyncpg.Connection[asyncpg.Record], workspace: int
    ) -> None:
        await connection.execute("SET enable_seqscan = off")  # one row: the index is there, that is all one can ask
        cursor = await self.plan(connection, workspaces.TAKE_CURSOR, workspace, workspaces.PROJECTION)
        assert "cursors_pkey" in cursor, cursor

    @pytest.mark.parametrize(
        ("condition", "index"),
        [
            ("status = 'status 1'", "issues_by_status"),
            ("user_id = 'user 1'", "issues_by_user"),
            ("session_id = 'session 1'", "issues_by_session"),
            ("updated_at > now() - interval '1 hour'", "issues_by_update"),
        ],
    )
    async def test_filters_people_use(
        self, connection: asyncpg.Connection[asyncpg.Record], workspace: int, condition: str, index: str
    ) -> None:
        plan = await self.plan(connection, f"SELECT * FROM issues WHERE workspace_id = $1 AND {condition}", workspace)
        assert index in plan, plan
