"""Whom credentials name, and what they may here: the token, and what the database knows of its user."""

from __future__ import annotations

from datetime import timedelta

from server import auth
from server.auth import Credentials, IdentityUnavailable, Keys, NotAllowed, Token, TokenRefused
from server.clock import Clock
from server.permissions import Identity


class Doorman:
    """`verify` is an `auth.Verify`."""

    def __init__(self, keys: Keys, clock: Clock, skew: timedelta) -> None:
        self._keys = keys
        self._clock = clock
        self._skew = skew

    async def verify(self, credentials: Credentials, workspace: str | None) -> Identity:
        """Raises `TokenRefused`, `NotAllowed` and `IdentityUnavailable`."""
        token = self._read(credentials.token)
        if token.workspace is None or token.role is None:
            raise TokenRefused("the token names no workspace")
        if workspace is not None and token.workspace != workspace:
            raise NotAllowed("the token is for another workspace")
        return Identity(
            user_id=token.user_id,
            workspace=token.workspace,
            role=token.role,
            device_id=token.device_id or credentials.device_id,
            expires_at=token.expires_at,
            acting_for=token.acting_for,
            token_id=token.token_id,
            login_id=token.login_id,
        )

    def _read(self, token: str) -> Token:
        try:
            return auth.read(token, self._keys, self._clock.now(), self._skew)
        except ValueError as error:
            raise IdentityUnavailable(str(error)) from error
