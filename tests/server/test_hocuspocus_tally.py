"""The count of unsaved changes, against a model of the provider that keeps it."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server.doors.hocuspocus.tally import Tally, Ticket


def test_an_update_is_acknowledged_once_and_when_it_is_stored() -> None:
    tally = Tally()
    ticket = tally.update()
    assert tally.settled(ticket, is_stored=True) == 1


def test_a_handshake_is_paid_by_the_answer_to_our_question() -> None:
    tally = Tally()
    tally.restarted()
    tally.asked()
    assert tally.settled(tally.sync_step2(), is_stored=True) == 1


def test_an_answer_that_only_we_wanted_is_not_acknowledged() -> None:
    tally = Tally()
    tally.asked()
    assert tally.settled(tally.sync_step2(), is_stored=True) == 0


def test_a_sync_step_2_that_nobody_asked_for_is_acknowledged_and_covers_nothing() -> None:
    tally = Tally()
    tally.settled(tally.update(), is_stored=False)
    assert tally.settled(tally.sync_step2(), is_stored=True) == 1
    assert tally.owes


def test_what_had_a_gap_is_paid_by_the_answer_that_fills_it() -> None:
    tally = Tally()
    gapped, next_one = tally.update(), tally.update()
    assert tally.settled(gapped, is_stored=False) == 0
    tally.asked()
    answer = tally.sync_step2()
    assert tally.settled(next_one, is_stored=True) == 1
    assert tally.settled(answer, is_stored=True) == 1
    assert not tally.owes


def test_what_was_in_flight_when_the_room_was_lost_is_paid_after_the_next_question() -> None:
    tally = Tally()
    tickets = [tally.update() for _ in range(3)]
    assert tally.settled(tickets[0], is_stored=True) == 1
    tally.lost()
    assert tally.settled(tickets[1], is_stored=True) == 0  # its commit went well after all: the answer will say so
    tally.asked()
    assert tally.settled(tally.sync_step2(), is_stored=True) == 2


def test_a_new_handshake_cancels_what_the_provider_no_longer_counts() -> None:
    tally = Tally()
    before = tally.update()
    tally.restarted()
    tally.asked()
    after = tally.update()
    assert tally.settled(before, is_stored=True) == 0
    assert tally.settled(after, is_stored=True) == 1
    assert tally.settled(tally.sync_step2(), is_stored=True) == 1


def test_only_the_newest_of_several_handshakes_is_counted() -> None:
    tally = Tally()
    tally.restarted()
    tally.asked()
    tally.asked()  # a gap
    tally.restarted()
    tally.asked()
    tally.asked()  # another gap
    assert [tally.settled(tally.sync_step2(), is_stored=True) for _ in range(4)] == [0, 0, 1, 0]


class ProviderAndServer(RuleBasedStateMachine):
    """A provider (2.x: its count may go below zero) and a server that stores, refuses, loses and asks at will. Messages
    are in flight in both directions; each direction keeps its order."""

    def __init__(self) -> None:
        super().__init__()
        self.tally = Tally()
        self.unsynced = 1  # startSync
        self.edits = 0  # made so far, each numbered by its count
        self.stored = 0  # everything up to here is
        self.up: deque[tuple[str, int]] = deque([("step1", 0)])
        self.down: deque[str] = deque()
        self.in_room: deque[tuple[Ticket, int]] = deque()  # submitted, with what is stored once it is
        self.losses = 0

    @rule()
    def edit(self) -> None:
        self.edits += 1
        self.unsynced += 1
        self.up.append(("update", self.edits))

    @rule()
    def force_sync(self) -> None:
        # An acknowledgement that crosses the SyncStep1 is taken off the new count: the provider's own undercount.
        while self.up or self.down:
            self.server_hears() if self.up else self.provider_hears()
        self.unsynced = 1
        self.up.append(("step1", 0))
        self.server_hears()

    @precondition(lambda self: self.down)
    @rule()
    def provider_hears(self) -> None:
        if self.down.popleft() == "ack":
            self.unsynced -= 1
        else:
            self.up.append(("step2", self.edits))

    @precondition(lambda self: self.up)
    @rule()
    def server_hears(self) -> None:
        kind, content = self.up.popleft()
        if kind == "step1":
            self.tally.restarted()
            self.ask()
        else:
            ticket = self.tally.update() if kind == "update" else self.tally.sync_step2()
            self.in_room.append((ticket, content))

    @rule()
    def ask(self) -> None:
        self.tally.asked()
        self.down.append("step1")

    @precondition(lambda self: self.in_room)
    @rule()
    def commit(self) -> None:
        ticket, content = self.in_room.popleft()
        # An edit rests on the one before it; an answer brings all there is.
        is_gap = not ticket.covers and content > self.stored + 1
        if not is_gap:
            self.stored = max(self.stored, content)
        self.acknowledge(ticket, is_stored=not is_gap)
        if is_gap:
            self.ask()

    @precondition(lambda self: self.in_room)
    @rule()
    def refuse(self) -> None:
        self.acknowledge(self.in_room.popleft()[0], is_stored=False)
        self.losses += 1

    @rule(is_committed=st.booleans())
    def lose_the_room(self, is_committed: bool) -> None:
        for _, content in self.in_room if is_committed else ():
            self.stored = max(self.stored, content)
        self.in_room.clear()
        self.tally.lost()
        self.ask()

    def acknowledge(self, ticket: Ticket, *, is_stored: bool) -> None:
        self.down.extend(["ack"] * self.tally.settled(ticket, is_stored=is_stored))

    @invariant()
    def saved_means_saved(self) -> None:
        assert self.unsynced >= 0
        assert self.unsynced > 0 or self.stored == self.edits

    def teardown(self) -> None:
        """Left in peace, and asked once if anything was refused, the provider comes to say that all is saved."""
        self.settle()
        if self.losses:
            self.ask()
            self.settle()
        assert self.stored == self.edits
        assert self.unsynced == 0

    def settle(self) -> None:
        while self.up or self.down or self.in_room:
            if self.up:
                self.server_hears()
            elif self.in_room:
                self.commit()
            else:
                self.provider_hears()


TestProviderAndServer = ProviderAndServer.TestCase
TestProviderAndServer.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
