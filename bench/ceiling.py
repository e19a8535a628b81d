"""The load driver's own limit: a relay that keeps every promise of none.

It joins what arrived for a document in one turn of its loop into one frame and sends it on: no gate, no commit, no
document. What it reaches with a load is what that load can measure.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server
from pycrdt import merge_updates

from bench.peer import ASK_FOR_EVERYTHING, NOTHING_TO_SAY, UPDATE_MESSAGE
from bench.typist import read_var_uint, var_uint


class Room:
    """The connections of one path, and what they said in this turn."""

    def __init__(self) -> None:
        self.members: dict[WSTransport, None] = {}
        self._said: list[tuple[WSTransport, bytes]] = []

    def say(self, sender: WSTransport, update: bytes) -> None:
        if not self._said:
            asyncio.get_running_loop().call_soon(self._pass_on)
        self._said.append((sender, update))

    def _pass_on(self) -> None:
        said, self._said = self._said, []
        update = said[0][1] if len(said) == 1 else merge_updates(*[update for _, update in said])
        message = UPDATE_MESSAGE + var_uint(len(update)) + update
        senders = {sender for sender, _ in said}
        for member in self.members:
            if member not in senders or len(senders) > 1:
                member.send(WSMsgType.BINARY, message)


class Member(WSListener):
    """One connection to the relay."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._room.members[transport] = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        message = frame.get_payload_as_bytes()
        if message == ASK_FOR_EVERYTHING:
            transport.send(WSMsgType.BINARY, NOTHING_TO_SAY)
        elif message.startswith(UPDATE_MESSAGE):
            self._room.say(transport, message[read_var_uint(message, 2)[1] :])

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._room.members.pop(transport, None)


async def serve(port: int) -> None:
    """Relay on 127.0.0.1 until the process is stopped."""
    rooms: dict[bytes, Room] = {}

    def join(request: WSUpgradeRequest) -> Member:
        return Member(rooms.setdefault(request.path, Room()))

    server = await ws_create_server(join, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
