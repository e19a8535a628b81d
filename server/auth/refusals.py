"""The ways to say no to a token, and the question they are answers to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from server.auth.credentials import Credentials
from server.permissions import Identity


class TokenRefused(Exception):
    """The token proves nothing. The message is safe to show and to log."""


class TokenExpired(TokenRefused):
    """It was good once: ask for a new one."""


class NotAllowed(Exception):
    """The token is good, but opens nothing here. The message is safe to show and to log."""


class IdentityUnavailable(Exception):
    """Nobody can say now whether the token is good: try again. Never a reason to turn somebody away for good."""


# Whom credentials name in a workspace, given by its slug; None: in the token's own. Raises all of the above.
Verify = Callable[[Credentials, str | None], Awaitable[Identity]]
