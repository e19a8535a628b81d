"""Reads that cost are made a few at a time for one user, and hold up nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.doors.rest import issues_read
from server.doors.rest.lanes import Lanes
from server.doors.rest.operations import Call, Reply, Served
from server.permissions import Identity, Role
from tests.simulation.time import in_virtual_time


class Database:
    """Takes a second for each read."""

    def __init__(self) -> None:
        self.reading: list[str] = []
        self.most = 0

    async def read(self, call: Call[Any, Any, Any]) -> Reply:
        user = call.identity.user_id
        self.reading.append(user)
        self.most = max(self.most, self.reading.count(user))
        await asyncio.sleep(1)
        self.reading.remove(user)
        return Reply()


def call(user: str) -> Call[Any, Any, Any]:
    return Call(None, None, None, None, "a request", caller=Identity(user, "main", Role.MEMBER))  # type: ignore[arg-type]


@in_virtual_time
async def test_one_user_reads_two_at_a_time_and_another_does_not_wait_for_them() -> None:
    database, loop = Database(), asyncio.get_running_loop()
    served = Lanes(2, 60.0).around(Served(issues_read.LIST, database.read))
    crowd = asyncio.gather(*(served.work(call("eve")) for _ in range(10)))
    await asyncio.sleep(0)
    began = loop.time()
    await served.work(call("ana"))
    assert loop.time() - began == 1.0
    await crowd
    assert (loop.time() - began, database.most) == (5.0, 2)


@in_virtual_time
async def test_whoever_waits_too_long_is_told_and_takes_nobodys_place() -> None:
    database = Database()
    served = Lanes(1, 2.5).around(Served(issues_read.LIST, database.read))
    answers = await asyncio.gather(*(served.work(call("eve")) for _ in range(5)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Reply, Reply, Reply, TimeoutError, TimeoutError]
    assert isinstance(await served.work(call("eve")), Reply)


@in_virtual_time
async def test_what_does_not_cost_has_no_lane() -> None:
    served = Served(issues_read.READ, Database().read)
    assert Lanes(1, 1.0).around(served) is served


@in_virtual_time
async def test_a_read_that_fails_makes_room() -> None:
    async def fail(call: Call[Any, Any, Any]) -> Reply:
        raise LookupError

    served = Lanes(1, 1.0).around(Served(issues_read.LIST, fail))
    for _ in range(3):
        with pytest.raises(LookupError):
            await served.work(call("eve"))
