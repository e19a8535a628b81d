"""What the database knows of this node's visits, and what the node hears of standings that changed.

One loop does both, about once a second: what happens to somebody reaches their sockets on every node within that time,
and nothing is asked or written while anybody types.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

import structlog

from server.clock import Clock
from server.doorman import Doorman
from server.visits import News, Sight, Visit, Visits
from storage.backoff import Backoff
from storage.errors import StoreError
from storage.people import People
from storage.store import Store
from storage.visitors import Sighting, Visitors, VisitRow

log = structlog.get_logger()

_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class GuestbookLimits:
    """Seconds between two turns, two signs of life, and two notes that somebody who stays is still in sync."""

    turn_seconds: float = 1.0
    beat_seconds: float = 5.0
    sync_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class GuestbookServices:
    """What it stands on."""

    visits: Visits
    doorman: Doorman
    store: Store
    people: People
    visitors: Visitors
    clock: Clock


class Guestbook:
    """Of one node. `run` must be running."""

    def __init__(self, services: GuestbookServices, limits: GuestbookLimits) -> None:
        self._services = services
        self._limits = limits
        self._node_id = uuid4()
        self._cursor: int | None = None
        self._to_ask: set[str] = set()
        self._workspaces: dict[str, int] = {}
        self._beat_at = self._synced_at = -limits.sync_seconds

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff()
        while True:
            try:
                await self.turn()
                backoff.reset()
                pause = self._limits.turn_seconds
            except StoreError as error:
                log.warning("the guestbook is behind", reason=str(error))
                pause = max(self._limits.turn_seconds, backoff.next_seconds())
            await asyncio.sleep(pause)

    async def turn(self) -> None:
        """Hear whose standing changed, then write who came and went. Raises `StoreError`."""
        await self._hear()
        await self._beat()
        await self._write()

    async def close(self) -> None:
        """Everybody here is gone. Nothing is raised: others find out by themselves."""
        try:
            await self._services.visitors.leave(self._node_id)
        except StoreError as error:
            log.warning("the guestbook stays open", reason=str(error))

    async def _hear(self) -> None:
        visits, people = self._services.visits, self._services.people
        if self._cursor is None:
            self._cursor = await people.last_change()
            self._to_ask.update(visit.identity.user_id for visit in visits.all())  # who came before we listened
        changes = await people.changes(self._cursor, _PAGE)
        while changes:
            visits.end([change.visit_id for change in changes if change.visit_id is not None], "the session was ended")
            self._to_ask.update(change.user_id for change in changes)
            self._cursor = changes[-1].id
            changes = await people.changes(self._cursor, _PAGE) if len(changes) == _PAGE else []
        if self._services.doorman.forget_keys():
            self._to_ask.update(visit.identity.user_id for visit in visits.all())
        if self._to_ask:
            asked, self._to_ask = self._to_ask, set()
            self._to_ask |= await visits.ask_again(asked)

    async def _beat(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._beat_at >= self._limits.beat_seconds:
            await self._services.visitors.beat(self._node_id)
            self._beat_at = now
        if now - self._synced_at >= self._limits.sync_seconds:
            self._services.visits.see_everybody()
            self._synced_at = now

    async def _write(self) -> None:
        """A workspace at a time; what could not be written is told again."""
        visits, now = self._services.visits, self._services.clock.now()
        waiting = visits.take_news()
        while waiting:
            slug, news = next(iter(waiting.items()))
            try:
                await self._write_of(slug, news, now)
            except StoreError:
                visits.retell(waiting)
                raise
            del waiting[slug]

    async def _write_of(self, slug: str, news: News, now: datetime) -> None:
        workspace_id = await self._workspace_id(slug)
        if workspace_id is not None:
            rows = [_row(visit) for visit in news.begun]
            over = [visit.id for visit in news.over]
            seen = [_sighting(sight) for sight in news.seen]
            await self._services.visitors.write(workspace_id, self._node_id, rows, over, seen, now)

    async def _workspace_id(self, slug: str) -> int | None:
        if slug not in self._workspaces:
            found = await self._services.store.workspace(slug)
            if found is None:
                return None
            self._workspaces[slug] = found.id
        return self._workspaces[slug]


def _row(visit: Visit) -> VisitRow:
    who = visit.identity
    return VisitRow(
        id=visit.id,
        user_id=who.user_id,
        role=who.role.value,
        acting_for=who.acting_for,
        device_id=who.device_id,
        dialect=visit.dialect,
        address=visit.credentials.address,
        user_agent=visit.credentials.user_agent,
        token_id=who.token_id,
        login_id=_uuid(who.login_id),
        began_at=visit.began,
    )


def _sighting(sight: Sight) -> Sighting:
    who, client = sight.identity, sight.credentials
    return Sighting(
        user_id=who.user_id,
        role=who.role.value,
        acting_for=who.acting_for,
        device_id=who.device_id,
        platform=client.platform,
        user_agent=client.user_agent,
        public_key=client.public_key,
        address=client.address,
        token_id=who.token_id,
        token_expires_at=who.expires_at,
        login_id=_uuid(who.login_id),
        has_synced=sight.has_synced,
    )


def _uuid(text: str | None) -> UUID | None:
    """Of a login that the database has confirmed."""
    return None if text is None else UUID(text)
