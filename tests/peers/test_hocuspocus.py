"""Unmodified Hocuspocus providers 2.15.3, 3.4.4 and 4.8.0 on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from server.dialects import y_websocket
from server.permissions import Role
from tests.faults.evidence import read_log
from tests.js.browser import browser
from tests.js.hocuspocus import VERSIONS, Providers, Replica, Socket, providers
from tests.peers.forked_server import forking
from tests.peers.server_process import ServerProcess, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
every_version = pytest.mark.parametrize("version", VERSIONS)
since_3 = pytest.mark.parametrize("version", [3, 4])

QUIET_SECONDS = 36  # providers give a silent server up after 30 s
BRIEF = timedelta(seconds=4)


@dataclass(frozen=True, slots=True)
class House:
    """A server, providers, and one issue a test."""

    server: ServerProcess
    node: Providers
    issue: UUID = field(default_factory=uuid4)

    @property
    def url(self) -> str:
        """Where providers connect."""
        return f"ws://127.0.0.1:{self.server.port}/hocuspocus"

    @property
    def document(self) -> str:
        """The name of the issue's document."""
        return f"main/{self.issue}"

    async def open(self, user: str, version: int, role: Role = Role.MEMBER) -> tuple[Socket, Replica]:
        """Somebody who has the issue open."""
        socket = await self.node.socket(self.url, version=version)
        replica = await socket.open(self.document, self.server.token(user, role))
        await replica.wait("synced")
        return socket, replica


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ServerProcess]:
    async with forking() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[Providers]:
    async with providers() as started:
        yield started


@pytest.fixture
def house(server: ServerProcess, node: Providers) -> House:
    return House(server, node)


async def committed(server: ServerProcess, issue: UUID) -> dict[int, int]:
    """Client → next clock, of everything committed."""
    async with server.database() as database:
        return (await read_log(database, issue)).clocks


@asynccontextmanager
async def commits_held(server: ServerProcess) -> AsyncIterator[None]:
    """Nothing is committed meanwhile."""
    async with server.database() as database, database.transaction():
        await database.execute("LOCK TABLE deltas IN SHARE MODE")
        yield


async def a_commit_waits(server: ServerProcess) -> bool:
    async with server.database() as database:
        return bool(await database.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))


@asynccontextmanager
async def commits_failing(server: ServerProcess) -> AsyncIterator[None]:
    """Every commit fails meanwhile."""
    async with server.database() as database:
        await database.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'as asked'; END $$;"
            "CREATE TRIGGER fail BEFORE INSERT ON deltas EXECUTE FUNCTION fail()"
        )
        try:
            yield
        finally:
            await database.execute("DROP FUNCTION fail CASCADE")


@every_version
async def test_edits_travel_both_ways(house: House, version: int) -> None:
    _, ana = await house.open("ana", version)
    _, ben = await house.open("ben", VERSIONS[version % 3])
    await ana.append("from ana 😀 ")
    await ben.wait_contains("from ana 😀 ")
    await ben.append("from ben ", "title")
    await ana.wait_contains("from ben ", "title")
    for replica in (ana, ben):
        await replica.wait("saved")
    assert (await ana.look()).content == (await ben.look()).content
    assert (await ana.look()).scopes == ["read-write"]


@every_version
async def test_unsaved_changes_go_down_to_zero_when_they_are_committed_and_not_before(
    house: House, version: int
) -> None:
    _, ana = await house.open("ana", version)
    await ana.wait("saved")
    async with commits_held(house.server):
        await ana.append("one ")
        await ana.append("two ")
        await eventually(lambda: a_commit_waits(house.server), "a commit that waits")
        assert (await ana.look()).unsynced == 2
    await ana.wait("saved")
    assert await committed(house.server, house.issue) == {ana.client_id: 8}
    assert (await ana.look()).counts == [1, 0, 1, 2, 1, 0]


@every_version
async def test_edits_made_offline_are_saved_on_return(house: House, version: int) -> None:
    socket, ana = await house.open("ana", version)
    _, ben = await house.open("ben", version)
    await socket.hang_up()
    await ana.wait("offline")
    await ana.append("written on a train ")
    await ben.append("written meanwhile ")
    await socket.call()
    await ben.wait_contains("written on a train ")
    await ana.wait_contains("written meanwhile ")
    await ana.wait("saved")


@every_version
async def test_a_gap_is_repaired_and_the_count_ends_at_zero(house: House, version: int) -> None:
    _, ana = await house.open("ana", version)
    _, ben = await house.open("ben", version)
    await ana.wait("saved")
    await ana.skip("never sent, ")
    await ana.append("resting on it")
    await ben.wait_contains("never sent, resting on it")
    await ana.wait("saved")
    await ana.append(" and on")
    await ana.wait("saved")
    assert (await ana.look()).counts == [1, 0, 1, 0, 1, 0]


