"""Whom a token names in a workspace, given how its user stands there; and that this is remembered only for a moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from server.auth import Credentials, NotAllowed, Token, TokenRefused
from server.doorman import Remembered, role_of
from server.permissions import Identity, Role
from storage.people import Standing

NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)
TOKEN = Token("ana", NOW + timedelta(days=1), NOW, "main", Role.MEMBER)
FOREIGN = Token("ana", NOW + timedelta(days=1), NOW)
NOTHING = Standing(None, None, None, is_device_revoked=False, is_token_revoked=False, is_login_over=False)


@pytest.mark.parametrize(
    ("said", "given", "role"),
    [
        (Role.MEMBER, None, Role.MEMBER),
        (Role.MEMBER, "viewer", Role.VIEWER),
        (Role.VIEWER, "owner", Role.VIEWER),
        (Role.OWNER, "admin", Role.ADMIN),
        (Role.AGENT, "member", Role.AGENT),
        (Role.AGENT, "commenter", Role.COMMENTER),
        (None, "commenter", Role.COMMENTER),
    ],
)
def test_the_lesser_of_what_the_token_says_and_the_workspace_gives_counts(
    said: Role | None, given: str | None, role: Role
) -> None:
    assert role_of(replace(TOKEN, role=said), replace(NOTHING, role=given), None) is role


def test_a_provider_says_nothing_of_roles_so_the_workspace_must() -> None:
    with pytest.raises(NotAllowed):
        role_of(FOREIGN, NOTHING, None)
    assert role_of(FOREIGN, NOTHING, Role.VIEWER) is Role.VIEWER
    assert role_of(FOREIGN, replace(NOTHING, role="admin"), Role.VIEWER) is Role.ADMIN
    assert role_of(TOKEN, NOTHING, Role.VIEWER) is Role.MEMBER


def test_who_was_removed_comes_back_with_a_newer_token_of_ours_and_with_no_token_of_a_provider() -> None:
    before = NOW - timedelta(seconds=1)
    removed = replace(NOTHING, removed_at=before, signed_out_at=before)
    assert role_of(TOKEN, removed, None) is Role.MEMBER
    with pytest.raises(NotAllowed):
        role_of(FOREIGN, removed, Role.VIEWER)


@pytest.mark.parametrize(
    "standing",
    [
        replace(NOTHING, is_token_revoked=True),
        replace(NOTHING, is_device_revoked=True),
        replace(NOTHING, is_login_over=True),
        replace(NOTHING, role="owner", signed_out_at=NOW),
        replace(NOTHING, removed_at=NOW, signed_out_at=NOW),
    ],
)
def test_what_was_revoked_is_refused_whatever_the_role(standing: Standing) -> None:
    for token in (TOKEN, FOREIGN):
        with pytest.raises(TokenRefused):
            role_of(token, standing, Role.OWNER)


class Calendar:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


async def test_what_was_answered_counts_for_a_moment_and_never_longer_than_the_token() -> None:
    asked: list[str | None] = []
    seen: list[str | None] = []

    async def verify(credentials: Credentials, workspace: str | None) -> Identity:
        asked.append(credentials.token)
        expires_at = NOW + timedelta(seconds=0.5) if credentials.token == "brief" else None
        return Identity("ana", workspace or "main", Role.MEMBER, credentials.device_id, expires_at)

    def saw(credentials: Credentials, _identity: Identity) -> None:
        seen.append(credentials.device_id)

    clock = Calendar()
    remembered = Remembered(verify, clock, saw, timedelta(seconds=1))
    for _ in range(3):
        await remembered.verify(Credentials("t"), "main")
        await remembered.verify(Credentials("brief"), "main")
    assert asked == ["t", "brief"]
    await remembered.verify(Credentials("t"), "other")
    await remembered.verify(Credentials("t", "laptop"), "main")
    assert seen == [None, None, None, "laptop"]
    clock.time += timedelta(seconds=0.5)
    await remembered.verify(Credentials("t"), "main")
    await remembered.verify(Credentials("brief"), "main")
    clock.time += timedelta(seconds=0.5)
    await remembered.verify(Credentials("t"), "main")
    assert asked == ["t", "brief", "t", "t", "brief", "t"]


async def test_a_refusal_is_not_remembered() -> None:
    answers: list[TokenRefused | Identity] = [TokenRefused("no"), Identity("ana", "main", Role.MEMBER)]

    async def verify(_credentials: Credentials, _workspace: str | None) -> Identity:
        answer = answers.pop(0)
        if isinstance(answer, TokenRefused):
            raise answer
        return answer

    remembered = Remembered(verify, Calendar(), lambda *_: None, timedelta(seconds=1))
    with pytest.raises(TokenRefused):
        await remembered.verify(Credentials("t"), "main")
    assert (await remembered.verify(Credentials("t"), "main")).user_id == "ana"
