"""`GET /v1/workspaces/{workspace}/changes`: the feed of a workspace for those without sockets, with a long poll."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlencode
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from crdt.encoding import MAX_SAFE_INTEGER
from crdt.native import CONFLICTS, FLOOR, ROWS, UPDATES, ReloadPoint
from crdt.native_entries import CONFLICT, ROW, SNAPSHOT, TOMBSTONE, Entry, read_conflict, read_row
from server.auth import IdentityUnavailable, NotAllowed, TokenRefused, Verify
from server.doors.credentials import presented_by
from server.doors.http import problem
from server.doors.rest.problems import PROBLEM_TYPE
from server.feed import Feed
from server.feed_pages import LogPage, OutOfReach
from server.feeds import Feeds
from server.rates import Rates
from storage.errors import StoreError
from storage.store import Store, Workspace

PATH: Final = "/v1/workspaces/{workspace}/changes"


@dataclass(frozen=True, slots=True)
class ChangesLimits:
    """Bounds of the endpoint. `max_polls`: requests that wait at a time; the others are answered at once."""

    max_wait_seconds: float = 60.0
    max_polls: int = 1_000


@dataclass(frozen=True, slots=True)
class ChangesServices:
    """What the endpoint works with."""

    store: Store
    feeds: Feeds
    verify: Verify
    rates: Rates | None = None


class _BadQuery(Exception):
    """A parameter is not what it should be; the message is for the client."""


@dataclass(frozen=True, slots=True)
class _Query:
    """The parameters of one request. `since` None: a reload, from `reload` on."""

    since: int | None
    epoch: UUID | None
    limit: int | None
    wait_seconds: float
    mode: str
    reload: ReloadPoint | None

    @classmethod
    def of(cls, request: Request, limits: ChangesLimits) -> _Query:
        """Raises `_BadQuery`."""
        given = request.query_params
        mode = given.get("mode", UPDATES)
        if mode not in (UPDATES, ROWS, CONFLICTS):
            raise _BadQuery("mode is updates, rows or conflicts")
        if mode == CONFLICTS and "reload" in given:
            raise _BadQuery("conflicts have no reload; they begin with since=0")
        if "since" in given and "reload" in given:
            raise _BadQuery("since and reload exclude each other")
        return cls(
            since=_number(given["since"], "since") if "since" in given else 0 if mode == CONFLICTS else None,
            epoch=_uuid(given["epoch"], "epoch") if "epoch" in given else None,
            limit=max(1, _number(given["limit"], "limit")) if "limit" in given else None,
            wait_seconds=min(float(_number(given.get("wait", "0"), "wait")), limits.max_wait_seconds),
            mode=mode,
            reload=_reload_point(given["reload"]) if "reload" in given else None,
        )


class Changes:
    """The endpoint. One instance serves all requests."""

    def __init__(self, services: ChangesServices, limits: ChangesLimits) -> None:
        self._services = services
        self._limits = limits
        self._polls = 0

    async def answer(self, request: Request) -> Response:
        """A page of the feed, or a problem document."""
        slug = request.path_params["workspace"]
        try:
            caller = await self._services.verify(presented_by(request), slug)
            quota = None if self._services.rates is None else self._services.rates.ask(caller)
            if quota is not None and quota.wait:
                return problem(HTTPStatus.TOO_MANY_REQUESTS, "too many requests", quota.headers())
            query = _Query.of(request, self._limits)
        except TokenRefused as refused:
            return problem(HTTPStatus.UNAUTHORIZED, str(refused), {"WWW-Authenticate": "Bearer"})
        except _BadQuery as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        except NotAllowed as refused:
            return problem(HTTPStatus.FORBIDDEN, str(refused))
        except IdentityUnavailable:
            return _unavailable()
        try:
            return await self._read(slug, query)
        except (StoreError, TimeoutError):
            return _unavailable()

    async def _read(self, slug: str, query: _Query) -> Response:
        workspace = await self._services.store.workspace(slug)
        if workspace is None:
            return problem(HTTPStatus.NOT_FOUND, "unknown workspace")
        async with self._services.feeds.following(workspace, query.mode) as feed:
            if query.since is None:
                return await self._reload(feed, slug, query)
            try:
                if query.epoch not in (None, feed.epoch):
                    raise OutOfReach("epoch")
                page = await self._poll(feed, query.since, query)
            except OutOfReach as out:
                return _gone(await feed.look(), slug, query, out.reason)
        following = _address(slug, query.mode, since=str(page.to_seq), epoch=str(feed.epoch))
        body = {"from": page.from_seq, "to": page.to_seq, "head": page.head, "next": following}
        return _page(feed.epoch, body, page.entries, query.mode)

    async def _poll(self, feed: Feed, since: int, query: _Query) -> LogPage:
        page = await feed.read(since, query.limit)
        if page.entries or not query.wait_seconds or self._polls >= self._limits.max_polls:
            return page
        self._polls += 1
        try:
            async with asyncio.timeout(query.wait_seconds):
                await feed.until_beyond(since)
        except TimeoutError:
            return page
        finally:
            self._polls -= 1
        return await feed.read(since, query.limit)

    async def _reload(self, feed: Feed, slug: str, query: _Query) -> Response:
        now = await feed.look()
        point = query.reload or ReloadPoint(now.head, 0, None)
        if query.epoch not in (None, now.epoch):
            return _gone(now, slug, query, "epoch")
        page = await feed.reload_page(point.base, point.since, point.after)
        if page.until is None:
            following = _address(slug, query.mode, since=str(point.base), epoch=str(now.epoch))
        else:
            further = ReloadPoint(point.base, point.since, page.until)
            following = _address(slug, query.mode, reload=_written(further), epoch=str(now.epoch))
        until = None if page.until is None else str(page.until)
        body = {"from": None, "to": None, "head": now.head, "until": until, "next": following}
        return _page(now.epoch, body, page.entries, query.mode)


def _unavailable() -> Response:
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "try again later", {"Retry-After": "1"})


def _page(epoch: UUID, body: Mapping[str, object], entries: Sequence[Entry], mode: str) -> Response:
    changes = [_change(entry, mode) for entry in entries]
    return JSONResponse({"epoch": str(epoch), **body, "changes": changes}, headers={"Cache-Control": "no-store"})


def _change(entry: Entry, mode: str) -> dict[str, object]:
    number = "change" if mode == CONFLICTS else "seq"
    change: dict[str, object] = {"issue": str(entry.issue), number: entry.seq}
    if entry.kind == TOMBSTONE:
        change["purged"] = True
    elif entry.kind == CONFLICT:
        change["conflict"] = read_conflict(entry.payload)
    elif entry.kind == ROW:
        change["row"] = read_row(entry.payload)
    else:
        change["snapshot" if entry.kind == SNAPSHOT else "update"] = b64encode(entry.payload).decode()
    return change


def _gone(now: Workspace, slug: str, query: _Query, reason: str) -> Response:
    """410: the log does not lead on from this cursor; the document says which reload does."""
    reload = reload_address(now, slug, query.mode, reason, query.since)
    body = {
        "type": "about:blank",
        "title": HTTPStatus.GONE.phrase,
        "status": int(HTTPStatus.GONE),
        "detail": "the log does not lead on from this cursor; reload",
        "reason": reason,
        "epoch": str(now.epoch),
        "head": now.head,
        "floor": now.floor,
        "reload": reload,
    }
    return JSONResponse(body, status_code=HTTPStatus.GONE, media_type=PROBLEM_TYPE)


def reload_address(now: Workspace, slug: str, mode: str, reason: str, cursor: int | None) -> str:
    """Where whoever is out of reach, for that reason, goes on."""
    if mode == CONFLICTS:
        return _address(slug, mode, since="0", epoch=str(now.epoch))
    since = cursor if reason == FLOOR and cursor is not None else 0
    return _address(slug, mode, reload=_written(ReloadPoint(now.head, since, None)), epoch=str(now.epoch))


def _address(slug: str, mode: str, **parameters: str) -> str:
    chosen = parameters if mode == UPDATES else parameters | {"mode": mode}
    return f"{PATH.replace('{workspace}', quote(slug, safe=''))}?{urlencode(chosen)}"


def _written(point: ReloadPoint) -> str:
    return f"{point.base}.{point.since}" + ("" if point.after is None else f".{point.after}")


def _reload_point(text: str) -> ReloadPoint:
    base, _, rest = text.partition(".")
    since, _, after = rest.partition(".")
    return ReloadPoint(_number(base, "reload"), _number(since, "reload"), _uuid(after, "reload") if after else None)


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 16 or int(text) > MAX_SAFE_INTEGER:
        raise _BadQuery(f"{name} is not a number")
    return int(text)


def _uuid(text: str, name: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _BadQuery(f"{name} is not a UUID") from None
