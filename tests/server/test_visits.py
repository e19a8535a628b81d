"""Who is here, and what becomes of them when their standing changes."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from typing import cast
from weakref import ref

import pytest

from server.auth import Credentials, IdentityUnavailable, TokenRefused
from server.clock import Clock
from server.permissions import Identity, Role
from server.rates import RateLimits, Rates
from server.visits import Guest, Visit, Visits
from tests.server.fake_socket import Conduct
from tests.server.test_rates import Watch
from tests.simulation.time import VirtualClock


class Gate:
    """A node's visits, with what a test says of its users; tokens are their names."""

    def __init__(self) -> None:
        self.roles: dict[str, Role | None] = {}
        self.is_away = False
        self.hold: asyncio.Event | None = None
        self.asked = asyncio.Event()
        self.heard: list[tuple[str, object]] = []
        self.visits = Visits(self.verify, VirtualClock())

    async def verify(self, credentials: Credentials, workspace: str | None) -> Identity:
        role = self.roles.get(credentials.token, Role.MEMBER)
        self.asked.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.is_away:
            raise IdentityUnavailable("away")
        if role is None:
            raise TokenRefused("revoked")
        acting_for = "ana" if credentials.token == "claude" else None
        return Identity(credentials.token, workspace or "main", role, credentials.device_id, acting_for=acting_for)

    async def enter(self, user: str, before: Visit | None = None) -> Visit:
        guest = Guest(
            "test",
            lambda identity: self.heard.append((user, identity.role)),
            lambda reason: self.heard.append((user, reason)),
        )
        return await self.visits.enter(Credentials(user), "main", guest, before=before)

    def here(self) -> list[str]:
        return [visit.identity.user_id for visit in self.visits.all()]


@pytest.fixture
def gate() -> Gate:
    return Gate()


async def test_another_role_is_told_and_a_revoked_user_is_sent_away(gate: Gate) -> None:
    for user in ("ana", "ana", "ben"):
        await gate.enter(user)
    gate.roles["ana"] = Role.VIEWER
    await gate.visits.ask_again({"ana", "ben", "nobody"})
    assert gate.heard == [("ana", Role.VIEWER)] * 2
    gate.roles["ana"] = None
    await gate.visits.ask_again({"ana"})
    assert gate.heard[2:] == [("ana", "revoked")] * 2
    assert gate.here() == ["ben"]


async def test_an_agent_is_asked_about_with_the_user_it_acts_for(gate: Gate) -> None:
    await gate.enter("claude")
    gate.roles["claude"] = None
    await gate.visits.ask_again({"ana"})
    assert gate.heard == [("claude", "revoked")]


async def test_of_whom_nobody_can_say_anything_stays_and_is_asked_about_again(gate: Gate) -> None:
    await gate.enter("ana")
    gate.is_away = True
    assert await gate.visits.ask_again({"ana"}) == {"ana"}
    assert (gate.heard, gate.here()) == ([], ["ana"])


async def test_what_changes_while_somebody_comes_in_is_not_missed(gate: Gate) -> None:
    gate.hold = asyncio.Event()
    coming = asyncio.create_task(gate.enter("ana"))
    await gate.asked.wait()
    gate.roles["ana"] = None  # after the answer, before the visit
    await gate.visits.ask_again({"ana"})
    gate.hold.set()
    with pytest.raises(TokenRefused):
        await coming
    assert gate.here() == []


async def test_another_token_goes_on_with_the_visit_and_another_user_does_not(gate: Gate) -> None:
    first = await gate.enter("ana")
    gate.visits.take_news()
    second = await gate.enter("ana", before=first)
    assert second.id == first.id
    first.leave()
    assert gate.visits.all() == [second]
    other = await gate.enter("ben", before=second)
    assert other.id != second.id
    assert gate.here() == ["ana", "ben"]


async def test_news_are_told_once_and_again_when_they_did_not_arrive(gate: Gate) -> None:
    ana, ben = await gate.enter("ana"), await gate.enter("ben")
    news = gate.visits.take_news()
    assert news["main"].begun == [ana, ben]
    assert {sight.identity.user_id for sight in news["main"].seen} == {"ana", "ben"}
    assert gate.visits.take_news() == {}
    ben.leave()
    gate.visits.retell(news)
    again = gate.visits.take_news()["main"]
    assert (again.begun, again.over) == ([ana], [ben])


