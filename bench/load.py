"""The load driver: a process of its own that types into documents over sockets and times what readers receive.

Reads a `Plan` as JSON from stdin and prints a `Result` as JSON. Closed loop: a document's next update leaves when
every one of its readers has an earlier one, so that `window` are in flight. With a `rate`, updates leave by the clock.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import psutil
import uvloop

from bench.peer import Peer, connect, update_frame
from bench.plan import Plan, Result, percentiles
from bench.typist import FIRST_CLIENT, Typist

CONNECTING_AT_ONCE = 20
STALLED_AFTER_S = 20.0
TICK_S = 0.001


class Stalled(Exception):
    """Nothing was delivered for too long."""


class Document:
    """One writer and its readers, and which clock each of them has reached."""

    def __init__(self, client: int, readers: int) -> None:
        self.typist = Typist(client)
        self.sent_at: list[float] = []  # by clock
        self.completions: list[tuple[float, int, int]] = []  # (when, first clock, end clock) at the last reader
        self.reached = [0] * readers
        self.slowest = 0
        self._at_slowest = readers
        self._message = b""
        self._covers = (0, 0)

    def type(self, count: int) -> bytes:
        """The frames of the next `count` characters, noted as sent now."""
        now = time.perf_counter()
        frames = b"".join([update_frame(self.typist.type()) for _ in range(count)])
        self.sent_at.extend([now] * count)
        return frames

    def receive(self, reader: int, message: bytes, at: int) -> bool:
        """Note what a reader received. True when every reader now has something more than before."""
        if message != self._message:  # the frames of one fan-out are the same bytes: read once
            self._covers = self.typist.covered(message, at)
            self._message = message
        first, end = self._covers
        had = self.reached[reader]
        if end <= had:
            return False
        if first > had:
            raise ValueError(f"a reader at clock {had} received {first}: something was left out")
        self.reached[reader] = end
        if had > self.slowest:
            return False
        self._at_slowest -= 1
        return self._at_slowest == 0 and self._advance()

    def _advance(self) -> bool:
        before, self.slowest = self.slowest, min(self.reached)
        self._at_slowest = self.reached.count(self.slowest)
        self.completions.append((time.perf_counter(), before, self.slowest))
        return True


@dataclass(frozen=True, slots=True)
class Counts:
    """Everything counted so far, at one moment. `cpu_s`: processor seconds by name."""

    at: float
    updates: int
    deliveries: int
    frames: int
    cpu_s: dict[str, float]


def cpu_s(pids: Sequence[int]) -> float:
    """Processor seconds some processes have used; those that have ended count nothing."""
    used = 0.0
    for pid in pids:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            continue
        used += times.user + times.system
    return used


class Load:
    """All documents of a plan, connected."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.documents = [Document(FIRST_CLIENT + n, plan.readers) for n in range(len(plan.urls))]
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.peers: list[Peer] = []
        self._writers: list[Peer | None] = [None] * len(plan.urls)
        self._to_refill: list[int] = []

    async def open(self) -> None:
        """Connect every reader and writer. Raises what `connect` raises."""
        places = asyncio.Semaphore(CONNECTING_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for index, url in enumerate(self.plan.urls):
                for reader in range(self.plan.readers):
                    group.create_task(self._open_reader(places, url, index, reader))
                group.create_task(self._open_writer(places, url, index))

    async def _open_reader(self, places: asyncio.Semaphore, url: str, index: int, reader: int) -> None:
        document = self.documents[index]

        def receive(message: bytes, at: int) -> None:
            if document.receive(reader, message, at):
                if not self._to_refill:
                    asyncio.get_running_loop().call_soon(self._refill)
                self._to_refill.append(index)

        async with places:
            self.peers.append(await connect(url, receive, self._fail))

    async def _open_writer(self, places: asyncio.Semaphore, url: str, index: int) -> None:
        async with places:
            writer = await connect(url, lost=self._fail)
        self._writers[index] = writer
        self.peers.append(writer)

    def _fail(self, error: Exception) -> None:
        if not self.failure.done():
            self.failure.set_exception(error)

    def _refill(self) -> None:
        indexes, self._to_refill = self._to_refill, []
        if self.plan.rate is None:
            for index in indexes:
                document = self.documents[index]
                free = self.plan.window - (document.typist.clock - document.slowest)
                if free > 0:
                    self.send(index, free)

    def send(self, index: int, count: int) -> None:
        """Type `count` characters into a document, in one write."""
        writer = self._writers[index]
        if writer is not None:
            writer.write(self.documents[index].type(count))

    async def run(self) -> Result:
        """Warm up, measure, hang up."""
        paced = asyncio.create_task(self._pace(self.plan.rate)) if self.plan.rate is not None else None
        if paced is None:
            for index in range(len(self.documents)):
                self.send(index, self.plan.window)
        try:
            await self._watch(self.plan.warmup_s)
            before = self._counts()
            await self._watch(self.plan.measure_s)
            after = self._counts()
        finally:
            if paced is not None:
                paced.cancel()
            for peer in self.peers:
                peer.close()
        return self._result(before, after)

    async def _pace(self, rate: float) -> None:
        started, sent = time.perf_counter(), 0
        while True:
            due = int((time.perf_counter() - started) * rate)
            while sent < due:
                self.send(sent % len(self.documents), 1)
                sent += 1
            await asyncio.sleep(TICK_S)

    async def _watch(self, seconds: float) -> None:
        """Wait, and fail early when a connection is lost or nothing arrives any more."""
        end = time.perf_counter() + seconds
        progress, since = -1, time.perf_counter()
        while (now := time.perf_counter()) < end:
            await asyncio.wait([self.failure], timeout=min(0.5, end - now))
            if self.failure.done():
                self.failure.result()
            total = sum(document.typist.clock + document.slowest for document in self.documents)
            if total != progress:
                progress, since = total, now
            elif now - since > STALLED_AFTER_S:
                raise Stalled(f"nothing was delivered for {STALLED_AFTER_S:.0f} s")

    def _counts(self) -> Counts:
        documents = self.documents
        return Counts(
            at=time.perf_counter(),
            updates=sum(one.slowest if self.plan.readers else one.typist.clock for one in documents),
            deliveries=sum(sum(one.reached) for one in documents),
            frames=sum(peer.frames for peer in self.peers),
            cpu_s={"driver": time.process_time()} | {name: cpu_s(pids) for name, pids in self.plan.watched.items()},
        )

    def _result(self, before: Counts, after: Counts) -> Result:
        seconds = after.at - before.at
        waits = [
            (when - sent) * 1e3
            for document in self.documents
            for when, first, end in document.completions
            if before.at <= when < after.at
            for sent in document.sent_at[first:end]
        ]
        return Result(
            seconds=seconds,
            updates=after.updates - before.updates,
            deliveries=after.deliveries - before.deliveries,
            frames=after.frames - before.frames,
            latency_ms=percentiles(waits),
            busy={name: (used - before.cpu_s[name]) / seconds for name, used in after.cpu_s.items()},
            sent_at=[document.sent_at for document in self.documents] if self.plan.keep_times else [],
        )


async def drive(plan: Plan) -> Result:
    """Carry out one plan in this process."""
    load = Load(plan)
    await load.open()
    return await load.run()


def main() -> None:
    plan = Plan(**json.load(sys.stdin))
    if plan.core is not None:
        os.sched_setaffinity(0, {plan.core})
    gc.disable()  # a run is seconds long and makes no cycles: its pauses would be counted as the server's
    try:
        result = uvloop.run(drive(plan))
    except BaseExceptionGroup as group:
        sys.exit(f"{_first(group)!r}, one of {len(group.exceptions)} failures while connecting")
    json.dump(asdict(result), sys.stdout)


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    main()
