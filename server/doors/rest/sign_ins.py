"""`POST /v1/auth/…`: tokens for a provider's token, for a refresh token, and the end of a login."""

from __future__ import annotations

from collections.abc import Awaitable
from http import HTTPStatus
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from server.auth import IdentityUnavailable, NotAllowed, TokenRefused
from server.auth.credentials import MAX_NAME_LENGTH
from server.clock import Clock
from server.doors.credentials import presented_by
from server.doors.rest.operations import Answer, Call, Operation, Query, Reply, Served
from server.doors.rest.paths import Place
from server.doors.rest.problems import FORBIDDEN, SOON, UNAUTHORIZED, UNAVAILABLE, Problem
from server.permissions import Role
from server.sign_ins import Granted, SignIns

T = TypeVar("T")

_MAX_BODY_BYTES: Final = 64 * 1024  # of the format: a token has 16 KiB at most, and nobody is known yet
_PROBLEMS: Final = (UNAUTHORIZED, FORBIDDEN)


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class RefreshRequest(_Body):
    """A refresh token for the next one."""

    grant_type: Literal["refresh_token"] = "refresh_token"
    refresh_token: str


class ExchangeRequest(_Body):
    """A token of the OpenID provider for tokens of ours."""

    id_token: str
    workspace: str = "main"
    device_id: str | None = Field(None, min_length=1, max_length=MAX_NAME_LENGTH)


class SignOutRequest(_Body):
    """Whose login ends."""

    refresh_token: str


class Tokens(BaseModel):
    """`access_token` opens every door for `expires_in` seconds; `refresh_token` is good once, for the next ones."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 -- the word of RFC 6750
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    workspace: str
    user_id: str
    role: Role


_GRANTED: Final = {HTTPStatus.OK: Answer("Signed in.", Tokens)}

REFRESH: Final = Operation(
    method="POST",
    path="/v1/auth/token",
    id="refreshToken",
    tag="auth",
    summary="The next tokens",
    description="A refresh token is good once. Used a second time, it ends the login: somebody else has a copy.",
    place=Place,
    query=Query,
    body=RefreshRequest,
    needs=None,
    answers=_GRANTED,
    problems=_PROBLEMS,
    max_body_bytes=_MAX_BODY_BYTES,
)
EXCHANGE: Final = Operation(
    method="POST",
    path="/v1/auth/exchange",
    id="exchangeToken",
    tag="auth",
    summary="Sign in with the OpenID provider",
    description="The role is what the workspace gives the user. While the provider is away this is 503, not 401.",
    place=Place,
    query=Query,
    body=ExchangeRequest,
    needs=None,
    answers=_GRANTED,
    problems=_PROBLEMS,
    max_body_bytes=_MAX_BODY_BYTES,
)
SIGN_OUT: Final = Operation(
    method="POST",
    path="/v1/auth/sign-out",
    id="signOut",
    tag="auth",
    summary="End a login",
    description="Its tokens are worth nothing from now on, its sockets close.",
    place=Place,
    query=Query,
    body=SignOutRequest,
    needs=None,
    answers={HTTPStatus.NO_CONTENT: Answer("Signed out.")},
    problems=_PROBLEMS,
    max_body_bytes=_MAX_BODY_BYTES,
)


class SignInOperations:
    """What answers them."""

    def __init__(self, sign_ins: SignIns, clock: Clock) -> None:
        self._sign_ins = sign_ins
        self._clock = clock

    def operations(self) -> list[Served]:
        """What is served here."""
        return [REFRESH.by(self.refresh), EXCHANGE.by(self.exchange), SIGN_OUT.by(self.sign_out)]

    async def refresh(self, call: Call[Place, Query, RefreshRequest]) -> Reply:
        """The next access and refresh token."""
        return self._told(await _or_problem(self._sign_ins.renew(call.body.refresh_token, presented_by(call.request))))

    async def exchange(self, call: Call[Place, Query, ExchangeRequest]) -> Reply:
        """A login of ours."""
        credentials = presented_by(call.request).with_token(call.body.id_token, call.body.device_id)
        return self._told(await _or_problem(self._sign_ins.exchange(credentials, call.body.workspace)))

    async def sign_out(self, call: Call[Place, Query, SignOutRequest]) -> Reply:
        """The end of it."""
        await _or_problem(self._sign_ins.sign_out(call.body.refresh_token, presented_by(call.request)))
        return Reply(status=HTTPStatus.NO_CONTENT)

    def _told(self, granted: Granted) -> Reply:
        now = self._clock.now()
        tokens = Tokens(
            access_token=granted.access_token,
            expires_in=int((granted.access_expires_at - now).total_seconds()),
            refresh_token=granted.refresh_token,
            refresh_expires_in=int((granted.refresh_expires_at - now).total_seconds()),
            workspace=granted.identity.workspace,
            user_id=granted.identity.user_id,
            role=granted.identity.role,
        )
        return Reply(tokens, headers={"Cache-Control": "no-store"})


async def _or_problem(work: Awaitable[T]) -> T:
    try:
        return await work
    except TokenRefused as refused:
        raise Problem(UNAUTHORIZED, str(refused), headers={"WWW-Authenticate": "Bearer"}) from None
    except NotAllowed as refused:
        raise Problem(FORBIDDEN, str(refused)) from None
    except IdentityUnavailable:
        raise Problem(UNAVAILABLE, "try again later", headers=SOON) from None
