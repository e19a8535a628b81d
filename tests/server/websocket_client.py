"""A WebSocket client that does nothing by itself: the test decides every frame, and sees every one."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from collections.abc import Iterable, Mapping

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
DEADLINE_SECONDS = 10.0


class RawClient:
    """One upgraded (or refused) socket. `status` and `head` are the HTTP answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.reader = reader
        self.writer = writer
        self.head = head
        self.status = int(head.split(b" ", 2)[1])

    @classmethod
    async def open(
        cls, port: int, target: str, headers: Mapping[str, str] | None = None, buffer_bytes: int = 2**16
    ) -> RawClient:
        """Send the upgrade request and read the answer's head."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=buffer_bytes)
        sent = {
            "Host": f"127.0.0.1:{port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Extensions": "permessage-deflate",
        } | dict(headers or {})
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
        except BaseException:
            writer.transport.abort()
            raise
        return cls(reader, writer, head)

    def send(self, payload: bytes, opcode: int = BINARY, *, fin: bool = True, reserved: int = 0) -> None:
        """Write one masked frame."""
        self.writer.write(head_of(len(payload), opcode, fin=fin, reserved=reserved) + payload)

    def send_all(self, payloads: Iterable[bytes], opcode: int = BINARY, *, fin: bool = True) -> None:
        """Frames in one write."""
        self.writer.write(b"".join(head_of(len(payload), opcode, fin=fin) + payload for payload in payloads))

    def send_header(self, size: int, opcode: int = BINARY) -> None:
        """Only a frame's header; the payload may never come."""
        self.writer.write(head_of(size, opcode))

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(size)

    async def message(self) -> bytes:
        """The next binary message; pings are answered on the way."""
        while True:
            opcode, payload = await self.frame()
            if opcode == PING:
                self.send(payload, PONG)
            elif opcode == BINARY:
                return payload
            else:
                raise AssertionError(f"opcode {opcode} instead of a message: {payload!r}")

    async def close_code(self) -> int:
        """The code of the close frame, whatever comes before it; answers it and waits for the end of the socket."""
        opcode, payload = await self.frame()
        while opcode != CLOSE:
            opcode, payload = await self.frame()
        self.send(payload[:2], CLOSE)
        await self.lost()
        return int.from_bytes(payload[:2], "big")

    async def lost(self) -> None:
        """Wait until the server's side is gone, closed or reset."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            try:
                while await self.reader.read(2**16):
                    pass
            except ConnectionError:
                pass
        self.writer.close()

    def cut(self) -> None:
        """Drop the socket without a close frame."""
        self.writer.transport.abort()


def head_of(size: int, opcode: int, *, fin: bool = True, reserved: int = 0) -> bytes:
    """The header of a frame, with a mask of zero, which changes nothing."""
    first = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 2**16:
        length = bytes([0x80 | 126]) + struct.pack("!H", size)
    else:
        length = bytes([0x80 | 127]) + struct.pack("!Q", size)
    return first + length + bytes(4)
