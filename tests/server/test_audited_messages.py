"""What sockets send and is refused goes into the audit log: which message, of every kind, does and as what."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, get_args
from uuid import UUID

import pytest

from crdt import native
from crdt.errors import FORBIDDEN, MALFORMED
from crdt.native import (
    Awareness,
    ClientFrame,
    Close,
    Follow,
    Hello,
    Open,
    Ping,
    Pong,
    Push,
    PushEntry,
    Renew,
    Welcome,
)
from server.audit import Note
from server.dialects import y_websocket
from tests.server import test_hocuspocus, test_yjs
from tests.server.native_house import native_house
from tests.server.test_hocuspocus import setting
from tests.simulation.time import run_in_virtual_time

ISSUE: Final = UUID(int=7)
EPOCH: Final = UUID(int=5)
MEMBER, VIEWER = "ana", "eve:viewer"
CONNECTED: Final = ("connect", False, None)


@dataclass(frozen=True)
class Case:
    """A frame that is taken, of which nothing is noted; and frames of which the last is refused, with what is noted:
    `message` and the reason. None: it is never refused, or what refuses it notes that itself."""

    taken: ClientFrame
    refused: tuple[ClientFrame, ...] = ()
    reason: str | None = None


FRAMES: Final[dict[type, Case]] = {
    Hello: Case(Ping(1), (Hello(VIEWER, "test"),), native.UNEXPECTED),  # the first one is noted as `connect`
    Renew: Case(Renew(MEMBER)),  # refused tokens are noted as `authenticate` by who reads them: test_audit.py
    Ping: Case(Ping(1)),
    Pong: Case(Pong(1)),
    Follow: Case(Follow(EPOCH, 0), (Follow(EPOCH, 0), Follow(EPOCH, 0)), native.UNEXPECTED),
    Open: Case(Open(ISSUE, None), (Open(ISSUE, b"\xff"),), MALFORMED),
    Close: Case(Close(ISSUE)),
    Awareness: Case(Awareness(ISSUE, b"\x00"), (Open(ISSUE, None), Awareness(ISSUE, b"\xff")), MALFORMED),
    Push: Case(Push((PushEntry(1, ISSUE, setting()),)), (Push((PushEntry(1, ISSUE, setting(1002)),)),), FORBIDDEN),
}


def told(notes: list[Note]) -> list[tuple[str, bool, str | None]]:
    return [(note.action, note.is_refused, dict(note.detail).get("reason")) for note in notes]


def test_every_frame_of_a_client_says_whether_it_is_audited() -> None:
    assert set(get_args(ClientFrame)) == FRAMES.keys()


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.__name__)
def test_a_frame_is_audited_when_it_is_refused_and_else_not(frame: type) -> None:
    case, notes = FRAMES[frame], list[Note]()

    async def scenario() -> None:
        async with native_house(note=notes.append) as node:
            for user, frames in ((MEMBER, (case.taken,)), (VIEWER, case.refused)):
                client = node.client(user)
                client.connect(user)
                await client.until(Welcome)
                await client.until_live()
                for one in frames:
                    client.say(one)
                    await asyncio.sleep(3)  # longer than it is asked whether another node knows better

    run_in_virtual_time(scenario())
    refused = [] if case.reason is None else [("message", True, case.reason)]
    assert told(notes) == [CONNECTED, CONNECTED, *refused]
    for note in notes[2:]:
        assert (note.user_id, note.via) == ("eve", "native")


async def test_y_websocket_and_hocuspocus_note_what_the_gate_refuses_and_what_is_no_message() -> None:
    for bad, reason in ((y_websocket.update(setting()), FORBIDDEN), (b"\x00\x02\x05abc", MALFORMED)):
        notes: list[Note] = []
        async with test_yjs.world() as node:
            node.visits._note = notes.append
            eve = await node.joined(VIEWER)
            eve.say(bad)
            await eve.close_code()
        async with test_hocuspocus.world() as house:
            house.visits._note = notes.append
            guest = await house.entered(VIEWER)
            guest.say(bad)
            await guest.hear()
        message = ("message", True, reason)
        assert told(notes) == [CONNECTED, message, CONNECTED, message]
        assert [note.via for note in notes] == ["yjs", "yjs", "hocuspocus", "hocuspocus"]
