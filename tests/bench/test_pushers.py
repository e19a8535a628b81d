"""What the driver of pushes counts: every ack once, with the time since its own edit left, and never more in flight
than the window."""

from __future__ import annotations

import asyncio

import pytest

from bench.native import NativePeer
from bench.pushers import Pusher
from bench.typist import FIRST_CLIENT
from crdt.native import Ack, Hello, Nack, Push, PushEntry, ServerFrame
from crdt.native_codec import decode_client, encode


class Wire(NativePeer):
    """A connection that keeps what was written."""

    def __init__(self) -> None:
        super().__init__(Hello("", "test"), lambda message: None, lambda error: None)
        self.entries: list[PushEntry] = []

    def write(self, frames: bytes) -> None:
        while frames:
            size = frames[1] & 0x7F
            push = decode_client(frames[6 : 6 + size])
            assert isinstance(push, Push)
            self.entries += push.entries
            frames = frames[6 + size :]


def connected(issues: int, window: int, *, refills: bool = True) -> tuple[Pusher, Wire]:
    pusher, wire = Pusher(FIRST_CLIENT, issues, window, refills=refills), Wire()
    pusher.peer = wire
    return pusher, wire


def hear(pusher: Pusher, frame: ServerFrame) -> None:
    pusher.receive(encode(frame))


async def test_an_ack_lets_the_next_edit_leave_and_the_window_is_kept() -> None:
    pusher, wire = connected(issues=2, window=3)
    pusher.refill()
    assert [entry.client_seq for entry in wire.entries] == [0, 1, 2]
    hear(pusher, Ack(((0, 5),)))
    hear(pusher, Ack(((2, 6),)))
    await asyncio.sleep(0)
    assert [entry.client_seq for entry in wire.entries] == [0, 1, 2, 3, 4]
    assert (pusher.in_flight, len(pusher.acks)) == (3, 2)


async def test_issues_take_turns_and_each_has_one_author() -> None:
    pusher, wire = connected(issues=2, window=4)
    pusher.refill()
    first, second, third, fourth = wire.entries
    assert first.issue == third.issue != second.issue == fourth.issue
    assert first.update != third.update


async def test_an_ack_is_timed_from_its_own_edit() -> None:
    pusher, _ = connected(issues=1, window=2)
    pusher.refill()
    pusher.sent_at = [1.0, 2.0]
    hear(pusher, Ack(((1, 5), (0, 5))))
    assert [round(when - waited, 6) for when, waited in pusher.acks] == [2.0, 1.0]


async def test_by_the_clock_nothing_is_refilled() -> None:
    pusher, wire = connected(issues=1, window=10, refills=False)
    pusher.refill()
    pusher.send(2)
    hear(pusher, Ack(((0, 1), (1, 2))))
    await asyncio.sleep(0)
    assert len(wire.entries) == 2
    await asyncio.wait_for(pusher.all_acked(), 1)


async def test_whatever_is_not_an_ack_ends_the_run() -> None:
    pusher, _ = connected(issues=1, window=1)
    pusher.refill()
    with pytest.raises(ValueError, match="ack"):
        hear(pusher, Nack(0, "retry", "later"))
