"""Users, memberships, logins, tokens, devices and visits in Postgres, and whose standing changes with what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from storage.database import Database, DatabaseLimits, open_database
from storage.logins import Login, LoginRefused, Logins, ScriptToken
from storage.people import Bearer, LastOwner, People
from storage.postgres import PostgresStore
from storage.visitors import Sighting, Visitors, VisitRow

NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
NODE = UUID(int=7)


@dataclass
class Office:
    """All that is known of people, in one workspace."""

    workspace: int
    people: People
    logins: Logins
    visitors: Visitors
    database: Database
    read: int = 0

    async def told(self) -> list[str]:
        """Whose standing changed since the last time."""
        changes = await self.people.changes(self.read, 100)
        self.read = changes[-1].id if changes else self.read
        return [change.user_id for change in changes]

    async def login(self, user: str = "ana", device: str | None = None) -> Login:
        return await self.logins.begin(self.workspace, user, "member", DAY, NOW, device_id=device)

    async def is_over(self, login: Login) -> bool:
        bearer = Bearer(login.user_id, login_id=str(login.id))
        return (await self.people.standing(self.workspace, bearer)).is_login_over

    async def is_revoked(self, token: str) -> bool:
        return (await self.people.standing(self.workspace, Bearer("ana", token_id=token))).is_token_revoked

    async def print_token(self, token: str = "t1", user: str = "ana") -> None:
        printed = ScriptToken(token, user, "member", None, None, NOW, None, NOW + DAY, None)
        await self.logins.record_token(self.workspace, printed)

    async def see(self, *sightings: Sighting, begun: tuple[VisitRow, ...] = (), over: tuple[UUID, ...] = ()) -> None:
        await self.visitors.beat(NODE)
        await self.visitors.write(self.workspace, NODE, begun, over, sightings, NOW)


def sighting(user: str = "ana", device: str | None = "laptop", **other: object) -> Sighting:
    known = {
        "role": "member",
        "acting_for": None,
        "platform": "Linux",
        "user_agent": "Firefox",
        "public_key": None,
        "address": "127.0.0.1:5",
        "token_id": None,
        "token_expires_at": NOW + DAY,
        "login_id": None,
        "has_synced": True,
    }
    return Sighting(user_id=user, device_id=device, **{**known, **other})  # type: ignore[arg-type]


def visit(user: str = "ana", **other: object) -> VisitRow:
    known = {
        "id": uuid4(),
        "role": "member",
        "acting_for": None,
        "device_id": "laptop",
        "dialect": "yjs",
        "address": "127.0.0.1:5",
        "user_agent": None,
        "token_id": None,
        "login_id": None,
        "began_at": NOW,
    }
    return VisitRow(user_id=user, **{**known, **other})  # type: ignore[arg-type]


@pytest.fixture
async def office(store: PostgresStore, dsn: str) -> AsyncIterator[Office]:
    workspace = await store.create_workspace("main", "Main")
    database = await open_database(dsn, DatabaseLimits(connections_max=4))
    yield Office(workspace.id, People(database), Logins(database), Visitors(database), database)
    await database.close()


async def test_of_whom_nothing_is_known_the_token_alone_counts(office: Office) -> None:
    standing = await office.people.standing(office.workspace, Bearer("ana", None, "laptop", "t1"))
    assert (standing.role, standing.removed_at, standing.signed_out_at) == (None, None, None)
    assert not any((standing.is_device_revoked, standing.is_token_revoked, standing.is_login_over))


async def test_a_role_is_given_changed_and_taken(office: Office) -> None:
    await office.people.set_role(office.workspace, "ana", "viewer")
    await office.people.introduce(office.workspace, "ana", "Ana", "ana@example.org")
    await office.people.set_role(office.workspace, "ana", "admin")
    member = await office.people.member(office.workspace, "ana")
    assert member is not None
    assert (member.role, member.name, member.email, member.is_removed) == ("admin", "Ana", "ana@example.org", False)
    await office.people.remove(office.workspace, "ana", NOW)
    standing = await office.people.standing(office.workspace, Bearer("ana"))
    assert (standing.role, standing.removed_at, standing.signed_out_at) == (None, NOW, NOW)
    assert await office.told() == ["ana"] * 3
    await office.people.set_role(office.workspace, "ana", "viewer")
    standing = await office.people.standing(office.workspace, Bearer("ana"))
    assert (standing.role, standing.removed_at, standing.signed_out_at) == ("viewer", None, NOW)


async def test_one_workspace_says_nothing_of_another(office: Office, store: PostgresStore) -> None:
    other = (await store.create_workspace("other", "Other")).id
    await office.people.set_role(office.workspace, "ana", "viewer")
    login = await office.login()
    assert (await office.people.standing(other, Bearer("ana"))).role is None
    assert (await office.people.standing(other, Bearer("ana", login_id=str(login.id)))).is_login_over
    assert await office.people.members(other, "", 10) == []


async def test_there_is_always_an_owner_left(office: Office) -> None:
    await office.people.set_role(office.workspace, "ana", "owner")
    for wrong in (
        office.people.set_role(office.workspace, "ana", "admin"),
        office.people.remove(office.workspace, "ana", NOW),
    ):
        with pytest.raises(LastOwner):
            await wrong
    await office.people.set_role(office.workspace, "ben", "owner")
    await office.people.set_role(office.workspace, "ana", "admin")
    assert await office.told() == ["ana", "ben", "ana"]


async def test_members_come_in_pages(office: Office) -> None:
    for user in ("cid", "ana", "ben"):
        await office.people.introduce(office.workspace, user, None, None)
    first = await office.people.members(office.workspace, "", 2)
    assert [member.id for member in first] == ["ana", "ben"]
    assert [member.id for member in await office.people.members(office.workspace, "ben", 2)] == ["cid"]


async def test_a_refresh_token_is_good_once_and_used_again_it_ends_the_login(office: Office) -> None:
    first = await office.login()
    second = await office.logins.turn(office.workspace, first.id, first.secret, DAY, NOW + DAY / 2)
    assert second.secret != first.secret
    assert second.expires_at == NOW + DAY * 1.5
    assert not await office.is_over(second)
    with pytest.raises(LoginRefused, match="used before"):
        await office.logins.turn(office.workspace, first.id, first.secret, DAY, NOW)
    assert await office.is_over(second)
    assert await office.told() == ["ana"]
    with pytest.raises(LoginRefused, match="over"):
        await office.logins.turn(office.workspace, second.id, second.secret, DAY, NOW)


async def test_of_two_who_renew_at_once_one_gets_tokens_and_the_login_ends(office: Office) -> None:
    login = await office.login()
    turns = [office.logins.turn(office.workspace, login.id, login.secret, DAY, NOW) for _ in range(2)]
    results = await asyncio.gather(*turns, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Login", "LoginRefused"]
    assert await office.is_over(login)


async def test_a_login_that_nobody_renews_runs_out(office: Office) -> None:
    login = await office.login()
    with pytest.raises(LoginRefused):
        await office.logins.turn(office.workspace, login.id, login.secret, DAY, NOW + DAY)
    with pytest.raises(LoginRefused):
        await office.logins.turn(office.workspace, uuid4(), login.secret, DAY, NOW)


async def test_who_is_signed_out_or_removed_has_no_login_left(office: Office) -> None:
    before, other = await office.login(), await office.login("ben")
    await office.people.sign_out(office.workspace, "ana", NOW)
    assert await office.is_over(before)
    after = await office.login()
    assert not await office.is_over(after)
    await office.people.remove(office.workspace, "ana", NOW)
    assert await office.is_over(after)
    assert not await office.is_over(other)


async def test_a_login_that_is_none_of_ours_is_over(office: Office) -> None:
    for text in ("", "x", str(uuid4())):
        assert (await office.people.standing(office.workspace, Bearer("ana", login_id=text))).is_login_over


async def test_tokens_are_listed_when_they_are_printed_and_when_they_are_used(office: Office) -> None:
    await office.print_token("printed")
    await office.see(sighting(device=None, token_id="elsewhere"), sighting("ben", token_id="printed"))
    listed = {token.id: token for token in await office.logins.tokens(office.workspace, None, NOW)}
    assert listed.keys() == {"printed", "elsewhere"}
    assert listed["printed"].used_at == listed["elsewhere"].used_at == NOW
    assert await office.logins.tokens(office.workspace, None, NOW + DAY) == []
    assert [token.id for token in await office.logins.tokens(office.workspace, "ana", NOW)] == ["printed", "elsewhere"]


async def test_a_token_is_revoked_by_its_id(office: Office) -> None:
    await office.print_token()
    assert await office.logins.owner_of_token(office.workspace, "t1") == "ana"
    assert await office.logins.revoke_token(office.workspace, "t1", NOW)
    assert await office.is_revoked("t1")
    assert not await office.logins.revoke_token(office.workspace, "t2", NOW)
    assert await office.told() == ["ana"]


async def test_a_device_is_known_by_what_it_says_and_keeps_what_it_does_not_say_again(office: Office) -> None:
    await office.see(sighting(public_key="key"), sighting(device=None))
    await office.see(sighting(platform=None, user_agent="Firefox 2", public_key="forged", has_synced=False))
    (device,) = await office.visitors.devices(office.workspace, "ana", 10)
    assert (device.platform, device.user_agent, device.public_key) == ("Linux", "Firefox 2", "key")
    assert device.first_seen_at == device.last_seen_at == device.last_sync_at == NOW
    member = await office.people.member(office.workspace, "ana")
    assert member is not None
    assert (member.last_sync_at, member.device_id) == (NOW, "laptop")


async def test_with_a_device_goes_what_it_came_with(office: Office) -> None:
    bound, used, other = await office.login(device="laptop"), await office.login(), await office.login(device="phone")
    await office.print_token()
    await office.see(sighting(login_id=used.id, token_id="t1"))
    assert await office.people.revoke_device(office.workspace, "ana", "laptop", NOW)
    assert (await office.people.standing(office.workspace, Bearer("ana", None, "laptop"))).is_device_revoked
    assert [await office.is_over(login) for login in (bound, used, other)] == [True, True, False]
    assert await office.is_revoked("t1")
    assert await office.told() == ["ana"]
    assert not await office.people.revoke_device(office.workspace, "ben", "laptop", NOW)
    assert not (await office.people.standing(office.workspace, Bearer("ben", None, "laptop"))).is_device_revoked
    assert await office.people.allow_device(office.workspace, "ana", "laptop")
    assert not (await office.people.standing(office.workspace, Bearer("ana", None, "laptop"))).is_device_revoked


async def test_an_agent_stands_as_the_user_it_acts_for(office: Office) -> None:
    await office.people.set_role(office.workspace, "ana", "viewer")
    await office.people.sign_out(office.workspace, "ana", NOW)
    standing = await office.people.standing(office.workspace, Bearer("claude", "ana"))
    assert (standing.role, standing.signed_out_at) == ("viewer", NOW)


async def test_visits_are_listed_until_they_are_over_or_their_node_is_dead(office: Office) -> None:
    mine, other = visit(), visit("ben")
    await office.see(begun=(mine, other))
    assert await office.visitors.visits(office.workspace, None, 10) == [mine, other]
    assert await office.visitors.visits(office.workspace, "ben", 10) == [other]
    await office.see(over=(mine.id,))
    assert await office.visitors.visits(office.workspace, None, 10) == [other]
    await office.visitors.leave(NODE)
    assert await office.visitors.visits(office.workspace, None, 10) == []
    await office.see(begun=(visit("cid"),))
    assert await office.visitors.owner_of(office.workspace, other.id) == "ben", "its node has come back"


async def test_ending_a_visit_ends_what_it_came_with(office: Office) -> None:
    login = await office.login()
    await office.print_token()
    by_login, by_token = visit(login_id=login.id), visit(token_id="t1")
    await office.see(begun=(by_login, by_token))
    for one in (by_login, by_token):
        assert await office.visitors.end_visit(office.workspace, one.id, NOW)
    assert await office.is_over(login)
    assert await office.is_revoked("t1")
    assert [change.visit_id for change in await office.people.changes(0, 10)] == [by_login.id, by_token.id]
    assert not await office.visitors.end_visit(office.workspace, uuid4(), NOW)


async def test_changes_appear_in_the_order_of_their_numbers(office: Office) -> None:
    """Who reads on from a number must not miss one before it that was committed later."""
    writers = [office.people.set_role(office.workspace, f"user-{n}", "viewer") for n in range(20)]
    working, seen = asyncio.gather(*writers), []
    while not working.done():
        seen += await office.told()
    await working
    seen += await office.told()
    assert sorted(seen) == sorted(f"user-{n}" for n in range(20))
    assert await office.people.last_change() == office.read
