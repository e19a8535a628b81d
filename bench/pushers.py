"""The driver of pushes: a process of its own whose native connections push single edits and time their acks.

`python -m bench.pushers` reads a `PushPlan` as JSON from stdin and prints a `Pushed` as JSON. Closed loop: each ack
lets the next edit leave, so that `window` of a connection are in flight. With a `rate`, edits leave by the clock.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from uuid import uuid4

import msgpack  # type: ignore[import-untyped]
import uvloop

from bench.load import CONNECTING_AT_ONCE, TICK_S, Stalled, cpu_s
from bench.native import NativePeer, connect, push_frame
from bench.peer import ConnectionLost
from bench.plan import CONNECTING_S_MAX, LoadFailed, percentiles
from bench.typist import FIRST_CLIENT, Typist
from crdt.native import OFF, Hello

ACK = 49
STALLED_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class PushPlan:
    """What to push. `issues`: new ones a connection types into, by turns · `window`: edits of a connection in flight ·
    `rate`: edits a second over all connections, in place of the closed loop · `watched`: process ids by name."""

    url: str
    connections: int
    issues: int
    window: int
    warmup_s: float
    measure_s: float
    core: int
    rate: float | None = None
    watched: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pushed:
    """What was acked between warm-up and end, and `acked_in_all` until the last ack. `latency_ms`: percentiles from
    writing a push to its ack · `busy`: shares of a core by name."""

    seconds: float
    acked: int
    acked_in_all: int
    latency_ms: dict[str, float]
    busy: dict[str, float]

    @property
    def acks_per_s(self) -> float:
        return self.acked / self.seconds


class Pusher:
    """One connection and the issues it types into. `acks`: (when, seconds waited) of every edit · `refills`: whether an
    ack lets the next edit leave."""

    def __init__(self, first_client: int, issues: int, window: int, *, refills: bool) -> None:
        self.refills = refills
        self.sent_at: list[float] = []
        self.acks: list[tuple[float, float]] = []
        self.peer: NativePeer | None = None
        self._authors = [(uuid4(), Typist(first_client + number)) for number in range(issues)]
        self._window = window
        self._is_refill_due = False
        self._answered = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """Edits without an answer."""
        return len(self.sent_at) - len(self.acks)

    def send(self, count: int) -> None:
        """Push `count` edits, each a frame of its own, in one write."""
        assert self.peer is not None
        now = time.perf_counter()
        frames = []
        for client_seq in range(len(self.sent_at), len(self.sent_at) + count):
            issue, typist = self._authors[client_seq % len(self._authors)]
            frames.append(push_frame(client_seq, issue, typist.type()))
        self.sent_at.extend([now] * count)
        self.peer.write(b"".join(frames))

    def receive(self, message: bytes) -> None:
        """Note an ack. Anything else ends the run."""
        frame = msgpack.unpackb(message)
        if frame[0] != ACK:
            raise ValueError(f"an ack expected, {frame[0]} came")
        now = time.perf_counter()
        self.acks += [(now, now - self.sent_at[client_seq]) for client_seq, _ in frame[1]]
        self._answered.set()
        if self.refills and not self._is_refill_due:
            self._is_refill_due = True
            asyncio.get_running_loop().call_soon(self.refill)

    async def all_acked(self) -> None:
        """Wait until nothing is in flight."""
        while self.in_flight:
            self._answered.clear()
            await self._answered.wait()

    def refill(self) -> None:
        """Fill the window."""
        self._is_refill_due = False
        if self.refills:
            self.send(self._window - self.in_flight)


class Pushing:
    """All connections of a plan."""

    def __init__(self, plan: PushPlan) -> None:
        self._plan = plan
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pushers = [
            Pusher(FIRST_CLIENT + number * plan.issues, plan.issues, plan.window, refills=plan.rate is None)
            for number in range(plan.connections)
        ]

    async def run(self) -> Pushed:
        """Connect, warm up, measure, wait for what is in flight, hang up."""
        places = asyncio.Semaphore(CONNECTING_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for pusher in self._pushers:
                group.create_task(self._open(places, pusher))
        paced = asyncio.create_task(self._pace(self._plan.rate)) if self._plan.rate is not None else None
        for pusher in self._pushers:
            pusher.refill()
        await self._watch(self._plan.warmup_s)
        started, before = time.perf_counter(), self._cpu_s()
        await self._watch(self._plan.measure_s)
        ended, after = time.perf_counter(), self._cpu_s()
        if paced is not None:
            paced.cancel()
        await self._hang_up()
        acks = [ack for pusher in self._pushers for ack in pusher.acks]
        waits = [waited * 1e3 for when, waited in acks if started <= when < ended]
        seconds = ended - started
        busy = {name: (used - before[name]) / seconds for name, used in after.items()}
        return Pushed(seconds, len(waits), len(acks), percentiles(waits), busy)

    async def _open(self, places: asyncio.Semaphore, pusher: Pusher) -> None:
        async with places:
            pusher.peer, welcome = await connect(
                self._plan.url, Hello("", "bench", None, OFF), self._guarded(pusher.receive), self._fail
            )
        if self._plan.window > welcome.limits["push_entries"]:
            raise ValueError(f"a window of {self._plan.window} is above the announced {welcome.limits['push_entries']}")

    def _guarded(self, receive: Callable[[bytes], None]) -> Callable[[bytes], None]:
        def guarded(message: bytes) -> None:
            try:
                receive(message)
            except (ValueError, ConnectionLost) as error:
                self._fail(error)

        return guarded

    def _fail(self, error: Exception) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)

    async def _pace(self, rate: float) -> None:
        started, sent = time.perf_counter(), 0
        while True:
            due = int((time.perf_counter() - started) * rate)
            for number in range(sent, due):
                self._pushers[number % len(self._pushers)].send(1)
            sent = due
            await asyncio.sleep(TICK_S)

    async def _watch(self, seconds: float) -> None:
        """Wait, and fail early when a connection is lost or nothing is acked any more."""
        end = time.perf_counter() + seconds
        progress, since = -1, time.perf_counter()
        while (now := time.perf_counter()) < end:
            await asyncio.wait([self._failure], timeout=min(0.5, end - now))
            if self._failure.done():
                self._failure.result()
            acked = sum(len(pusher.acks) for pusher in self._pushers)
            if acked != progress:
                progress, since = acked, now
            elif now - since > STALLED_AFTER_S:
                raise Stalled(f"nothing was acked for {STALLED_AFTER_S:.0f} s")

    async def _hang_up(self) -> None:
        """Let what is in flight be acked: the next run shall not share the server with it."""
        for pusher in self._pushers:
            pusher.refills = False
        async with asyncio.timeout(STALLED_AFTER_S):
            await asyncio.gather(*[pusher.all_acked() for pusher in self._pushers])
        for pusher in self._pushers:
            if pusher.peer is not None:
                pusher.peer.close()

    def _cpu_s(self) -> dict[str, float]:
        return {"driver": time.process_time()} | {name: cpu_s(pids) for name, pids in self._plan.watched.items()}


def push(plan: PushPlan) -> Pushed:
    """Carry out a plan in a process of its own. Raises LoadFailed."""
    driver = subprocess.run(
        [sys.executable, "-m", "bench.pushers"],
        input=json.dumps(asdict(plan)),
        capture_output=True,
        text=True,
        timeout=CONNECTING_S_MAX + plan.warmup_s + plan.measure_s,
        check=False,
    )
    if driver.returncode != 0:
        raise LoadFailed(driver.stderr.strip()[-2_000:])
    return Pushed(**json.loads(driver.stdout))


async def _drive(plan: PushPlan) -> Pushed:
    return await Pushing(plan).run()


def main() -> None:
    plan = PushPlan(**json.load(sys.stdin))
    os.sched_setaffinity(0, {plan.core})
    gc.disable()  # as in bench.load: its pauses would be counted as the server's
    json.dump(asdict(uvloop.run(_drive(plan))), sys.stdout)


if __name__ == "__main__":
    main()
