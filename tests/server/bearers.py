"""Tokens of tests: `ana`, `ana:viewer`, `ana:member:ghosts` for another workspace, and what a door makes of them."""

from __future__ import annotations

from datetime import datetime

from server.auth import IdentityUnavailable, NotAllowed, TokenRefused
from server.permissions import Identity, Role


def identity_of(token: str, workspace: str | None, expires_at: datetime | None = None) -> Identity:
    """Raises as an `auth.Verify` does: nobody knows `nobody`, and of `away` nobody can say."""
    user, role, own, *_ = [*token.split(":"), *("member", "main")[token.count(":") :]]
    if user in ("", "nobody"):
        raise TokenRefused("no")
    if user == "away":
        raise IdentityUnavailable("nobody knows")
    return for_workspace(Identity(user, own, Role(role), expires_at=expires_at), workspace)


def for_workspace(identity: Identity, slug: str | None) -> Identity:
    if slug is not None and identity.workspace != slug:
        raise NotAllowed("the token is for another workspace")
    return identity