@every_version
async def test_a_forced_sync_in_the_middle_of_a_commit_leaves_the_count_true(house: House, version: int) -> None:
    _, ana = await house.open("ana", version)
    await ana.wait("saved")
    async with commits_held(house.server):
        await ana.append("one ")
        await eventually(lambda: a_commit_waits(house.server), "a commit that waits")
        await ana.force_sync()
        await ana.append("two ")
        assert (await ana.look()).unsynced == 2
    await ana.wait("saved")
    await ana.append("three ")
    await ana.wait("saved")
    assert min((await ana.look()).counts) == 0
    assert await committed(house.server, house.issue) == {ana.client_id: len("one two three ")}


@every_version
async def test_many_documents_share_a_socket(house: House, version: int) -> None:
    socket, first = await house.open("ana", version)
    token = house.server.token("ana")
    others = [await socket.open(f"main/{uuid4()}", token) for _ in range(20)]
    for number, replica in enumerate([first, *others]):
        await replica.append(f"document {number}")
    for replica in [first, *others]:
        await replica.wait("saved")
    assert (await first.look()).description == "document 0"
    assert (await others[-1].look()).description == "document 20"
    await others[0].destroy()
    await others[1].append(" goes on")
    await others[1].wait("saved")
    wire = await socket.look()
    assert (wire.connections, wire.closes, wire.uncaught) == (1, [], [])


async def test_two_providers_of_one_document_share_a_socket_when_they_name_their_sessions(house: House) -> None:
    socket = await house.node.socket(house.url, version=4)
    token = house.server.token("ana")
    first, second = [await socket.open(house.document, token, options={"sessionAwareness": True}) for _ in range(2)]
    assert first.address != second.address
    await first.append("from the first ")
    await second.wait_contains("from the first ")
    await second.append("from the second ")
    await first.wait_contains("from the second ")
    for replica in (first, second):
        await replica.wait("saved")


async def test_a_batching_provider_is_acknowledged_once_a_batch(house: House) -> None:
    socket = await house.node.socket(house.url, version=4)
    ana = await socket.open(house.document, house.server.token("ana"), options={"flushDelay": 50})
    await ana.wait("saved")
    for number in range(10):
        await ana.append(f"{number} ")
    await ana.wait("saved")
    assert max((await ana.look()).counts) == 1


@every_version
async def test_a_viewer_reads_and_what_it_writes_stays_unsaved(house: House, version: int) -> None:
    _, ana = await house.open("ana", version)
    socket, vera = await house.open("vera", version, Role.VIEWER)
    await vera.wait("saved")
    await vera.append("not allowed")
    await vera.wait("stateless", payload='{"refused":"forbidden"}')
    await ana.append("for all to read ")
    await vera.wait_contains("for all to read ")
    seen = await vera.look()
    assert (seen.scopes, seen.unsynced) == (["readonly"], 1)
    assert (await ana.look()).description == "for all to read "
    assert (await socket.look()).closes == []


@every_version
async def test_one_denied_document_leaves_the_others_of_its_socket_alone(house: House, version: int) -> None:
    socket, ana = await house.open("ana", version)
    for document, token, reason in (
        (f"main/{uuid4()}", "nonsense", "invalid token: it is not a JWT"),
        (f"elsewhere/{uuid4()}", house.server.token("ana"), "the token is for another workspace"),
        ("main/not-an-issue", house.server.token("ana"), "not an issue's address"),
    ):
        denied = await socket.open(document, token)
        await denied.wait("denied")
        assert (await denied.look()).denials == [reason]
    await ana.append("still here")
    await ana.wait("saved")
    assert (await socket.look()).closes == []


@every_version
async def test_nobody_writes_under_the_client_id_of_somebody_else(house: House, version: int) -> None:
    _, ana = await house.open("ana", version)
    await ana.append("mine")
    await ana.wait("saved")
    socket = await house.node.socket(house.url, version=version)
    token = house.server.token("ben")
    forger = await socket.open(house.document, token)
    other = await socket.open(f"main/{uuid4()}", token)
    await forger.wait("synced")
    await forger.forge(y_websocket.update(bytes((1, 1)) + varint(ana.client_id) + b"\x04\x04\x01\x01t\x01x\x00"))
    await forger.wait("stateless", payload='{"refused":"client_id"}')
    if version == 4:
        await forger.wait("closed", reason="client_id")
    else:
        await forger.wait("denied")
    await other.append("goes on")
    await other.wait("saved")
    wire = await socket.look()
    assert (wire.closes, wire.uncaught) == ([], [])


