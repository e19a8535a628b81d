"""kill -9 in the very turn in which a native client hears an ack: everything that was acked is in the log.

Several devices push to several issues at once, so that at each kill other edits are on every part of their way.
"""

from __future__ import annotations

import asyncio
import signal
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from uuid import UUID

import pytest
from asyncpg import Connection

from crdt.gate import fold
from crdt.index import Index
from crdt.native import Ack, Nack, Push, PushEntry, ServerFrame
from crdt.update import decode_state_vector
from tests.peers.forked_server import forking
from tests.peers.native_peer import NativePeer
from tests.peers.server_process import ServerProcess

ISSUES = [UUID(int=number) for number in range(1, 5)]
PEERS = 3
EDITS_AT_ONCE = 4
ACKS_BEFORE_KILL = (1, 12)
# No server lives long enough to project anything: engines that only start would take most of the time.
FEW_ENGINES = ("--engine-processes", "1", "--projection-settle-seconds", "5")


@dataclass
class CommittedLog:
    """What is committed, read row by row. `reached`: (issue, client id) → the clocks it got to, and at which seq."""

    head: int = 0
    indexes: dict[UUID, Index] = field(default_factory=lambda: defaultdict(Index))
    reached: dict[tuple[UUID, int], tuple[list[int], list[int]]] = field(
        default_factory=lambda: defaultdict(lambda: ([0], [0]))
    )

    async def read_on(self, database: Connection) -> None:
        """Take in what came since. The log is dense and closed, or this fails."""
        rows = await database.fetch("SELECT seq, issue_id, update FROM deltas WHERE seq > $1 ORDER BY seq", self.head)
        for row in rows:
            assert row["seq"] == self.head + 1
            self.head = row["seq"]
            self._take(row["issue_id"], row["update"])

    def _take(self, issue: UUID, update: bytes) -> None:
        assert not fold(self.indexes[issue], update, "anybody").gap
        for client, clock in self.indexes[issue].state_vector.items():
            clocks, seqs = self.reached[issue, client]
            if clock > clocks[-1]:
                clocks.append(clock)
                seqs.append(self.head)

    def seq_of(self, issue: UUID, client: int, clock: int) -> int | None:
        """Where a client's edits up to `clock` are committed; None: nowhere."""
        clocks, seqs = self.reached[issue, client]
        at = bisect_left(clocks, clock)
        return seqs[at] if at < len(seqs) else None


class Writer(NativePeer):
    """Writes numbered words, a new one for each ack, until it has had enough of them."""

    def __init__(self, number: int, chance: Random) -> None:
        super().__init__(f"user{number}", number)
        self.words: list[str] = []
        self.said: dict[int, tuple[UUID, int, int]] = {}
        self.promised: list[tuple[int, int]] = []
        self.nacks: list[Nack] = []
        self.on_frame = self._hear
        self.on_ack: Callable[[int], None] = _nothing
        self._chance = chance

    def write_word(self) -> PushEntry:
        """One more, into some issue and the outbox."""
        issue = self._chance.choice(ISSUES)
        word = f"{self.user}.{len(self.words)} "
        entry = self.edit(issue, word)
        self.words.append(word)
        doc = self.doc(issue)
        self.said[entry.client_seq] = (issue, doc.client_id, decode_state_vector(doc.get_state())[doc.client_id])
        return entry

    def _hear(self, frame: ServerFrame) -> None:
        if isinstance(frame, Nack):
            self.nacks.append(frame)
        elif isinstance(frame, Ack):
            self.promised += frame.acked
            self.on_ack(len(frame.acked))


def _nothing(acks: int) -> None:
    """What an ack means to a writer that writes no more."""


class Round:
    """All writers at work, until one of them hears the last ack that the server lives to send."""

    def __init__(self, server: ServerProcess, writers: list[Writer], acks: int) -> None:
        self._server = server
        self._writers = writers
        self._acks_left = acks

    async def run(self) -> None:
        """Until everybody has lost the connection, and has read what was still on the way."""
        await asyncio.gather(*(writer.call(self._server) for writer in self._writers))
        for writer in self._writers:
            writer.on_ack = partial(self._acked, writer)
            for _ in range(EDITS_AT_ONCE):
                writer.write_word()
            writer.push()
        await asyncio.gather(*(writer.over() for writer in self._writers))
        await self._server.process.wait()

    def _acked(self, writer: Writer, acks: int) -> None:
        self._acks_left -= acks
        if self._acks_left <= 0:
            self._server.process.send_signal(signal.SIGKILL)
            return
        writer.say(Push(tuple(writer.write_word() for _ in range(acks))))


def expect_true_acks(writers: list[Writer], log: CommittedLog) -> int:
    """Every promise since the last look is kept; how many there were."""
    kept = 0
    for writer in writers:
        assert not writer.nacks, writer.nacks
        for client_seq, seq in writer.promised:
            issue, client, clock = writer.said[client_seq]
            committed = log.seq_of(issue, client, clock)
            assert committed is not None, f"acked and lost: edit {client_seq} of {writer.user}"
            assert committed <= seq, f"edit {client_seq} of {writer.user}: acked at {seq}, committed at {committed}"
            kept += 1
        writer.promised.clear()
    return kept


def expect_nothing_shown_but_the_committed(writers: list[Writer], log: CommittedLog) -> None:
    """Nobody holds an edit of somebody else that the log does not."""
    for writer in writers:
        for issue, doc in writer.docs.items():
            for client, clock in decode_state_vector(doc.get_state()).items():
                if client != doc.client_id:
                    assert log.seq_of(issue, client, clock) is not None, f"{writer.user} was shown what is not there"


async def expect_all_equal(server: ServerProcess, writers: list[Writer], log: CommittedLog) -> None:
    """Everybody comes back, gets an answer to everything, and has every word once."""
    for writer in writers:
        writer.on_ack = _nothing
        await writer.call(server)
        writer.push()
    for writer in writers:
        await writer.until_answered()
    async with server.database() as database:
        await log.read_on(database)
    expect_true_acks(writers, log)
    for writer in writers:
        await writer.until_at(log.head)
    titles = [[writer.title(issue) for issue in ISSUES] for writer in writers]
    assert all(each == titles[0] for each in titles)
    assert sorted("".join(titles[0]).split()) == sorted(word.strip() for writer in writers for word in writer.words)
    for writer in writers:
        await writer.hang_up()


async def run_kills(*, kills: int, seed: int) -> int:
    chance = Random(seed)
    writers = [Writer(number, chance) for number in range(1, PEERS + 1)]
    log, promises = CommittedLog(), 0
    async with forking(*FEW_ENGINES) as server:
        for _ in range(kills):
            await Round(server, writers, chance.randint(*ACKS_BEFORE_KILL)).run()
            async with server.database() as database:  # the Postgres it left behind
                await log.read_on(database)
            promises += expect_true_acks(writers, log)
            expect_nothing_shown_but_the_committed(writers, log)
            await server.start()
        await expect_all_equal(server, writers, log)
        code, output = await server.command("verify")
        assert code == 0, output
    return promises


async def test_what_was_acked_survives_kill_9() -> None:
    assert await run_kills(kills=3, seed=1) >= 3


@pytest.mark.long(seconds=60)
async def test_what_was_acked_survives_two_hundred_times_kill_9() -> None:
    assert await run_kills(kills=200, seed=2) >= 200
