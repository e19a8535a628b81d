from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import permissions
from server.permissions import Identity, Role, at_least, lesser, may_grant

ROLES = st.sampled_from(Role)

ALLOWED: dict[Callable[[Identity], bool], str] = {
    permissions.may_read: "viewer commenter agent member admin owner",
    permissions.may_comment: "commenter agent member admin owner",
    permissions.may_edit: "agent member admin owner",
    permissions.may_administer: "admin owner",
    permissions.may_manage_members: "admin owner",
    permissions.may_delete: "admin owner",
    permissions.may_restore: "admin owner",
    permissions.may_export: "admin owner",
}


@pytest.mark.parametrize("may", ALLOWED, ids=lambda may: may.__name__)
@pytest.mark.parametrize("role", Role)
def test_what_each_role_may(may: Callable[[Identity], bool], role: Role) -> None:
    assert may(Identity("ana", "main", role)) is (role.value in ALLOWED[may].split())


def test_every_predicate_is_in_the_table() -> None:
    found = {name for name in vars(permissions) if name.startswith("may_")} - {"may_grant"}
    assert found == {may.__name__ for may in ALLOWED}


def test_nobody_grants_more_than_they_are() -> None:
    for role in Role:
        assert may_grant(Identity("ana", "main", Role.OWNER), role)
        assert may_grant(Identity("ana", "main", Role.ADMIN), role) is (role is not Role.OWNER)
        assert not may_grant(Identity("ana", "main", Role.MEMBER), role)


@given(ROLES, ROLES)
def test_the_lesser_of_two_roles_allows_no_more_than_either(one: Role, other: Role) -> None:
    role = lesser(one, other)
    assert role is lesser(other, one)
    assert at_least(one, role)
    assert at_least(other, role)


def test_a_member_with_an_agents_token_is_seen_as_an_agent() -> None:
    assert lesser(Role.MEMBER, Role.AGENT) is Role.AGENT
    assert lesser(Role.AGENT, Role.OWNER) is Role.AGENT
    assert lesser(Role.AGENT, Role.VIEWER) is Role.VIEWER
