"""Sessions, roles and clocks."""

from __future__ import annotations

from datetime import UTC

import pytest

from crdt.errors import CLIENT_ID, FORBIDDEN, MALFORMED, TOO_LARGE, Refused
from server import close_codes
from server.clock import SystemClock
from server.permissions import Identity, Role, mandate_of, may_edit
from server.session import Session
from tests.server.house import DIALECT, Wire


def session(role: Role = Role.MEMBER) -> tuple[Session, Wire]:
    wire = Wire()
    return Session(Identity("ana", "main", role), wire, DIALECT, "somewhere"), wire


@pytest.mark.parametrize(("role", "allowed"), [(Role.VIEWER, False), (Role.COMMENTER, False), (Role.MEMBER, True)])
def test_viewers_may_not_edit(role: Role, allowed: bool) -> None:
    assert may_edit(Identity("ana", "main", role)) is allowed
    assert session(role)[0].may_edit is allowed


def test_a_renewed_session_is_held_to_its_new_role() -> None:
    renewed, _ = session(Role.MEMBER)
    assert not renewed.mandate.comments_only
    renewed.renew(Identity("ana", "main", Role.COMMENTER))
    assert (renewed.may_edit, renewed.may_comment, renewed.mandate.comments_only) == (False, True, True)


def test_only_what_the_server_makes_for_an_admin_may_name_others() -> None:
    admin, member = (Identity("ana", "main", role) for role in (Role.ADMIN, Role.MEMBER))
    assert mandate_of(admin, is_server=True).may_attribute
    assert not mandate_of(admin).may_attribute
    assert not mandate_of(member, is_server=True).may_attribute


def test_an_agent_signs_for_itself_or_for_whom_it_works() -> None:
    assert mandate_of(Identity("bot", "main", Role.AGENT, acting_for="ana")).names == ("bot", "ana")


def test_a_session_is_closed_once_and_sends_nothing_after() -> None:
    open_session, wire = session()
    open_session.send(b"one")
    open_session.close(close_codes.RESTART, "first")
    open_session.close(close_codes.TRY_LATER, "second")
    open_session.send(b"two")
    assert (wire.frames, wire.closed) == ([b"one"], (close_codes.RESTART, "first"))


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (MALFORMED, close_codes.BAD_REQUEST),
        (TOO_LARGE, close_codes.TOO_MUCH),
        (CLIENT_ID, close_codes.NOT_ALLOWED),
        (FORBIDDEN, close_codes.NOT_ALLOWED),
    ],
)
def test_a_refusal_closes_with_its_reason_and_never_with_the_detail(reason: str, code: int) -> None:
    open_session, wire = session()
    open_session.refuse(Refused(reason, "what and where"))
    assert wire.closed == (code, reason)
    assert open_session.is_dismissed


def test_the_system_clock_knows_its_time_zone_and_does_not_go_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()
