"""Who is here: every live socket of this node with the user behind it, so that what becomes of somebody reaches them.

A visit is asked about again when its user's standing changes: then it goes on with another role, or ends.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, TypeAlias
from uuid import UUID, uuid4

import structlog

from server.addresses import host_of
from server.audit import Note, Noting, unheard
from server.auth import Credentials, IdentityUnavailable, NotAllowed, TokenRefused, Verify
from server.clock import Clock
from server.permissions import Identity

log = structlog.get_logger()

_MAX_SEEN: Final = 10_000  # between two turns of who writes them down; more are forgotten


AfterFailure: TypeAlias = Callable[[str], Awaitable[None]]  # the host


async def _at_once(_host: str) -> None: ...


class Conduct(Protocol):
    """What is held against users; see `server.rates`. `edits_together`: how many are few enough to be counted late."""

    edits_together: int

    def offended(self, who: Identity) -> None:
        """A socket of theirs was closed for what it sent."""

    def edited(self, who: Identity, count: int) -> float:
        """So many edits of theirs have come. Seconds until what they owe is made up for."""

    async def after_offences(self, who: Identity) -> None:
        """Return when a further one may be served. Raises `IdentityUnavailable`."""


@dataclass(frozen=True, slots=True)
class Guest:
    """The door's side of a visit. `changed` hears what the user may from now on, `ended` why they have to go."""

    dialect: str
    changed: Callable[[Identity], None]
    ended: Callable[[str], None]


class Visit:
    """One user on one socket, from a good token on. `id` and `began` outlive the token."""

    __slots__ = ("_edits", "_guest", "_visits", "began", "credentials", "dialect", "id", "identity")

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
        self._guest: Guest | None = guest
        self._edits = 0  # that are not counted yet
        self.dialect = guest.dialect  # which door it came by
        self.credentials = credentials
        self.identity = identity
        self.began = began
        self.id = visit_id

    def leave(self) -> None:
        """The socket, or the user's part of it, is gone, and is let go of: it holds the visit too."""
        self._guest = None
        self._visits.forget(self)

    def offended(self) -> None:
        """Its socket is closed for what it sent."""
        if self._visits.conduct is not None:
            self._visits.conduct.offended(self.identity)

    def refused(self, reason: str) -> None:
        """Something that came by its socket was not taken; `reason` is one of a few words, never content."""
        self._visits.note_refusal(self, reason)

    def edited(self, count: int) -> float:
        """So many edits have come by its socket. For how many seconds it has to be slowed down, 0 if it has not; a
        `count` of 0 only asks."""
        conduct = self._visits.conduct
        if conduct is None:
            return 0.0
        self._edits += count
        if count and self._edits < conduct.edits_together:
            return 0.0
        count, self._edits = self._edits, 0
        return conduct.edited(self.identity, count)

    def goes_on(self, identity: Identity) -> None:
        """With what the user may now."""
        if identity != self.identity and self._guest is not None:
            self.identity = identity
            self._guest.changed(identity)
            self._visits.changed(self)

    def end(self, reason: str) -> None:
        """The user has to go."""
        guest = self._guest
        self.leave()
        if guest is not None:
            guest.ended(reason)


@dataclass(frozen=True, slots=True)
class Sight:
    """Somebody was seen. `has_synced`: they read what is new, or were there while it came."""

    credentials: Credentials
    identity: Identity
    has_synced: bool


@dataclass(frozen=True, slots=True)
class News:
    """What has happened in a workspace since somebody asked."""

    begun: list[Visit] = field(default_factory=list)
    over: list[Visit] = field(default_factory=list)
    seen: list[Sight] = field(default_factory=list)


