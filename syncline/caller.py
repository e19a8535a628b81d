"""Keeps a connection to the server for as long as there is a point in trying, and says what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from importlib import metadata
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import UUID

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from crdt.native import SUBPROTOCOL, UNAUTHORIZED, ClientFrame
from syncline.backoff import Backoff
from syncline.link import House, Link
from syncline.local_store import LocalStore
from syncline.status import State

CONNECT_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 2.0
MAX_FRAME_BYTES: Final = 256 << 20  # a page that holds one big issue
FRAMES_AHEAD: Final = 16  # read from the socket before they are asked for

_BAD_TOKEN: Final = 4401
_FINAL_CODES: Final = frozenset({4400, 4403, 4404, 4413})  # until something has changed
_FINAL_STATUSES: Final = frozenset({400, 403, 404, 405})  # of the handshake


class Verdict(Enum):
    """Whether there is a point in coming back."""

    LATER = auto()
    WITH_ANOTHER_TOKEN = auto()
    NEVER = auto()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended. `was_welcome`: it had begun · `retry_after`: seconds, where the server said so."""

    verdict: Verdict
    reason: str
    was_welcome: bool = False
    retry_after: int = 0


class Caller:
    """Calls the server, again and again. `run` is one task."""

    def __init__(
        self, url: str, fetch_token: Callable[[], Awaitable[str]], device_id: str, house: House, backoff: Backoff
    ) -> None:
        """`url`: of the workspace's sync endpoint, see `sync_url`."""
        self._url = url
        self._fetch_token = fetch_token
        self._device_id = device_id
        self._house = house
        self._backoff = backoff
        self._told = asyncio.Event()
        self._link: Link | None = None
        self._refused_token: str | None = None
        self._refused_why = ""

    def post(self, frame: ClientFrame) -> None:
        """Send, if there is a connection. What matters is sent again by the next one."""
        if self._link is not None:
            self._link.post(frame)

    async def open(self, issue_id: UUID) -> None:
        """Be in an issue, if there is a connection; the next one opens it anyway."""
        if self._link is not None:
            await self._link.open(issue_id)

    def renew(self) -> None:
        """There may be another token: use it, on the present connection if there is one."""
        if self._link is not None:
            self._link.renewal.ask()
        self._told.set()

    def try_now(self) -> None:
        """Do not wait any longer; try again even after an error, and with a token that was refused."""
        self._refused_token = None
        self._told.set()

    async def run(self) -> None:
        """Until cancelled. Raises StoreFailed."""
        while True:
            self._told.clear()
            ending = await self._call()
            self._house.desk.forget_presence()
            if ending.was_welcome:
                self._backoff.reset()
            await self._stay_away(ending)

    async def _call(self) -> Ending:
        try:
            token = await self._fetch_token()
        except Exception as error:  # noqa: BLE001 - whatever the program's own function raises
            return Ending(Verdict.LATER, f"no token: {error}")
        if token == self._refused_token:
            return Ending(Verdict.WITH_ANOTHER_TOKEN, self._refused_why)
        self._house.status.enter(State.CONNECTING, self._house.status.now.reason)
        return await self._connected(token)

    async def _connected(self, token: str) -> Ending:
        try:
            socket = await connect(
                self._url,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                compression=None,
                max_size=MAX_FRAME_BYTES,
                max_queue=FRAMES_AHEAD,
                open_timeout=CONNECT_SECONDS,
                close_timeout=CLOSE_SECONDS,
                user_agent_header=None,
            )
        except InvalidStatus as refused:
            status = refused.response.status_code
            final = status in _FINAL_STATUSES
            return Ending(Verdict.NEVER if final else Verdict.LATER, f"the server answers with HTTP {status}")
        except ConnectionRefusedError:
            return Ending(Verdict.LATER, f"nobody listens at {urlsplit(self._url).netloc}")
        except (OSError, TimeoutError, InvalidHandshake) as error:
            return Ending(Verdict.LATER, str(error) or "no answer in time")
        except InvalidURI as error:
            return Ending(Verdict.NEVER, str(error))
        return await self._linked(socket, token)

    async def _linked(self, socket: ClientConnection, token: str) -> Ending:
        feed = await self._house.disk.call(LocalStore.feed)
        link = Link(socket, self._house, self._backoff, token, self._fetch_token)
        self._link = link
        try:
            await link.run(client_name(), self._device_id, feed)
        finally:
            self._link = None
        ending = _ending(link, socket)
        is_refused = ending.verdict is Verdict.WITH_ANOTHER_TOKEN
        self._refused_token, self._refused_why = (link.renewal.token, ending.reason) if is_refused else (None, "")
        return ending

    async def _stay_away(self, ending: Ending) -> None:
        match ending.verdict:
            case Verdict.WITH_ANOTHER_TOKEN if ending.was_welcome:
                return  # it ran out; there may be another one by now
            case Verdict.WITH_ANOTHER_TOKEN:
                self._house.status.enter(State.NEEDS_AUTH, ending.reason)
                await _within(self._told.wait(), self._backoff.next_seconds())  # a function may have one by then
            case Verdict.NEVER:
                self._house.status.enter(State.ERROR, ending.reason)
                await self._told.wait()
            case Verdict.LATER:
                self._house.status.enter(State.OFFLINE, ending.reason)
                seconds = max(self._backoff.next_seconds(), self._backoff.at_least(ending.retry_after))
                await _within(self._told.wait(), seconds)


def sync_url(url: str, workspace: str) -> str:
    """http(s)://host[/path] → ws(s)://host[/path]/v1/workspaces/{workspace}/sync. Raises ValueError."""
    parts = urlsplit(url)
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    if parts.scheme not in schemes or not parts.netloc:
        raise ValueError(f"{url} is not an address such as http://127.0.0.1:8080")
    path = f"{parts.path.rstrip('/')}/v1/workspaces/{quote(workspace, safe='')}/sync"
    return urlunsplit((schemes[parts.scheme], parts.netloc, path, "", ""))


def client_name() -> str:
    """Program and version, for the server's logs."""
    try:
        return f"syncline-python/{metadata.version('syncline')}"
    except metadata.PackageNotFoundError:
        return "syncline-python"


def _ending(link: Link, socket: ClientConnection) -> Ending:
    code = socket.close_code
    reason = socket.close_reason or "the connection was lost"
    if link.refusal is not None:
        reason = f"{link.refusal.code}: {link.refusal.message}"
    if code == _BAD_TOKEN or (link.refusal is not None and link.refusal.code == UNAUTHORIZED):
        return Ending(Verdict.WITH_ANOTHER_TOKEN, reason, link.was_welcome)
    retry_after = 0 if link.refusal is None else link.refusal.retry_after or 0
    return Ending(Verdict.NEVER if code in _FINAL_CODES else Verdict.LATER, reason, link.was_welcome, retry_after)


async def _within(work: Awaitable[object], seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(work, seconds)
