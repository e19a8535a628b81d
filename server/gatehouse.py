"""Everything of a node that decides who comes in, made and wired in one place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final

from server import bounds
from server.audit import Audit
from server.auth import Credentials, Keys, Verify
from server.auth.provider import provider_of
from server.clock import Clock
from server.config import Settings
from server.doorman import Doorman, DoormanServices, Remembered
from server.guestbook import Guestbook, GuestbookServices
from server.opening import Opened
from server.permissions import Identity
from server.rates import Rates
from server.sign_ins import SignIns, SignInServices
from server.visits import Visits

REMEMBERED_SECONDS: Final = 1.0  # what was revoked is refused after so long


class Gatehouse:
    """`visits`: for doors with sockets · `guestbook`: whose `run` must be running · `sign_ins`: tokens for tokens ·
    `audit`: the account of it, whose `run` must be running too."""

    def __init__(
        self,
        settings: Settings,
        opened: Opened,
        keys: Keys,
        clock: Clock,
        rates: Rates,
        lost: Callable[[], None],
    ) -> None:
        self._clock = clock
        self.audit = Audit(opened.audit_log, opened.store, clock, bounds.of_audit(settings), lost)
        self._doorman = Doorman(
            DoormanServices(keys, provider_of(settings), opened.store, opened.people, clock),
            timedelta(seconds=settings.clock_skew_seconds),
            settings.oidc_default_role,
            self.audit.note,
        )
        self.visits = Visits(
            self._doorman.verify,
            clock,
            self.audit.note,
            rates.after_failure,
            settings.max_user_connections,
            settings.max_workspace_connections,
            rates,
        )
        self.guestbook = Guestbook(
            GuestbookServices(self.visits, self._doorman, opened.store, opened.people, opened.visitors, clock),
            bounds.of_guestbook(settings),
        )
        signing_in = SignInServices(self._doorman, keys, opened.store, opened.logins, clock, self.audit.note)
        self.sign_ins = SignIns(signing_in, bounds.of_sign_ins(settings))

    async def everywhere(self, credentials: Credentials) -> list[Identity]:
        """See `Doorman.everywhere`."""
        return await self._doorman.everywhere(credentials)

    def verify_requests(self, *, have_synced: bool) -> Verify:
        """For doors with requests, which are many and come with the same token."""
        saw = partial(self.visits.saw, has_synced=have_synced)
        return Remembered(self._doorman.verify, self._clock, saw, timedelta(seconds=REMEMBERED_SECONDS)).verify
