"""kill -9 in the very turn in which a Hocuspocus provider says "saved": every edit it said so of is in the log."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from tests.faults.evidence import read_log
from tests.js.hocuspocus import VERSIONS, Replica, providers
from tests.peers.forked_server import forking
from tests.peers.server_process import ServerProcess

WORD = "word{:03} "
WORD_LENGTH = len(WORD.format(0))
KILLS = 67  # with each of the three versions: 201 in all
# No server lives long enough to project anything: engines that only start would take most of the time.
FEW_ENGINES = ("--engine-processes", "1", "--projection-settle-seconds", "5")


async def kill_and_look(server: ServerProcess, writer: Replica, issue: UUID, number: int) -> None:
    """Kill it the moment it has acknowledged, and see that what it acknowledged is committed."""
    await writer.wait("saved", deadline=60)
    await writer.kill_when_saved(WORD.format(number), server.process.pid)
    await server.process.wait()
    async with server.database() as database:  # the Postgres it left behind
        log = await read_log(database, issue)
    assert log.clocks.get(writer.client_id, 0) >= (number + 1) * WORD_LENGTH, f"acknowledged and lost: word {number}"


async def run_kills(version: int, *, kills: int) -> None:
    issue = uuid4()
    async with forking(*FEW_ENGINES) as server, providers() as node:
        url, token = f"ws://127.0.0.1:{server.port}/hocuspocus", server.token("ana")
        socket = await node.socket(url, version=version)
        writer = await socket.open(f"main/{issue}", token)
        for number in range(kills):
            await kill_and_look(server, writer, issue, number)
            await server.start()
        reader = await (await node.socket(url, version=version)).open(f"main/{issue}", token)
        await reader.wait_contains(WORD.format(kills - 1))
        assert (await reader.look()).description == "".join(WORD.format(number) for number in range(kills))


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_acknowledged_edit_survives_kill_9(version: int) -> None:
    await run_kills(version, kills=2)


@pytest.mark.long(seconds=50)
@pytest.mark.parametrize("version", VERSIONS)
async def test_two_hundred_acknowledged_edits_survive_two_hundred_times_kill_9(version: int) -> None:
    await run_kills(version, kills=KILLS)
