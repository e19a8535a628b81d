"""Whether a socket is read from, and how much of it in one turn."""

from __future__ import annotations

import asyncio

import pytest

from server.websocket.fragments import Broken, Fragments
from server.websocket.reading import MOST_AFTER_CLOSE, MOST_IN_A_TURN, PAUSE, PAUSE_AFTER_CLOSE, Reading
from tests.simulation.time import in_virtual_time


class Transport(asyncio.Transport):
    """Knows whether it is read from."""

    def __init__(self) -> None:
        super().__init__()
        self._is_read = True

    def is_read(self) -> bool:
        return self._is_read

    def pause_reading(self) -> None:
        self._is_read = False

    def resume_reading(self) -> None:
        self._is_read = True

    def is_closing(self) -> bool:
        return False


@in_virtual_time
async def test_of_frames_without_end_a_part_is_read_at_a_time() -> None:
    transport, loop = Transport(), asyncio.get_running_loop()
    reading = Reading(transport)
    for _ in range(3):
        for _ in range(MOST_IN_A_TURN):
            reading.spend(0, loop)
        assert transport.is_read()
        reading.spend(0, loop)
        reading.spend(0, loop)
        assert not transport.is_read()
        await asyncio.sleep(PAUSE)
        assert transport.is_read()


@in_virtual_time
async def test_large_ones_count_for_their_size() -> None:
    transport, loop = Transport(), asyncio.get_running_loop()
    Reading(transport).spend(MOST_IN_A_TURN * 4096, loop)
    assert not transport.is_read()


@in_virtual_time
async def test_of_somebody_who_is_not_heard_any_more_the_rest_is_read_later() -> None:
    transport, loop = Transport(), asyncio.get_running_loop()
    reading = Reading(transport)
    for _ in range(MOST_IN_A_TURN + 1):
        reading.spend(0, loop, 0.5)
    await asyncio.sleep(0.4)
    assert not transport.is_read()
    await asyncio.sleep(0.2)
    assert transport.is_read()


@in_virtual_time
async def test_of_whoever_sends_on_and_on_after_the_close_nothing_more_is_read() -> None:
    transport, loop = Transport(), asyncio.get_running_loop()
    reading = Reading(transport)
    for _ in range(MOST_AFTER_CLOSE):
        reading.ignore(0, loop)
    await asyncio.sleep(PAUSE_AFTER_CLOSE)
    assert transport.is_read()
    reading.ignore(0, loop)
    await asyncio.sleep(60)
    assert not transport.is_read()


@in_virtual_time
async def test_whoever_is_not_read_from_for_another_reason_is_not_after_a_turn_either() -> None:
    transport, loop = Transport(), asyncio.get_running_loop()
    reading = Reading(transport)
    reading.stop("peer")
    for _ in range(MOST_IN_A_TURN + 1):
        reading.spend(0, loop)
    await asyncio.sleep(1)
    assert not transport.is_read()
    reading.go_on("peer")
    assert transport.is_read()


def test_fragments_are_one_message_and_too_many_are_none() -> None:
    fragments = Fragments(max_bytes=10, max_small=3)
    assert fragments.add(memoryview(b"ab"), is_first=True, is_last=False) is None
    assert fragments.add(memoryview(b""), is_first=False, is_last=False) is None
    assert fragments.add(memoryview(b"c"), is_first=False, is_last=True) == b"abc"
    assert not fragments.have_begun
    for _ in range(3):
        fragments.add(memoryview(b""), is_first=not fragments.have_begun, is_last=False)
    with pytest.raises(Broken):
        fragments.add(memoryview(b""), is_first=False, is_last=False)
    fragments.forget()
    fragments.add(memoryview(b"12345"), is_first=True, is_last=False)
    with pytest.raises(Broken):
        fragments.add(memoryview(b"678901"), is_first=False, is_last=True)