def varint(value: int) -> bytes:
    """lib0's varUint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


@every_version
async def test_presence_appears_and_vanishes(house: House, version: int) -> None:
    socket, ana = await house.open("ana", version)
    _, ben = await house.open("ben", VERSIONS[version % 3])
    await ana.show("ana")
    await ben.wait("present", name="ana")
    await ana.show(None)
    await ben.wait("absent", name="ana", deadline=5)
    await ana.show("ana again")
    await ben.wait("present", name="ana again")
    await ana.destroy()
    await ben.wait("absent", name="ana again", deadline=5)
    assert (await socket.look()).closes == []


@every_version
async def test_failed_commits_are_made_good_without_a_new_connection(house: House, version: int) -> None:
    socket, ana = await house.open("ana", version)
    other = await socket.open(f"main/{uuid4()}", house.server.token("ana"))
    _, ben = await house.open("ben", version)
    for replica in (ana, other):
        await replica.wait("saved")
    async with commits_failing(house.server):
        await ana.append("in bad times ")
        await other.append("here too ")
        await eventually(lambda: _has_lost_rooms(house.server), "rooms forgotten after a failed commit")
        assert [(await replica.look()).unsynced for replica in (ana, other)] == [1, 1]
    for replica in (ana, other):
        await replica.wait("saved")
    await ben.wait_contains("in bad times ")
    await ana.append("in good times ")
    await ana.wait("saved")
    wire = await socket.look()
    assert (wire.connections, wire.closes, wire.uncaught) == (1, [], [])
    assert min((await ana.look()).counts) == 0


async def _has_lost_rooms(server: ServerProcess) -> bool:
    _, metrics = await server.get("/metrics")
    return 'syncline_failed_rooms_total{kind="store"}' in metrics


@since_3
async def test_a_new_token_is_asked_for_in_time(house: House, version: int) -> None:
    socket = await house.node.socket(house.url, version=version)
    ana = await socket.open(house.document, house.server.token("ana", lasting=BRIEF))
    await ana.wait("saved")
    await ana.hold(house.server.token("ana", lasting=2 * BRIEF))
    await ana.wait("tokens", count=2)
    await ana.hold(house.server.token("ana"))
    await ana.wait("tokens", count=3)  # the first has run out by now
    await ana.append("still here")
    await ana.wait("saved")
    seen = await ana.look()
    assert (seen.denials, seen.closes) == ([], [])
    assert (await socket.look()).connections == 1


@since_3
async def test_whose_token_ran_out_is_let_in_again_when_it_has_another(house: House, version: int) -> None:
    socket = await house.node.socket(house.url, version=version)
    ana = await socket.open(house.document, house.server.token("ana", lasting=BRIEF))
    _, ben = await house.open("ben", version)
    await ana.wait("saved")
    await ana.wait("closed", reason="token expired")
    await ana.append("written while locked out")
    await ana.wait("tokens", count=3)  # asked again, with nothing better to give
    await ana.hold(house.server.token("ana"))
    await ana.append(", and after")
    await ana.wait("saved", deadline=40)
    await ben.wait_contains("written while locked out, and after")
    assert (await socket.look()).connections == 1


async def test_an_old_provider_is_denied_when_its_token_runs_out(house: House) -> None:
    socket = await house.node.socket(house.url, version=2)
    ana = await socket.open(house.document, house.server.token("ana", lasting=BRIEF))
    other = await socket.open(f"main/{uuid4()}", house.server.token("ana"))
    await ana.wait("denied")
    assert (await ana.look()).denials == ["token expired"]
    await other.append("goes on")
    await other.wait("saved")
    assert (await socket.look()).uncaught == []


@every_version
async def test_hocuspocus_and_y_websocket_edit_one_issue_together(house: House, version: int) -> None:
    async with browser() as other_node:
        tab = await other_node.open(house.server.address(house.server.token("ben"), house.issue))
        _, ana = await house.open("ana", version)
        await ana.append("from Hocuspocus ")
        await tab.wait_contains("from Hocuspocus ")
        await tab.append("from y-websocket ")
        await ana.wait_contains("from y-websocket ")
        await ana.show("ana")
        await tab.wait("present", name="ana")
        await tab.show("ben")
        await ana.wait("present", name="ben")
        await ana.wait("saved")
        assert (await tab.look()).content == (await ana.look()).content


@pytest.mark.long(seconds=35)
async def test_quiet_providers_without_presence_keep_their_connections(house: House) -> None:
    sockets = [await house.node.socket(house.url, version=version) for version in VERSIONS]
    for socket in sockets:
        ana = await socket.open(house.document, house.server.token("ana"), awareness=False)
        await ana.wait("saved")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(QUIET_SECONDS):
            await ana.wait("connections", count=2, deadline=2 * QUIET_SECONDS)
    assert [(await socket.look()).connections for socket in sockets] == [1, 1, 1]
