"""Somebody to attack who has nothing to lose: takes every request and every socket, throws away what comes, and says no
as often as the real server did. What a reader notices of attacks on this, they notice of the attackers themselves: of
what they take from the cores, the kernel and the network that all of them share.

Prints its port, then reads a JSON object a line: the `rate` at which it says no from now on, after `AT_ONCE` refusals;
0: never.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
from functools import partial
from typing import Final

import uvloop

AT_ONCE: Final = 20
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_REFUSAL: Final = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_CLOSE: Final = b"\x88\x02\x03\xf0"  # 1008


class Answers:
    """When to say no next."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.turn_to(0.0)

    def turn_to(self, rate: float) -> None:
        """From now on."""
        self._rate = rate
        self._left = AT_ONCE
        self._next = 0.0

    def say(self, transport: asyncio.Transport, answer: bytes) -> None:
        """It, and hang up, when it is time."""
        if self._rate <= 0:
            return
        if self._left > 0:
            self._left -= 1
            self._end(transport, answer)
            return
        self._next = max(self._next, self._loop.time()) + 1 / self._rate
        self._loop.call_at(self._next, partial(self._end, transport, answer))

    def _end(self, transport: asyncio.Transport, answer: bytes) -> None:
        if not transport.is_closing():
            transport.write(answer)
            transport.close()


class Sink(asyncio.Protocol):
    """One connection."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._head = b""
        self._is_socket = self._is_answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's does not derive from it

    def data_received(self, data: bytes) -> None:
        if self._is_answered:
            return
        if self._is_socket:
            self._answer(_CLOSE)
            return
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        key = _header(head, b"sec-websocket-key")
        if key is None:
            self._answer(_REFUSAL)
            return
        self._is_socket = True
        self._transport.write(_upgrade(key, _header(head, b"sec-websocket-protocol")))
        if rest or b"token=" in head:
            self._answer(_CLOSE)

    def _answer(self, answer: bytes) -> None:
        self._is_answered = True
        self._answers.say(self._transport, answer)


def _header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.strip().lower() == name:
            return value.strip()
    return None


def _upgrade(key: bytes, protocol: bytes | None) -> bytes:
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    chosen = b"Sec-WebSocket-Protocol: %b\r\n" % protocol if protocol else b""
    start = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return start + b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept, chosen)


async def main() -> None:
    """Until stdin ends."""
    loop, answers = asyncio.get_running_loop(), Answers()
    server = await loop.create_server(lambda: Sink(answers), "127.0.0.1", 0, backlog=1_000)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        answers.turn_to(json.loads(line)["rate"])
        print("{}", flush=True)


if __name__ == "__main__":
    uvloop.run(main())
