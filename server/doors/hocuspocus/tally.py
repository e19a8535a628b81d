"""What a provider counts in `unsyncedChanges`, and therefore which acknowledgements may be sent, and when.

The provider says "saved" at zero. It starts at one with every SyncStep1 it sends (paid by the acknowledgement of the
SyncStep2 that it answers to our SyncStep1), adds one for every Update, and takes one off for every SyncStatus(1). A
SyncStep2 that we asked for outside of that it does not count. One acknowledgement too many would make it say "saved"
too early, and a 2.x provider would stay one short for as long as it is connected.
"""

from __future__ import annotations

from typing import NamedTuple


class Ticket(NamedTuple):
    """One submitted update. `is_counted`: the provider waits for its acknowledgement · `covers`: it brings everything
    the provider had until then, also what was dropped, refused or lost before."""

    round: int
    is_counted: bool
    covers: bool


class Tally:
    """The counts for one document of one socket. Outcomes must be reported in the order of the tickets."""

    __slots__ = ("_asks_after", "_asks_before", "_handshake", "_in_flight", "_is_new_round", "_owed", "_round")

    def __init__(self) -> None:
        self._round = 0
        self._is_new_round = False  # the provider has started a count, our question that goes with it is still to come
        self._in_flight = 0  # counted, their outcome is still to come
        self._owed = 0  # counted, their outcome will not come or was not "stored"
        # Our SyncStep1s without an answer, in the order sent; only the answer to the newest handshake's is counted.
        self._asks_before = 0
        self._handshake = False
        self._asks_after = 0

    @property
    def owes(self) -> bool:
        """Whether the provider waits for acknowledgements that only a covering SyncStep2 can bring."""
        return self._owed > 0

    def restarted(self) -> None:
        """The provider sent SyncStep1 and counts from one again, for its answer to the next SyncStep1 it gets."""
        self._round += 1
        self._in_flight = self._owed = 0
        self._is_new_round = True

    def asked(self) -> None:
        """We sent a SyncStep1."""
        if self._is_new_round:
            self._asks_before += self._handshake + self._asks_after
            self._asks_after = 0
            self._handshake, self._is_new_round = True, False
        elif self._handshake:
            self._asks_after += 1
        else:
            self._asks_before += 1

    def update(self) -> Ticket:
        """An Update has come."""
        self._in_flight += 1
        return Ticket(self._round, is_counted=True, covers=False)

    def sync_step2(self) -> Ticket:
        """A SyncStep2 has come: the answer to our oldest question, or one that nobody asked for."""
        if self._asks_before:
            self._asks_before -= 1
            return Ticket(self._round, is_counted=False, covers=True)
        covers, self._handshake = self._handshake, False
        self._asks_before, self._asks_after = self._asks_after, 0
        self._in_flight += 1
        return Ticket(self._round, is_counted=True, covers=covers)

    def settled(self, ticket: Ticket, *, is_stored: bool) -> int:
        """How many acknowledgements to send now that the outcome of an update is known."""
        if ticket.round != self._round:
            return 0
        self._in_flight -= ticket.is_counted
        if not is_stored:
            self._owed += ticket.is_counted
            return 0
        acknowledged = int(ticket.is_counted)
        if ticket.covers:
            acknowledged += self._owed
            self._owed = 0
        return acknowledged

    def dropped(self, ticket: Ticket | None) -> None:
        """It will not be submitted. Without a ticket it was presence, which nobody counts."""
        if ticket is not None:
            self.settled(ticket, is_stored=False)

    def lost(self) -> None:
        """The room is gone: the outcomes that are still to come will not come, or can no longer be told."""
        self._round += 1
        self._owed += self._in_flight
        self._in_flight = 0
