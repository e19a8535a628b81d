"""Who is here, on which node, and with which devices people come: written in batches by nodes, read by whoever asks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from storage.database import Database
from storage.people import changing
from storage.tables import devices, logins, tokens, visits

# A node beats every few seconds; one that has not for so long is dead, and its visits are over.
DEAD_AFTER: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class VisitRow:
    """One user on one socket. `address`: `host:port` of the peer."""

    id: UUID
    user_id: str
    role: str
    acting_for: str | None
    device_id: str | None
    dialect: str
    address: str
    user_agent: str | None
    token_id: str | None
    login_id: UUID | None
    began_at: datetime


@dataclass(frozen=True, slots=True)
class Sighting:
    """Somebody was here, with a device or without. `token_expires_at`: of the token with that id.

    `has_synced`: not only asked for something, but read what is new.
    """

    user_id: str
    role: str
    acting_for: str | None
    device_id: str | None
    platform: str | None
    user_agent: str | None
    public_key: str | None
    address: str
    token_id: str | None
    token_expires_at: datetime | None
    login_id: UUID | None
    has_synced: bool


@dataclass(frozen=True, slots=True)
class Device:
    """A device of a user; everything but the times is what it said of itself."""

    user_id: str
    id: str
    platform: str | None
    user_agent: str | None
    public_key: str | None
    address: str
    first_seen_at: datetime
    last_seen_at: datetime
    last_sync_at: datetime | None
    revoked_at: datetime | None


class Visitors:
    """Every method raises `StoreUnavailable` when there is no answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def beat(self, node_id: UUID) -> None:
        """The node is alive."""
        async with self._database.directory("say that this node is alive") as connection:
            await connection.execute(visits.BEAT, node_id)

    async def leave(self, node_id: UUID) -> None:
        """The node stops: its visits are over."""
        async with self._database.directory("say that this node stops") as connection:
            await connection.execute(visits.LEAVE, node_id)
            await connection.execute(visits.FORGET_NODES)

    async def write(
        self,
        workspace_id: int,
        node_id: UUID,
        begun: Sequence[VisitRow],
        over: Collection[UUID],
        sightings: Sequence[Sighting],
        now: datetime,
    ) -> None:
        """What happened in a workspace since the last time."""
        async with self._database.session("write who is here", workspace_id) as connection, connection.transaction():
            if over:
                await connection.execute(visits.ERASE, workspace_id, list(over))
            if begun:
                await connection.execute(visits.ERASE_OF_THE_DEAD, workspace_id, DEAD_AFTER)
                await connection.execute(visits.WRITE, workspace_id, node_id, *_columns(begun, VisitRow.__slots__))
            for statement, rows, names in _by_statement(sightings):
                await connection.execute(statement, workspace_id, *_columns(rows, names), now)

    async def visits(self, workspace_id: int, user_id: str | None, limit: int) -> list[VisitRow]:
        """Live sockets of all nodes; of one user and the agents that act for them, or of all."""
        async with self._database.session("list who is here", workspace_id) as connection:
            if user_id is None:
                rows = await connection.fetch(visits.OF_ALL, workspace_id, DEAD_AFTER, limit)
            else:
                rows = await connection.fetch(visits.OF_USER, workspace_id, DEAD_AFTER, limit, user_id)
        return [VisitRow(*row) for row in rows]

    async def devices(self, workspace_id: int, user_id: str | None, limit: int) -> list[Device]:
        """Known devices of one user, or of all."""
        async with self._database.session("list devices", workspace_id) as connection:
            if user_id is None:
                rows = await connection.fetch(devices.OF_ALL, workspace_id, limit)
            else:
                rows = await connection.fetch(devices.OF_USER, workspace_id, limit, user_id)
        return [Device(*row) for row in rows]

    async def owner_of(self, workspace_id: int, visit_id: UUID) -> str | None:
        """Whose visit it is."""
        async with self._database.session("look up a visit", workspace_id) as connection:
            row = await connection.fetchrow(visits.ONE, workspace_id, visit_id)
        return None if row is None else row["user_id"]

    async def end_visit(self, workspace_id: int, visit_id: UUID, now: datetime) -> bool:
        """End a visit, and the login or the token it came with. False: there is none."""
        async with changing(self._database, "end a visit", workspace_id, visit_id) as (connection, told):
            row = await connection.fetchrow(visits.ONE, workspace_id, visit_id)
            if row is None:
                return False
            told.append(row["user_id"])
            if row["login_id"] is not None:
                await connection.execute(logins.END, workspace_id, row["login_id"], now, "session ended")
            elif row["token_id"] is not None:
                await connection.execute(tokens.REVOKE, workspace_id, row["token_id"], now)
        return True


_USER: Final = ("user_id", "device_id", "has_synced")
_DEVICE: Final = (
    "user_id",
    "device_id",
    "platform",
    "user_agent",
    "public_key",
    "address",
    "token_id",
    "login_id",
    "has_synced",
)
_TOKEN: Final = ("token_id", "user_id", "role", "acting_for", "device_id", "token_expires_at")


def _by_statement(sightings: Sequence[Sighting]) -> list[tuple[str, Sequence[Sighting], tuple[str, ...]]]:
    """What each statement is given: rows in one order, so that two nodes never wait for each other in a circle."""
    everybody = sorted(sightings, key=lambda seen: (seen.user_id, seen.device_id or ""))
    with_device = [seen for seen in everybody if seen.device_id is not None]
    with_token = [seen for seen in everybody if seen.token_id is not None]
    wanted = (
        (devices.SEE_USERS, everybody, _USER),
        (devices.SEE, with_device, _DEVICE),
        (tokens.USE, sorted(with_token, key=lambda seen: seen.token_id or ""), _TOKEN),
    )
    return [one for one in wanted if one[1]]


def _columns(rows: Sequence[object], names: Sequence[str]) -> list[list[object]]:
    return [[getattr(row, name) for row in rows] for name in names]
