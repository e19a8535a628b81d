"""Requests with a key of their client's: each is done once and always answered the same, for a day.

A request is claimed, done, and its answer kept. What it writes into issues carries a mark that is committed with the
delta, in one transaction; so whoever takes a request over, from somebody who is gone or did not get to an answer, sees
which of its edits are made, and nobody can make one twice. It does not matter where a server is killed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from asyncpg import Record

from storage.database import Database
from storage.store import Mark
from storage.tables import keyed_requests

KEPT: Final = timedelta(days=1)


class Keyed(NamedTuple):
    """Whose request: keys are a user's own in a workspace."""

    workspace_id: int
    user_id: str
    key: str


class Edited(NamedTuple):
    """What of a request is committed in one issue. `outcomes`: of its edits, in their order."""

    seq: int
    outcomes: tuple[str, ...]


class Answered(NamedTuple):
    """The answer that was given. `issue_id`: the one it tells about, where the request did not name it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    issue_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Once:
    """A request that is the caller's to do. `at`: when it first came · `made`: what of it is committed, by issue."""

    keyed: Keyed
    at: datetime
    made: Mapping[UUID, Edited] = field(default_factory=dict)

    def mark(self, outcomes: tuple[str, ...]) -> Mark:
        """What is committed with its edits of an issue."""
        return Mark(self.keyed.user_id, self.keyed.key, outcomes)


@dataclass(frozen=True, slots=True)
class Otherwise:
    """The key was used for another request."""


@dataclass(frozen=True, slots=True)
class InProgress:
    """Somebody is at it."""


Claim: TypeAlias = Once | Answered | Otherwise | InProgress


class KeyedRequests:
    """Every method raises `StoreUnavailable` when there is no answer. A claim that is not finished or given back lasts
    `claim_seconds`; ending early harms nobody, for marks decide."""

    def __init__(self, database: Database, *, claim_seconds: float = 30.0) -> None:
        self._database = database
        self._claim = timedelta(seconds=claim_seconds)

    async def claim(self, keyed: Keyed, fingerprint: bytes, issue_id: UUID | None, now: datetime) -> Claim:
        """Be the one who does it, unless somebody is or was. `issue_id`: the one it is about; its purge forgets the
        answer. A key older than `KEPT` is a new one, whether it was forgotten yet or not."""
        oldest = now - KEPT
        arguments = (*keyed, fingerprint, issue_id, now, now + self._claim, oldest)
        async with self._database.session("claim a request", keyed.workspace_id) as connection:
            claimed = await connection.fetchrow(keyed_requests.CLAIM, *arguments)
            known = None if claimed else await connection.fetchrow(keyed_requests.KNOWN, *keyed)
            if known is not None and known["at"] < oldest:
                await connection.execute(keyed_requests.FORGET_ONE, *keyed, oldest)
                claimed = await connection.fetchrow(keyed_requests.CLAIM, *arguments)
                known = None if claimed else await connection.fetchrow(keyed_requests.KNOWN, *keyed)
            if claimed is not None:
                edits = [] if claimed["is_new"] else await connection.fetch(keyed_requests.EDITS, *keyed)
                made = {row["issue_id"]: Edited(row["seq"], tuple(row["outcomes"].split(","))) for row in edits}
                return Once(keyed, claimed["at"], made)
        return _met(known, fingerprint)

    async def forget(self, workspace_id: int, now: datetime) -> int:
        """Delete what is older than `KEPT`, a bounded number; how many there were."""
        async with self._database.session("forget requests", workspace_id) as connection:
            forgotten: int = await connection.fetchval(keyed_requests.FORGET, workspace_id, now - KEPT)
        return forgotten

    async def finish(self, keyed: Keyed, answer: Answered) -> None:
        """Keep the answer; the first one counts."""
        headers = json.dumps(dict(answer.headers))
        async with self._database.session("keep an answer", keyed.workspace_id) as connection:
            await connection.execute(
                keyed_requests.FINISH, *keyed, answer.status, headers, answer.body, answer.issue_id
            )

    async def release(self, keyed: Keyed, now: datetime) -> None:
        """Give a claim back: there is no answer that would be the same the next time."""
        async with self._database.session("give a request back", keyed.workspace_id) as connection:
            await connection.execute(keyed_requests.RELEASE, *keyed, now)


def _met(known: Record | None, fingerprint: bytes) -> Claim:
    """What the row of a key that somebody else has says."""
    if known is None:
        return InProgress()  # it was forgotten just now; the next one is new
    if known["fingerprint"] != fingerprint:
        return Otherwise()
    if known["status"] is None:
        return InProgress()
    return Answered(known["status"], json.loads(known["headers"]), known["body"])
