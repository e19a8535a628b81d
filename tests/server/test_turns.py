"""A flood is heard a little at a time, in order, and never ahead of others for longer than a turn."""

from __future__ import annotations

import asyncio

from server.websocket.turns import TakesTurns, Turns


class Socket(TakesTurns):
    """Hears letters, for as long as a test says a letter takes."""

    def __init__(self, turns: Turns, heard: list[str], over: asyncio.Event) -> None:
        super().__init__(turns)
        self.heard, self.over = heard, over
        self.is_held = False

    def _hear(self, message: bytes) -> None:
        self.heard.append(message.decode())

    def _hold(self) -> None:
        self.is_held = True

    def _release(self) -> None:
        self.is_held = False
        self.over.set()

    def say(self, text: str) -> None:
        """In one turn of the loop."""
        for letter in text:
            self.deliver(letter.encode(), lambda: 1.0)


async def test_two_floods_are_heard_by_turns_and_each_in_order() -> None:
    heard: list[str] = []
    turns = Turns(0.0)  # every letter is too long
    one, other = (Socket(turns, heard, asyncio.Event()) for _ in range(2))
    one.say("abcd")
    other.say("ABCD")
    assert heard == ["a", "b", "A", "B"]  # the first shows that a turn has begun
    assert one.is_held
    await asyncio.wait_for(asyncio.gather(one.over.wait(), other.over.wait()), 5)
    assert heard[4:] == ["c", "C", "d", "D"]
    assert not one.is_held


async def test_whoever_says_little_is_heard_at_once_while_a_flood_waits() -> None:
    heard: list[str] = []
    flood, quiet = Socket(Turns(0.0), heard, asyncio.Event()), Socket(Turns(60.0), heard, asyncio.Event())
    flood.say("abc")
    quiet.say("XYZ")
    assert heard == [*"ab", *"XYZ"]
    assert not quiet.is_held
    await asyncio.wait_for(flood.over.wait(), 5)
    assert heard[5:] == ["c"]


async def test_what_came_before_the_end_is_heard_and_after_a_close_of_ours_is_not() -> None:
    heard: list[str] = []
    turns = Turns(0.0)
    gone, closed = (Socket(turns, heard, asyncio.Event()) for _ in range(2))
    gone.say("abc")
    gone.hear_all()
    closed.say("ABC")
    closed.hear_no_more()
    await asyncio.wait_for(asyncio.gather(gone.over.wait(), closed.over.wait()), 5)
    assert heard == [*"abc", *"AB"]


async def test_strangers_have_a_little_of_a_turn_all_together_and_somebody_known_is_heard_meanwhile() -> None:
    heard: list[str] = []
    turns = Turns(60.0)
    turns.strangers_seconds = 1e-9  # one letter is more
    one, other, ana = (Socket(turns, heard, asyncio.Event()) for _ in range(3))
    one.is_stranger = other.is_stranger = True
    one.say("abc")
    other.say("ABC")
    ana.say("XYZ")
    assert heard == [*"aXYZ"]
    await asyncio.wait_for(asyncio.gather(one.over.wait(), other.over.wait()), 5)
    assert heard[4:] == ["b", "A", "c", "B", "C"]


async def test_who_becomes_known_while_waiting_is_heard_to_the_end() -> None:
    heard: list[str] = []
    turns = Turns(60.0)
    turns.strangers_seconds = 1e-9
    ana = Socket(turns, heard, asyncio.Event())
    ana.is_stranger = True
    ana.say("abcdef")
    ana.is_stranger = False
    await asyncio.wait_for(ana.over.wait(), 5)
    assert heard == [*"abcdef"]


def test_whoever_is_heard_after_others_took_their_time_has_less_of_a_turn() -> None:
    turns = Turns(1.0)
    assert turns.fair_seconds(turn=7.0, now=10.0) == 1.0
    assert turns.fair_seconds(turn=7.0, now=10.5) == 1.0
    assert turns.fair_seconds(turn=7.0, now=11.0) == 0.2
    assert turns.fair_seconds(turn=8.0, now=12.0) == 1.0
