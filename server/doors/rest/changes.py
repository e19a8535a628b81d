"""`GET …/changes`: the feed of a workspace for those without sockets, with a long poll."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlencode
from uuid import UUID

from crdt.native import CONFLICTS, FLOOR, UPDATES, ReloadPoint
from crdt.native_entries import Entry
from server.doors.rest.changes_models import RELOAD, Change, ChangesPage, ChangesQuery, Mode
from server.doors.rest.operations import Answer, Call, Nothing, Operation, Reply, Served
from server.doors.rest.paths import InWorkspace
from server.doors.rest.polls import PollLimits, Polls
from server.doors.rest.problems import INVALID, OUT_OF_REACH, FieldError, Problem
from server.feed import Feed
from server.feed_pages import LogPage, OutOfReach
from server.feeds import Feeds
from server.permissions import may_read
from storage.store import Workspace

CHANGES: Final = Operation(
    method="GET",
    path="/v1/workspaces/{workspace}/changes",
    id="readChanges",
    tag="sync",
    summary="What has changed in the workspace since a cursor",
    description="The feed of the native protocol for those without sockets: docs/protocol.md. With `wait`, an answer "
    "without changes means that nothing came meanwhile.",
    place=InWorkspace,
    query=ChangesQuery,
    body=Nothing,
    needs=may_read,
    syncs=True,
    answers={HTTPStatus.OK: Answer("A page.", ChangesPage)},
    problems=(OUT_OF_REACH,),
)


class Changes:
    """What answers it. One instance serves all requests."""

    def __init__(self, feeds: Feeds, limits: PollLimits | None = None) -> None:
        self._feeds = feeds
        self._polls = Polls(limits or PollLimits())

    def operations(self) -> list[Served]:
        """What is served here."""
        stated = f"{CHANGES.description} It waits at most {self._polls.longest_seconds:g} seconds."
        return [replace(CHANGES, description=stated).by(self.read)]

    async def read(self, call: Call[InWorkspace, ChangesQuery, Nothing]) -> Reply:
        """A page of the log, or of a reload."""
        asked, slug = call.query, call.workspace.slug
        _check(asked)
        since = 0 if asked.since is None and asked.mode is Mode.CONFLICTS else asked.since
        async with self._feeds.following(call.workspace, asked.mode) as feed:
            try:
                if since is None:
                    page = await self._reload(feed, slug, asked)
                else:
                    page = await self._log(feed, since, call)
            except OutOfReach as out:
                raise _gone(await feed.look(), slug, asked, out.reason) from None
        return Reply(page, headers={"Cache-Control": "no-store"}, is_partial=True)

    async def _log(self, feed: Feed, since: int, call: Call[InWorkspace, ChangesQuery, Nothing]) -> ChangesPage:
        asked, slug = call.query, call.workspace.slug
        if asked.epoch not in (None, feed.epoch):
            raise OutOfReach("epoch")
        page = await self._poll(feed, since, call)
        return ChangesPage(
            epoch=feed.epoch,
            from_seq=page.from_seq,
            to_seq=page.to_seq,
            head=page.head,
            next=_address(slug, asked.mode, since=str(page.to_seq), epoch=str(feed.epoch)),
            changes=_changes(page.entries, asked.mode),
        )

    async def _poll(self, feed: Feed, since: int, call: Call[InWorkspace, ChangesQuery, Nothing]) -> LogPage:
        asked, client = call.query, call.request.client
        page = await feed.read(since, asked.limit)
        if page.entries or not asked.wait:
            return page
        try:
            with self._polls.one(call.identity, client.host if client else ""):
                async with asyncio.timeout(min(asked.wait, self._polls.longest_seconds)):
                    await feed.until_beyond(since)
        except TimeoutError:
            return page
        return await feed.read(since, asked.limit)

    async def _reload(self, feed: Feed, slug: str, asked: ChangesQuery) -> ChangesPage:
        now = await feed.look()
        point = ReloadPoint(now.head, 0, None) if asked.reload is None else _reload_point(asked.reload)
        if asked.epoch not in (None, now.epoch):
            raise OutOfReach("epoch")
        page = await feed.reload_page(point.base, point.since, point.after)
        if page.until is None:
            following = _address(slug, asked.mode, since=str(point.base), epoch=str(now.epoch))
        else:
            further = ReloadPoint(point.base, point.since, page.until)
            following = _address(slug, asked.mode, reload=_written(further), epoch=str(now.epoch))
        return ChangesPage(
            epoch=now.epoch,
            from_seq=None,
            to_seq=None,
            head=now.head,
            until=page.until,
            next=following,
            changes=_changes(page.entries, asked.mode),
        )


def _check(asked: ChangesQuery) -> None:
    if asked.reload is None:
        return
    if asked.mode is Mode.CONFLICTS:
        wrong = "is nothing of conflicts; they begin with since=0"
    elif asked.since is not None:
        wrong = "and since exclude each other"
    else:
        return
    raise Problem(INVALID, errors=[FieldError("reload", wrong)])


def _changes(entries: Sequence[Entry], mode: Mode) -> list[Change]:
    return [Change.of(entry, mode) for entry in entries]


def _gone(now: Workspace, slug: str, asked: ChangesQuery, reason: str) -> Problem:
    """The document says which reload helps."""
    reload = reload_address(now, slug, asked.mode, reason, asked.since)
    more = {"reason": reason, "epoch": str(now.epoch), "head": now.head, "floor": now.floor, "reload": reload}
    return Problem(OUT_OF_REACH, more=more)


def reload_address(now: Workspace, slug: str, mode: str, reason: str, cursor: int | None) -> str:
    """Where whoever is out of reach, for that reason, goes on."""
    if mode == CONFLICTS:
        return _address(slug, mode, since="0", epoch=str(now.epoch))
    since = cursor if reason == FLOOR and cursor is not None else 0
    return _address(slug, mode, reload=_written(ReloadPoint(now.head, since, None)), epoch=str(now.epoch))


def _address(slug: str, mode: str, **parameters: str) -> str:
    chosen = parameters if mode == UPDATES else parameters | {"mode": str(mode)}
    return f"{CHANGES.path.replace('{workspace}', quote(slug, safe=''))}?{urlencode(chosen)}"


def _written(point: ReloadPoint) -> str:
    return f"{point.base}.{point.since}" + ("" if point.after is None else f".{point.after}")


def _reload_point(text: str) -> ReloadPoint:
    """Of what fits the pattern."""
    found = re.fullmatch(RELOAD, text)
    assert found is not None
    base, since, after = found.groups()
    return ReloadPoint(int(base), int(since), None if after is None else UUID(after))