class Visits:
    """The visits of a node, and news of them for whoever writes them down. `note` hears of each that begins, and of
    what was refused; `after_failure` takes as long as who came with a bad token waits for the answer. `max_sockets`: of
    one user · `max_workspace_sockets`: of all users of a workspace, 0 for any · `conduct`: whose next socket has to
    wait."""

    def __init__(
        self,
        verify: Verify,
        clock: Clock,
        note: Noting = unheard,
        after_failure: AfterFailure = _at_once,
        max_sockets: int = 1_000,
        max_workspace_sockets: int = 0,
        conduct: Conduct | None = None,
    ) -> None:
        self.conduct = conduct
        self._verify = verify
        self._max_workspace_sockets = max_workspace_sockets
        self._sockets: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by workspace: visits by address
        self._max_sockets = max_sockets
        self._after_failure = after_failure
        self._note = note
        self._clock = clock
        self._of_user: dict[str, dict[Visit, None]] = {}
        self._turns = 0  # how often standings have changed
        self._begun: dict[UUID, Visit] = {}
        self._over: dict[UUID, Visit] = {}
        self._seen: dict[tuple[str, str, str | None], Sight] = {}

    async def enter(
        self, credentials: Credentials, workspace: str, guest: Guest, *, before: Visit | None = None
    ) -> Visit:
        """Begin a visit, or go on with the one `before`, if the token is of the same user. Raises what `Verify`
        raises."""
        try:
            turn, identity = self._turns, await self._verify(credentials, workspace)
        except (TokenRefused, NotAllowed):
            await self._after_failure(host_of(credentials.address))
            raise
        if before is None and self.conduct is not None:
            await self.conduct.after_offences(identity)
        while turn != self._turns:  # what changed meanwhile may concern them, and nobody would ask again
            turn, identity = self._turns, await self._verify(credentials, workspace)
        if before is None:
            self._check_count(identity, credentials)
        if before is not None and before.identity.user_id == identity.user_id:
            visit = Visit(self, credentials, identity, guest, before.began, before.id)
            before.leave()
        else:
            visit = Visit(self, credentials, identity, guest, self._clock.now(), uuid4())
            role = {"role": identity.role}
            self._note(Note.of(identity.workspace, "connect", guest.dialect, identity, credentials, detail=role))
        self._of_user.setdefault(identity.user_id, {})[visit] = None
        self._sockets[identity.workspace][credentials.address] += 1
        self._begun[visit.id] = visit
        self._over.pop(visit.id, None)
        self.saw(credentials, identity, has_synced=True)
        return visit

    def _check_count(self, identity: Identity, credentials: Credentials) -> None:
        """A socket may carry many visits, each with the socket's address. Raises `IdentityUnavailable`."""
        here: Collection[str] = self._sockets.get(identity.workspace, ())
        if 0 < self._max_workspace_sockets <= len(here) and credentials.address not in here:
            raise IdentityUnavailable(f"{identity.workspace} has {len(here)} sockets open, as many as it may")
        visits = self._of_user.get(identity.user_id, ())
        if len(visits) >= self._max_sockets:
            sockets = {visit.credentials.address for visit in visits if visit.identity.workspace == identity.workspace}
            if len(sockets) >= self._max_sockets and credentials.address not in sockets:
                raise IdentityUnavailable(f"{identity.user_id} has {len(sockets)} sockets open, as many as anybody may")

    def forget(self, visit: Visit) -> None:
        """It is over. Nothing happens the second time."""
        visits = self._of_user.get(visit.identity.user_id, {})
        if visit in visits:
            del visits[visit]
            if not visits:
                del self._of_user[visit.identity.user_id]
            self._forget_socket(visit.identity.workspace, visit.credentials.address)
            self._begun.pop(visit.id, None)
            self._over[visit.id] = visit
            self.saw(visit.credentials, visit.identity, has_synced=True)

    def _forget_socket(self, workspace: str, address: str) -> None:
        sockets = self._sockets[workspace]
        sockets[address] -= 1
        if not sockets[address]:
            del sockets[address]
            if not sockets:
                del self._sockets[workspace]

    def note_refusal(self, visit: Visit, reason: str) -> None:
        """For the audit log: a row a user, device, address and reason, whatever the issue, so that they stay few."""
        said = {"reason": reason}
        who, came = visit.identity, visit.credentials
        self._note(Note.of(who.workspace, "message", visit.dialect, who, came, is_refused=True, detail=said))

    def changed(self, visit: Visit) -> None:
        """Its user may something else."""
        self._begun[visit.id] = visit

    def saw(self, credentials: Credentials, identity: Identity, *, has_synced: bool) -> None:
        """Somebody was here, if only with a request."""
        key = (identity.workspace, identity.user_id, identity.device_id)
        if key in self._seen or len(self._seen) < _MAX_SEEN:
            before = self._seen.get(key)
            has_synced = has_synced or (before is not None and before.has_synced)
            self._seen[key] = Sight(credentials, identity, has_synced)

    def see_everybody(self) -> None:
        """All who are here are in sync still."""
        for visit in self.all():
            self.saw(visit.credentials, visit.identity, has_synced=True)

    def all(self) -> list[Visit]:
        """Everybody who is here."""
        return [visit for visits in self._of_user.values() for visit in visits]

    def take_news(self) -> dict[str, News]:
        """By workspace."""
        news: defaultdict[str, News] = defaultdict(News)
        for visit in self._begun.values():
            news[visit.identity.workspace].begun.append(visit)
        for visit in self._over.values():
            news[visit.identity.workspace].over.append(visit)
        for sight in self._seen.values():
            news[sight.identity.workspace].seen.append(sight)
        self._begun, self._over, self._seen = {}, {}, {}
        return dict(news)

    def retell(self, news: Mapping[str, News]) -> None:
        """These did not arrive: they are told again the next time. Sightings are not worth it."""
        here = {visit.id: visit for visit in self.all()}
        for one in news.values():
            for visit in one.begun:
                if visit.id in here:
                    self._begun.setdefault(visit.id, here[visit.id])
                else:
                    self._over[visit.id] = visit
            self._over.update({visit.id: visit for visit in one.over if visit.id not in here})

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
