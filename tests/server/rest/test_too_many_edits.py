"""Edits over HTTP count like those that come by sockets: over the rate they wait, then come later, and none is lost."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

import pytest

from server.buckets import Allowance
from server.clock import Clock
from server.permissions import Identity, Role
from server.rates import Granted, RateLimits, Rates
from tests.server.rest.conftest import Api
from tests.server.rest.test_once import WRITES
from tests.server.rest.test_sync import ID, OTHER, insert, operation, statuses, sync
from tests.server.test_rates import ANA, Watch
from tests.simulation.time import VirtualClock, in_virtual_time

FREE = Allowance(0, 0)
THIRD = UUID(int=7)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def rates(watch: Watch) -> Rates:
    """Four edits of a user at once, then one a second; nobody waits for an answer."""
    limits = RateLimits(FREE, FREE, FREE, user_edits=Allowance(1, 4), workspace_edits=FREE, edit_delay=0)
    return Rates(limits, cast(Clock, watch), watch.over.append)


class TestGranting:
    def made(self, clock: Any, rate: float = 2, burst: float = 4, workspace: Allowance = FREE) -> Rates:
        return Rates(
            RateLimits(user_edits=Allowance(rate, burst), workspace_edits=workspace, edit_delay=1.0),
            cast(Clock, clock),
        )

    @in_virtual_time
    async def test_what_is_little_too_much_waits_and_what_is_more_is_put_off(self) -> None:
        clock = VirtualClock()
        made, began = self.made(clock), clock.monotonic()
        assert await made.grant(ANA, [4]) == Granted(1)
        assert clock.monotonic() == began
        assert await made.grant(ANA, [1]) == Granted(1)
        assert clock.monotonic() == began + 0.5, "half a second is owed"
        assert await made.grant(ANA, [1] * 10) == Granted(3, 1), "as many as begin before a second is owed"
        assert clock.monotonic() == began + 1.5

    @in_virtual_time
    async def test_a_low_rate_lets_one_edit_in_at_a_time(self) -> None:
        clock = VirtualClock()
        made = self.made(clock, rate=0.05, burst=0.5)
        assert await made.grant(ANA, [1, 1]) == Granted(1, 9)
        assert await made.grant(ANA, [1]) == Granted(0, 9)

    @in_virtual_time
    async def test_a_part_is_made_whole_or_not_at_all(self) -> None:
        made = self.made(VirtualClock(), rate=1, burst=4)
        assert await made.grant(ANA, [3, 30, 1]) == Granted(2, 28)
        assert await made.grant(ANA, [1]) == Granted(0, 28)

    @in_virtual_time
    async def test_a_workspace_has_one_budget_for_all(self) -> None:
        made = self.made(VirtualClock(), rate=0, workspace=Allowance(1, 2))
        assert await made.grant(ANA, [1] * 3) == Granted(3)
        assert await made.grant(Identity("ben", "main", Role.MEMBER), [1] * 3) == Granted(2, 1)

    @in_virtual_time
    async def test_no_rate_is_no_limit(self) -> None:
        assert await self.made(VirtualClock(), rate=0).grant(ANA, [1_000_000]) == Granted(1)


async def test_whatever_writes_counts_and_what_reads_does_not(api: Api, rates: Rates, watch: Watch) -> None:
    for title in ("one", "two"):
        assert (await api("POST", "/issues", {"id": str(ID), "title": title}))[0] in (201, 409)
    for method, path, body in WRITES:
        watch.time += 1_000
        await api(method, path, body)
        assert rates._user_edits.left(("main", "ana"), watch.time) <= 3, (method, path)
    watch.time += 1_000
    for path in ("/issues", f"/issues/{ID}/history"):
        assert (await api.get(path))[0] == 200
    assert rates._user_edits.left(("main", "ana"), watch.time) == 4


async def test_a_request_too_many_is_429_and_its_key_is_good_when_it_comes_again(
    api: Api, rates: Rates, watch: Watch
) -> None:
    rates.edited(ANA, 6)  # by sockets: it is one budget
    new = {"id": str(ID), "title": "late"}
    status, told, headers = await api("POST", "/issues", new, idempotency_key="k")
    assert (status, told["type"], told["retry_after"]) == (429, "urn:syncline:problem:too-many-requests", 2)
    assert headers["retry-after"] == "2"
    assert await api.head() == 0
    assert "edits" in watch.over
    assert (await api("POST", "/issues", new, token="admin"))[0] == 201, "others do not notice"
    watch.time += 2
    status, _, headers = await api("POST", "/issues", new, idempotency_key="k")
    assert (status, "idempotent-replayed" in headers) == (200, False)


async def test_a_bulk_request_is_made_as_far_as_it_may_and_the_rest_of_it_later(api: Api, watch: Watch) -> None:
    issues = [{"id": str(UUID(int=100 + number // 2)), "title": "t"} for number in range(12)]
    statuses = []
    for seconds in (0, 0, 4, 8):
        watch.time += seconds
        status, told, headers = await api("POST", "/issues/bulk", {"issues": issues}, idempotency_key="k")
        assert status == 200
        assert "idempotent-replayed" not in headers
        statuses.append([each["status"] for each in told["results"]])
        late = [each["problem"] for each in told["results"] if each["status"] == 429]
        assert all(each["retry_after"] >= 1 for each in late)
    assert statuses == [
        [201, 200] * 3 + [429] * 6,  # two at a time: an issue is made whole
        [201, 200] * 3 + [429] * 6,  # what was made costs nothing
        [201, 200] * 5 + [429] * 2,
        [201, 200] * 6,
    ]
    assert await api.head() == 6
    again = await api("POST", "/issues/bulk", {"issues": issues}, idempotency_key="k")
    assert again[2]["idempotent-replayed"] == "true"
    for _ in range(2):
        status, told, headers = await api("POST", "/issues/bulk", {"issues": issues})
    assert (status, headers["retry-after"], told["retry_after"]) == (429, "2", 2), "none of it"


async def test_what_a_device_queued_is_taken_in_order_and_the_rest_is_to_be_sent_again(api: Api, watch: Watch) -> None:
    queued = [
        insert(1),
        *(operation(number, "update", {"title": f"t{number}"}) for number in range(2, 5)),
        insert(5, OTHER),
        insert(6, THIRD),
        operation(7, "update", {"title": "seven"}),
    ]
    results = await sync(api, *queued)
    assert statuses(results) == ["applied"] * 5 + ["retry"] * 2
    assert (results[-1]["retry_after"], results[-1]["reason"]) == (1, "too many edits")
    assert statuses(await sync(api, *queued)) == ["duplicate"] * 5 + ["retry"] * 2, "what is known costs nothing"
    watch.time += 3
    assert statuses(await sync(api, *queued)) == ["duplicate"] * 5 + ["applied"] * 2
    assert (await api.content(ID)).title == "seven"
