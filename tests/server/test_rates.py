"""Who asks too often is told when to come back, and nobody else notices; who tries many tokens waits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from server.addresses import peer_of, proxies
from server.auth import Credentials, IdentityUnavailable, TokenRefused
from server.buckets import Allowance
from server.clock import Clock
from server.doors.http import http_app
from server.doors.rest.frame import Frame
from server.doors.rest.members import MemberOperations
from server.doors.rest.operations import MAX_BODY_BYTES
from server.doors.rest.routes import routes_of
from server.metrics import Metrics
from server.permissions import Identity, Role
from server.rates import RateLimits, Rates
from tests.server.rest.asking import ask, verify
from tests.server.rest.conftest import ready
from tests.simulation.time import run_in_virtual_time

ANA, BEN = Identity("ana", "main", Role.MEMBER), Identity("ben", "main", Role.MEMBER)
FREE = Allowance(0, 0)


@dataclass
class Watch:
    time: float = 0.0
    over: list[str] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.time


def rates(watch: Watch, **limits: Any) -> Rates:
    everything: Any = {"user": FREE, "workspace": FREE, "address": FREE} | limits
    return Rates(RateLimits(**everything), cast(Clock, watch), watch.over.append)


def test_a_user_over_the_limit_waits_and_others_do_not() -> None:
    watch = Watch()
    made = rates(watch, user=Allowance(rate=2, burst=4))
    assert [made.ask(ANA).wait for _ in range(4)] == [0] * 4  # type: ignore[union-attr]
    quota = made.ask(ANA)
    assert quota is not None
    assert quota.headers() == {
        "RateLimit-Policy": '"user";q=4;w=2',
        "RateLimit": '"user";r=0;t=2',
        "Retry-After": "1",
    }
    assert made.ask(BEN).wait == 0  # type: ignore[union-attr]
    watch.time += quota.wait
    assert made.ask(ANA).wait == 0  # type: ignore[union-attr]
    assert watch.over == ["user"]


def test_a_workspace_is_limited_whoever_asks_and_another_one_is_not() -> None:
    made = rates(Watch(), workspace=Allowance(rate=1, burst=2))
    assert [bool(made.ask(who).wait) for who in (ANA, BEN, ANA)] == [False, False, True]  # type: ignore[union-attr]
    assert made.ask(Identity("ana", "other", Role.MEMBER)).wait == 0  # type: ignore[union-attr]


def test_an_address_is_limited_before_anybody_reads_a_token_but_not_this_machine() -> None:
    made = rates(Watch(), address=Allowance(rate=1, burst=1))
    assert [bool(made.knock("192.0.2.1").wait) for _ in range(2)] == [False, True]  # type: ignore[union-attr]
    assert [made.knock("127.0.0.1") for _ in range(3)] == [None] * 3


def test_a_flood_of_names_takes_bounded_memory_and_no_limit_is_forgotten_by_it() -> None:
    watch = Watch()
    made = rates(watch, address=Allowance(rate=0.001, burst=1))
    for number in range(30_000):
        made.knock(f"192.0.2.{number}")
    assert len(made._addresses._buckets) <= 10_000
    assert made.knock("192.0.2.29999").wait > 0  # type: ignore[union-attr]


def test_refused_tokens_of_one_address_wait_longer_each_time_and_those_of_others_do_not() -> None:
    async def run() -> list[float]:
        loop = asyncio.get_running_loop()
        watch = cast(Any, type("Watch", (), {"monotonic": staticmethod(loop.time)})())
        made = Rates(RateLimits(failures=Allowance(rate=1, burst=2), longest_delay=3), watch)
        waited = []
        for host in ("192.0.2.1",) * 2 + ("192.0.2.2",):
            began = loop.time()
            await made.after_failure(host)
            waited.append(loop.time() - began)
        began = loop.time()
        ends: list[float] = []

        async def fail() -> None:
            await made.after_failure("192.0.2.1")
            ends.append(round(loop.time() - began))

        await asyncio.gather(*(fail() for _ in range(5)))
        return [*waited, *ends]

    assert run_in_virtual_time(run()) == [0, 0, 0, 1, 2, 3, 3, 3]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1:5", "192.0.2.7", "192.0.2.7:0"),
        ("10.0.0.1:5", "evil, 192.0.2.7, 10.0.0.2", "192.0.2.7:0"),
        ("10.0.0.1:5", "192.0.2.7, 198.51.100.1", "198.51.100.1:0"),
        ("10.0.0.1:5", "192.0.2.7, nonsense", "10.0.0.1:5"),
        ("10.0.0.1:5", "", "10.0.0.1:5"),
        ("10.0.0.1:5", "10.0.0.3, 10.0.0.2", "10.0.0.3:0"),
        ("198.51.100.9:5", "192.0.2.7", "198.51.100.9:5"),
        ("10.0.0.1:5", "2001:db8::1", "2001:db8::1:0"),
    ],
)
def test_an_address_is_believed_from_the_right_and_only_from_proxies_that_are_trusted(
    peer: str, forwarded: str, client: str
) -> None:
    assert peer_of(peer, forwarded, proxies(["10.0.0.0/24"])) == client
    assert peer_of(peer, forwarded, proxies([])) == peer


class TestOverHttp:
    def app(self, made: Rates) -> Any:
        people: Any = type("People", (), {"members": staticmethod(self.nobody)})()
        served = MemberOperations(people, cast(Any, None)).operations()
        store: Any = type("Store", (), {"workspace": staticmethod(self.workspace)})()
        return http_app(Metrics(), ready, routes_of(Frame(store, verify, rates=made), served))

    async def nobody(self, *_: object) -> list[object]:
        return []

    async def workspace(self, slug: str) -> Any:
        return type("Found", (), {"id": 1, "slug": slug})

    async def test_every_answer_states_the_limit_and_429_says_when_to_come_back(self) -> None:
        app = self.app(rates(Watch(), user=Allowance(rate=1, burst=2)))
        for left in ("1", "0"):
            status, _, headers = await ask(app, "GET", "/v1/workspaces/main/members")
            assert status == 200
            assert headers["ratelimit"].startswith(f'"user";r={left};')
            assert headers["ratelimit-policy"] == '"user";q=2;w=2'
        status, body, headers = await ask(app, "GET", "/v1/workspaces/main/members")
        assert (status, body["type"], body["retry_after"]) == (429, "urn:syncline:problem:too-many-requests", 1)
        assert headers["retry-after"] == "1"
        assert (await ask(app, "GET", "/v1/workspaces/main/members", token="viewer"))[0] == 200

    @pytest.mark.parametrize(
        ("method", "address", "body", "status"),
        [
            ("GET", "/members?nonsense=1", b"", 422),
            ("PUT", "/members/ben", b'{"role": "owner"}', 403),
            ("PUT", "/members/ben", b" " * (MAX_BODY_BYTES + 1), 413),
        ],
    )
    async def test_what_is_refused_of_a_good_token_counts_like_what_is_not(
        self, method: str, address: str, body: bytes, status: int
    ) -> None:
        app, token = self.app(rates(Watch(), user=Allowance(rate=1, burst=2))), "viewer" if status == 403 else "admin"
        asked = [await ask(app, method, f"/v1/workspaces/main{address}", token=token, body=body) for _ in range(3)]
        assert [each[0] for each in asked] == [status, status, 429]
        assert (await ask(app, "GET", "/v1/workspaces/main/members"))[0] == 200, "others do not notice"


async def test_a_refused_token_at_a_door_with_sockets_waits_too() -> None:
    from server.visits import Guest, Visits

    failed: list[str] = []

    async def refuse(credentials: Credentials, workspace: str | None) -> Identity:
        raise TokenRefused("no")

    async def note_failure(host: str) -> None:
        failed.append(host)

    visits = Visits(refuse, cast(Clock, Watch()), after_failure=note_failure)
    guest = Guest("native", lambda identity: None, lambda reason: None)
    with pytest.raises(TokenRefused):
        await visits.enter(Credentials("x", address="192.0.2.7:1"), "main", guest)
    assert failed == ["192.0.2.7"]


async def test_who_is_closed_for_what_they_sent_waits_with_further_sockets() -> None:
    watch = Watch()
    made = rates(watch, offences=Allowance(100, 2), longest_delay=0.01)
    for _ in range(2):
        made.offended(ANA)
    await made.after_offences(ANA)
    assert watch.over == []
    made.offended(ANA)
    await made.after_offences(ANA)
    await made.after_offences(BEN)
    assert watch.over == ["offences"]
    watch.time += 1
    await made.after_offences(ANA)
    assert watch.over == ["offences"]


async def test_where_too_many_wait_further_sockets_are_told_to_come_back() -> None:
    made = rates(Watch(), offences=Allowance(1, 1), max_waiting=0)
    made.offended(ANA)
    await made.after_offences(ANA)
    made.offended(ANA)
    with pytest.raises(IdentityUnavailable):
        await made.after_offences(ANA)


def test_who_edits_too_fast_owes_for_a_while_and_a_workspace_does_for_all_its_users() -> None:
    watch = Watch()
    made = rates(watch, user_edits=Allowance(2, 4), workspace_edits=Allowance(10, 10))
    assert made.edited(ANA, 4) == 0
    assert made.edited(ANA, 1) == 0.5
    assert made.edited(BEN, 4) == 0
    assert watch.over == ["edits"]
    watch.time += 0.25
    assert made.edited(ANA, 0) == 0.25
    assert watch.over == ["edits"], "who only asks is over nothing"
    watch.time += 0.25
    assert made.edited(ANA, 0) == 0
    assert made.edited(BEN, 10) == 4.5, "of its own; the workspace owes 0.4"
    assert made.edited(Identity("cid", "main", Role.MEMBER), 1) == pytest.approx(0.5)


def test_a_rate_of_0_allows_any_number_of_edits() -> None:
    assert rates(Watch(), user_edits=FREE, workspace_edits=FREE).edited(ANA, 10**9) == 0
