"""The real SDK in virtual time: its store in the loop's own thread, its socket one end of a simulated link."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from random import Random
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosedError

from tests.simulation.network import Link

T = TypeVar("T")


class Inline(Executor):
    """Runs what it is given at once: a thread of the store has no place in virtual time."""

    def __init__(self, **options: object) -> None:
        """Whatever a pool of threads is told."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """See `Executor.submit`."""
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is the caller's, as in a pool
            done.set_exception(error)
        return done


class Socket:
    """The client's end of a link, as far as the SDK uses `websockets`."""

    def __init__(self, link: Link) -> None:
        self.close_code: int | None = None
        self.close_reason = ""
        self._link = link
        self._came: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._closed = asyncio.Event()

    def hears(self, frame: bytes) -> None:
        """For the network: a frame came through."""
        self._came.put_nowait(frame)

    def ended(self, code: int) -> None:
        """For the network: the link is gone."""
        if self.close_code is None:
            self.close_code = code
            self._closed.set()
            self._came.put_nowait(None)

    async def send(self, message: bytes) -> None:
        """See `ClientConnection.send`."""
        if self.close_code is not None:
            raise ConnectionClosedError(None, None)
        self._link.say(message)

    async def recv(self) -> bytes:
        """See `ClientConnection.recv`."""
        message = await self._came.get()
        if message is None:
            self._came.put_nowait(None)
            raise ConnectionClosedError(None, None)
        return message

    async def close(self) -> None:
        """See `ClientConnection.close`, without its handshake."""
        if self.close_code is None:
            self._link.cut()
            self.ended(1000)

    async def wait_closed(self) -> None:
        """See `ClientConnection.wait_closed`."""
        await self._closed.wait()


def token_of(user: str) -> str:
    """What the simulated node takes for a token of `user`: its claims are as in a real one."""
    claims = base64.urlsafe_b64encode(json.dumps({"sub": user}).encode()).rstrip(b"=")
    return f"e30.{claims.decode()}.unsigned"


@contextmanager
def simulated(seed: int, dial: Callable[[str], Awaitable[Socket]]) -> Iterator[None]:
    """Let the SDK run in virtual time. `dial` connects a device by its name, or raises `OSError`."""
    chance = Random(seed)

    async def connect(url: str, **options: object) -> Socket:
        return await dial(str(urlsplit(url).hostname))

    class Drawn:
        """In place of `secrets`, so that a seed is a run."""

        randbits = chance.getrandbits

    with pytest.MonkeyPatch.context() as replace:
        replace.setattr("syncline.caller.connect", connect)
        replace.setattr("syncline.disk.ThreadPoolExecutor", Inline)
        replace.setattr("syncline.identity.secrets", Drawn)
        replace.setattr("syncline.identity.uuid4", lambda: uuid.UUID(int=chance.getrandbits(128), version=4))
        yield
