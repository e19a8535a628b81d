"""Attackers, in a process of their own: `python -m bench.mob KIND URL` attacks the document at URL until it is ended.

They are as fast as their pace says, so that what is measured is the server and not how much of a core they take from
the driver.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from crdt import awareness
from crdt.awareness import Entry
from server.dialects import y_websocket
from tests.attacks.forging import END, garbage, number, update
from tests.server.websocket_client import BINARY, CONTINUATION, PING, RawClient

PACE_S: Final = 0.01
ATTACKERS: Final = 4
ONE_BAD_AT_THE_END: Final = 12_000  # structs, so that the update is just below what is checked on the loop

Attack = Callable[[RawClient], Awaitable[None]]


class Attacker:
    """Opens sockets to one address."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.port is not None
        self._port = parts.port
        self._path, self._query = parts.path, parts.query

    async def come(self, *, with_token: bool = True) -> RawClient:
        """A socket; without its token it will be closed."""
        query = self._query if with_token else "token=not.a.token"
        return await RawClient.open(self._port, f"{self._path}?{query}")


async def presence(client: RawClient) -> None:
    """A flood of presence: twenty states each time."""
    for clock in itertools.count(1):
        for each in range(20):
            state = b'{"cursor": %d}' % each
            client.send(y_websocket.awareness(awareness.encode([Entry(id(client) % 2**40, clock * 20 + each, state)])))
        await _pace(client)


async def questions(client: RawClient) -> None:
    """Everything there is, please; again and again."""
    while True:
        client.send(y_websocket.sync_step1(b"\x00"))
        client.send(b"\x03")
        await _pace(client)


async def pings(client: RawClient) -> None:
    """A hundred each time."""
    while True:
        for _ in range(100):
            client.send(b"x" * 100, PING)
        await _pace(client)


async def malformed(client: RawClient) -> None:
    """An update that costs to read and is bad at its end; then the socket is closed, and another comes."""
    structs = number(ONE_BAD_AT_THE_END) + number(4_242) + number(0) + garbage(1) * (ONE_BAD_AT_THE_END - 1)
    client.send(y_websocket.update(number(1) + structs + b"\x1f" + END))
    await client.close_code()


async def clock_burners(client: RawClient) -> None:
    """Garbage in the name of somebody else."""
    client.send(y_websocket.update(update(1 << 50, 0, garbage(1 << 30))))
    await client.close_code()


async def fragments(client: RawClient) -> None:
    """A message that never ends, up to the bound; then another socket."""
    client.send(bytes(2**18), BINARY, fin=False)
    while True:
        client.send(bytes(2**18), CONTINUATION, fin=False)
        await _pace(client)


async def bad_tokens(client: RawClient) -> None:
    """Who has no token is closed, and comes again."""
    await client.close_code()


async def _pace(client: RawClient) -> None:
    await asyncio.sleep(PACE_S)
    await client.writer.drain()
    with contextlib.suppress(TimeoutError):  # what is answered is read, or the server would stop answering
        await asyncio.wait_for(client.reader.read(2**20), 0.001)


KINDS: Final = MappingProxyType(
    {
        "presence": presence,
        "questions": questions,
        "pings": pings,
        "malformed": malformed,
        "clock burners": clock_burners,
        "fragments": fragments,
        "bad tokens": bad_tokens,
    }
)


async def attack(kind: str, url: str) -> None:
    """Until it is ended."""
    attacker = Attacker(url)

    async def keep_coming() -> None:
        while True:
            with contextlib.suppress(ConnectionError, TimeoutError, EOFError, asyncio.IncompleteReadError):
                client = await attacker.come(with_token=kind != "bad tokens")
                with closing(client.writer):
                    await KINDS[kind](client)
            await asyncio.sleep(PACE_S)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(ATTACKERS):
            tasks.create_task(keep_coming())


if __name__ == "__main__":
    asyncio.run(attack(sys.argv[1], sys.argv[2]))
