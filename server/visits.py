"""Who is here: every live socket of this node with the user behind it, so that what becomes of somebody reaches them.

A visit is asked about again when its user's standing changes: then it goes on with another role, or ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

import structlog

from server.auth import Credentials, IdentityUnavailable, NotAllowed, TokenRefused, Verify
from server.clock import Clock
from server.permissions import Identity

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Guest:
    """The door's side of a visit. `changed` hears what the user may from now on, `ended` why they have to go."""

    dialect: str
    changed: Callable[[Identity], None]
    ended: Callable[[str], None]


class Visit:
    """One user on one socket, from a good token on. `id` and `began` outlive the token."""

    __slots__ = ("_guest", "_visits", "began", "credentials", "id", "identity")

    def __init__(
        self,
        visits: Visits,
        credentials: Credentials,
        identity: Identity,
        guest: Guest,
        began: datetime,
        visit_id: UUID,
    ) -> None:
        self._visits = visits
        self._guest = guest
        self.credentials = credentials
        self.identity = identity
        self.began = began
        self.id = visit_id

    @property
    def dialect(self) -> str:
        """Which door it came by."""
        return self._guest.dialect

    def leave(self) -> None:
        """The socket, or the user's part of it, is gone."""
        self._visits.forget(self)

    def goes_on(self, identity: Identity) -> None:
        """With what the user may now."""
        if identity != self.identity:
            self.identity = identity
            self._guest.changed(identity)

    def end(self, reason: str) -> None:
        """The user has to go."""
        self.leave()
        self._guest.ended(reason)


class Visits:
    """The visits of a node. `begun` and `over` are what has happened since somebody asked."""

    def __init__(self, verify: Verify, clock: Clock) -> None:
        self._verify = verify
        self._clock = clock
        self._of_user: dict[str, dict[Visit, None]] = {}
        self._turns = 0  # how often standings have changed
        self._begun: dict[UUID, Visit] = {}
        self._over: set[UUID] = set()

    async def enter(
        self, credentials: Credentials, workspace: str, guest: Guest, *, before: Visit | None = None
    ) -> Visit:
        """Begin a visit, or go on with the one `before`, if the token is of the same user. Raises what `Verify`
        raises."""
        turn, identity = self._turns, await self._verify(credentials, workspace)
        while turn != self._turns:  # what changed meanwhile may concern them, and nobody would ask again
            turn, identity = self._turns, await self._verify(credentials, workspace)
        if before is not None and before.identity.user_id == identity.user_id:
            visit = Visit(self, credentials, identity, guest, before.began, before.id)
            before.leave()
        else:
            visit = Visit(self, credentials, identity, guest, self._clock.now(), uuid4())
        self._of_user.setdefault(identity.user_id, {})[visit] = None
        self._begun[visit.id] = visit
        self._over.discard(visit.id)
        return visit

    def forget(self, visit: Visit) -> None:
        """It is over. Nothing happens the second time."""
        visits = self._of_user.get(visit.identity.user_id, {})
        if visit in visits:
            del visits[visit]
            if not visits:
                del self._of_user[visit.identity.user_id]
            if self._begun.pop(visit.id, None) is None:
                self._over.add(visit.id)

    def all(self) -> list[Visit]:
        """Everybody who is here."""
        return [visit for visits in self._of_user.values() for visit in visits]

    def take_news(self) -> tuple[list[Visit], set[UUID]]:
        """Which visits have begun and which are over since the last time."""
        begun, over = list(self._begun.values()), self._over
        self._begun, self._over = {}, set()
        return begun, over

    def retell(self, begun: Collection[Visit], over: Collection[UUID]) -> None:
        """These news did not arrive: they are told again the next time."""
        here = set(self.all())
        self._begun = {visit.id: visit for visit in begun if visit in here} | self._begun
        self._over |= set(over) | {visit.id for visit in begun if visit not in here}

    async def ask_again(self, users: Collection[str]) -> set[str]:
        """The standing of these users has changed. Returns those of whom nobody could say: ask again later."""
        self._turns += 1
        unknown = set()
        for visit in self._of(users):
            try:
                visit.goes_on(await self._verify(visit.credentials, visit.identity.workspace))
            except (TokenRefused, NotAllowed) as refused:
                log.info("visit ended", user=visit.identity.user_id, visit=str(visit.id), reason=str(refused))
                visit.end(str(refused))
            except IdentityUnavailable:
                unknown.add(visit.identity.user_id)
        return unknown

    def end(self, visits: Collection[UUID], reason: str) -> None:
        """End these, whoever they are."""
        for visit in self.all():
            if visit.id in visits:
                visit.end(reason)

    def _of(self, users: Collection[str]) -> list[Visit]:
        found = [visit for user in users for visit in self._of_user.get(user, ())]
        agents = [visit for visit in self.all() if visit.identity.acting_for in users]
        return [*found, *agents]
