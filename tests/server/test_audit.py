"""What is written of who did what, and that nobody can make it grow without end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from server import auth
from server.audit import Audit, AuditLimits, Note
from server.auth import Credentials, NotAllowed, TokenRefused
from server.buckets import Allowance
from server.doorman import Doorman, DoormanServices
from server.permissions import Identity, Role
from server.visits import Guest, Visits
from storage.audit_log import AuditFilter, AuditLog, AuditRow
from storage.database import DatabaseLimits, open_database
from storage.errors import StoreUnavailable
from storage.postgres import PostgresStore
from tests.server.test_commands import Desk

ANA = Identity("ana", "main", Role.ADMIN, device_id="laptop")
FROM = Credentials("secret-token", address="192.0.2.7:40312")


@dataclass
class Shelf:
    """Where rows go; `is_away` stands for a database that does not answer."""

    rows: list[AuditRow] = field(default_factory=list)
    is_away: bool = False
    lost: int = 0

    async def write(self, workspace_id: int, rows: list[AuditRow]) -> None:
        if self.is_away:
            raise StoreUnavailable("away")
        assert workspace_id == 1
        self.rows += rows

    def lose(self) -> None:
        self.lost += 1

    def counts(self) -> list[tuple[str, int]]:
        return [(row.action, row.count) for row in self.rows]


class Calendar:
    def __init__(self) -> None:
        self.time = datetime(2031, 5, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


class World:
    """A writer with a clock that is turned by hand."""

    def __init__(self, **limits: Any) -> None:
        self.shelf, self.clock = Shelf(), Calendar()
        rows, store = cast(AuditLog, self.shelf), cast(Any, self)
        self.audit = Audit(rows, store, self.clock, AuditLimits(**limits), self.shelf.lose)

    async def workspace(self, slug: str) -> Any:
        return type("Found", (), {"id": 1}) if slug == "main" else None

    def refused(self, reason: str = "no", times: int = 1, workspace: str = "main") -> None:
        note = Note.of(workspace, "authenticate", "token", None, FROM, is_refused=True, detail={"reason": reason})
        for _ in range(times):
            self.audit.note(note)


async def test_a_note_says_who_from_where_and_no_secret() -> None:
    world = World()
    world.audit.note(Note.of("main", "putMember", "http", ANA, FROM, detail={"user": "ben", "role": Role.VIEWER}))
    await world.audit.write()
    (row,) = world.shelf.rows
    assert (row.user_id, row.device_id, row.address) == ("ana", "laptop", "192.0.2.7")
    assert row.detail == {"role": "viewer", "user": "ben"}
    assert "secret" not in repr(row)


async def test_what_repeats_is_counted_and_a_refusal_has_one_row_a_minute() -> None:
    world = World()
    world.refused(times=1_000)
    await world.audit.write()
    world.refused(times=500)
    await world.audit.write()
    assert world.shelf.counts() == [("authenticate", 1_000)]
    world.clock.time += timedelta(seconds=61)
    await world.audit.write()
    assert world.shelf.counts() == [("authenticate", 1_000), ("authenticate", 500)]


async def test_refusals_of_all_kinds_get_a_bounded_number_of_rows_and_none_is_uncounted() -> None:
    world = World(refusals=Allowance(rate=1, burst=10))
    for turn in range(5):
        for number in range(100):
            world.refused(f"{turn} {number}")
        await world.audit.write()
    world.clock.time += timedelta(seconds=61)
    await world.audit.write()
    assert len(world.shelf.rows) <= 10 + 2
    assert sum(row.count for row in world.shelf.rows) == 500


async def test_what_the_gate_refuses_of_somebody_is_a_row_a_reason_and_minute_however_much_it_is() -> None:
    world = World()

    async def verify(credentials: Credentials, workspace: str | None) -> Identity:
        return ANA

    visits = Visits(verify, world.clock, world.audit.note)
    for _ in range(3):
        visit = await visits.enter(FROM, "main", Guest("native", lambda who: None, lambda reason: None))
        for _ in range(500):
            visit.refused("forbidden")
            visit.refused("full")
    await world.audit.write()
    visit.refused("full")
    await world.audit.write()
    assert world.shelf.counts() == [("connect", 3), ("message", 1_500), ("message", 1_500)]
    assert [row.detail for row in world.shelf.rows[1:]] == [{"reason": "forbidden"}, {"reason": "full"}]
    assert {row.address for row in world.shelf.rows} == {"192.0.2.7"}


async def test_a_flood_that_nobody_writes_down_costs_bounded_memory_and_is_told() -> None:
    world = World(waiting=50)
    world.shelf.is_away = True
    for number in range(200):
        world.refused(str(number))
    with pytest.raises(StoreUnavailable):
        await world.audit.write()
    assert world.shelf.lost == 150
    world.shelf.is_away = False
    await world.audit.close()
    assert sum(row.count for row in world.shelf.rows) == 50


async def test_a_workspace_that_is_not_there_has_no_rows() -> None:
    world = World()
    world.refused(workspace="ghosts")
    world.refused()
    await world.audit.write()
    assert world.shelf.counts() == [("authenticate", 1)]


class TestRows:
    @pytest.fixture
    async def log(self, store: PostgresStore, dsn: str) -> Any:
        database = await open_database(dsn, DatabaseLimits(connections_max=1))
        yield AuditLog(database)
        await database.close()

    async def test_they_are_found_by_each_filter_newest_first_and_forgotten_in_time(
        self, log: AuditLog, store: PostgresStore
    ) -> None:
        mine, other = [(await store.create_workspace(slug, "")).id for slug in ("main", "other")]
        now = datetime.now(UTC)
        rows = [
            AuditRow(now - timedelta(days=age), action, age > 1, "http", user, detail={"n": str(age)})
            for age, action, user in ((3, "a", "ana"), (2, "b", None), (1, "a", "ben"))
        ]
        await log.write(mine, rows)
        await log.write(other, rows[:1])

        async def found(**wanted: Any) -> list[str]:
            return [row.detail["n"] for row in await log.page(mine, AuditFilter(**wanted), 10)]

        assert await found() == ["1", "2", "3"]
        assert await found(action="a") == ["1", "3"]
        assert await found(user_id="ana") == ["3"]
        assert await found(is_refused=True) == ["2", "3"]
        assert await found(since=now - timedelta(days=2)) == ["1", "2"]
        assert await found(until=now - timedelta(days=2)) == ["3"]
        assert await found(before=(await log.page(mine, AuditFilter(), 1))[0].id) == ["2", "3"]
        assert await log.forget(mine, now - timedelta(days=1.5), 1)
        assert not await log.forget(mine, now - timedelta(days=1.5), 5)
        assert await found() == ["1"]
        assert len(await log.page(other, AuditFilter(), 10)) == 1


class TestCommands:
    @pytest.fixture(autouse=True)
    def _as_before(self) -> Iterator[None]:
        yield
        structlog.reset_defaults()

    def test_what_is_done_at_a_terminal_is_written_in_the_name_of_its_account(self, dsn: str, tmp_path: Path) -> None:
        desk = Desk(dsn)
        assert desk("workspace", "create", "main").exit_code == 0
        assert desk("member", "set", "ana", "--role", "owner").exit_code == 0
        assert desk("user", "revoke", "ana").exit_code == 0
        key, other = (desk("token", "keys", "rotate", "--token-keys", str(tmp_path)).stdout.split()[0] for _ in "12")
        assert desk("token", "keys", "remove", key, "--token-keys", str(tmp_path)).exit_code == 0

        async def read() -> list[tuple[str, str, dict[str, str]]]:
            database = await open_database(dsn, DatabaseLimits(connections_max=1))
            rows = await AuditLog(database).page(1, AuditFilter(), 10)
            await database.close()
            assert all(row.user_id is not None and row.user_id.startswith("cli:") for row in rows)
            return [(row.action, row.via, row.detail) for row in rows]

        assert asyncio.run(read()) == [
            ("removeTokenKey", "command", {"key": key}),
            ("rotateTokenKeys", "command", {"key": other}),
            ("rotateTokenKeys", "command", {"key": key}),
            ("signOutMember", "command", {"user": "ana"}),
            ("putMember", "command", {"user": "ana", "role": "owner"}),
            ("createWorkspace", "command", {"slug": "main"}),
        ]


async def test_the_doorman_tells_whom_it_refused_in_the_workspace_that_was_asked_for() -> None:
    notes: list[Note] = []
    clock, keys = Calendar(), auth.Keys(None, "0" * 32, 366)
    services = DoormanServices(keys, None, cast(Any, None), cast(Any, None), clock)
    doorman = Doorman(services, timedelta(0), note=notes.append)
    token = auth.issue(keys, replace(ANA, expires_at=clock.time + timedelta(days=1)), clock.time)
    for secret, refusal in ((token, NotAllowed), ("nonsense", TokenRefused)):
        with pytest.raises(refusal):
            await doorman.verify(replace(FROM, token=secret), "elsewhere")
    assert [(note.workspace, note.user_id, note.address) for note in notes] == [
        ("elsewhere", "ana", "192.0.2.7"),
        ("elsewhere", None, "192.0.2.7"),
    ]
    assert all(note.is_refused for note in notes)