async def test_one_visit_is_ended_by_its_id(gate: Gate) -> None:
    first, second = await gate.enter("ana"), await gate.enter("ana")
    gate.visits.end({first.id}, "ended")
    assert gate.heard == [("ana", "ended")]
    assert gate.visits.all() == [second]
    first.leave()
    first.goes_on(replace(first.identity, role=Role.ADMIN))
    assert gate.visits.all() == [second]


async def test_a_visit_that_is_over_holds_its_door_no_longer(gate: Gate) -> None:
    """A door holds its visit: together they would wait for the collector of cycles, one for every visitor."""

    class Door:
        visit: Visit

        def changed(self, identity: Identity) -> None: ...

        def ended(self, reason: str) -> None: ...

    door = Door()
    gone = ref(door)
    door.visit = await gate.visits.enter(Credentials("ana"), "main", Guest("test", door.changed, door.ended))
    gc.disable()
    try:
        door.visit.leave()
        del door
        assert gone() is None
    finally:
        gc.enable()


async def test_a_user_has_so_many_sockets_and_no_more_however_many_visits_each_carries() -> None:
    async def verify(credentials: Credentials, workspace: str | None) -> Identity:
        return Identity(credentials.token, workspace or "main", Role.MEMBER)

    visits = Visits(verify, VirtualClock(), max_sockets=2)
    guest = Guest("hocuspocus", lambda identity: None, lambda reason: None)

    async def enter(user: str, port: int, workspace: str = "main") -> Visit:
        return await visits.enter(Credentials(user, address=f"192.0.2.7:{port}"), workspace, guest)

    first, *_ = [await enter("ana", port) for port in (1, 1, 2, 2)]
    with pytest.raises(IdentityUnavailable):
        await enter("ana", 3)
    await enter("ana", 1)
    await enter("ben", 3)
    await enter("ana", 4, "other")
    again = await visits.enter(first.credentials, "main", guest, before=first)
    assert again.id == first.id
    for visit in [visit for visit in visits.all() if visit.credentials.address.endswith(":1")]:
        visit.leave()
    await enter("ana", 3)


async def test_the_next_socket_of_who_was_closed_for_what_they_sent_waits(gate: Gate) -> None:
    conduct = gate.visits.conduct = Conduct()
    (await gate.enter("eve")).offended()
    again = asyncio.create_task(gate.enter("eve"))
    await gate.enter("ana")
    assert not again.done()
    conduct.made_up.set()
    assert (await again).identity.user_id == "eve"


async def test_a_workspace_has_so_many_sockets_whoever_is_on_them() -> None:
    async def verify(credentials: Credentials, workspace: str | None) -> Identity:
        return Identity(credentials.token, workspace or "main", Role.MEMBER)

    visits = Visits(verify, VirtualClock(), max_workspace_sockets=2)
    guest = Guest("hocuspocus", lambda identity: None, lambda reason: None)

    async def enter(user: str, port: int, workspace: str = "main") -> Visit:
        return await visits.enter(Credentials(user, address=f"192.0.2.7:{port}"), workspace, guest)

    first, second, _ = [await enter(user, port) for user, port in (("ana", 1), ("ben", 2), ("ben", 2))]
    with pytest.raises(IdentityUnavailable):
        await enter("cid", 3)
    await enter("ana", 1)
    await enter("cid", 3, "other")
    renewed = await visits.enter(second.credentials, "main", guest, before=second)
    with pytest.raises(IdentityUnavailable):
        await enter("cid", 3)
    renewed.leave()
    with pytest.raises(IdentityUnavailable):
        await enter("cid", 3)  # ben's other visit is on that socket still
    for visit in [visit for visit in visits.all() if visit.credentials.address.endswith(":2")]:
        visit.leave()
    await enter("cid", 3)
    assert first in visits.all()


async def test_edits_are_counted_a_few_at_a_time_and_none_is_forgotten(gate: Gate) -> None:
    conduct = gate.visits.conduct = Rates(RateLimits(), cast(Clock, Watch()))
    visit = await gate.enter("ana")
    assert conduct.edits_together == 64
    assert [visit.edited(1) for _ in range(200_000)] == [0.0] * 200_000
    assert visit.edited(64) == 64 / 20_000
    assert visit.edited(0) == 64 / 20_000
