"""A client that comes to a workspace and stays until it is live, in a process of its own.

`python -m bench.followers` reads a `Coming` as JSON from stdin and prints an `Arrived` as JSON. It reads frames and
keeps nothing, or it is the SDK with a local store.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from uuid import UUID

import uvloop

from bench.native import connect, sync_url
from bench.plan import LoadFailed
from bench.resident import forget_peak, peak_mb, resident_mb
from crdt.native import Hello, Page, Reload, Reset
from crdt.native_codec import decode_server
from crdt.native_entries import read_entries
from syncline import Client, State

ARRIVING_S_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Coming:
    """Where to. `store`: the file of the SDK's local store, made if need be; without one frames are read, from `cursor`
    of `epoch` on. `core`: where it runs."""

    host: str
    workspace: str
    token: str
    core: int
    store: str | None = None
    epoch: str | None = None
    cursor: int | None = None


@dataclass(frozen=True, slots=True)
class Arrived:
    """`seconds` from connecting to being live · `wire_bytes`: of all frames of the feed · `content_bytes`: of the
    updates in them; both 0 with the SDK, which does not tell · `issues`: that came, with the SDK: that are there."""

    seconds: float
    issues: int
    wire_bytes: int
    content_bytes: int
    rss_mb: float
    peak_mb: float


class Reader:
    """Takes in the frames of a feed as a client must, and keeps nothing. `live` resolves at the head."""

    def __init__(self, cursor: int) -> None:
        self.live: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wire_bytes = 0
        self.content_bytes = 0
        self.issues: set[UUID] = set()
        self._cursor = cursor

    def receive(self, message: bytes) -> None:
        """The next frame."""
        try:
            self._receive(message)
        except Exception as error:  # noqa: BLE001 -- the run ends with it
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """The run is over."""
        if not self.live.done():
            self.live.set_exception(error)

    def _receive(self, message: bytes) -> None:
        self.wire_bytes += len(message)
        frame = decode_server(message)
        if isinstance(frame, Page | Reload):
            for entry in read_entries(frame.body, frame.is_packed):
                self.content_bytes += len(entry.payload)
                self.issues.add(entry.issue)
        match frame:
            case Page(from_seq, to_seq, head):
                if from_seq != self._cursor:
                    raise ValueError(f"a page from {from_seq} at cursor {self._cursor}")
                self._cursor = to_seq
                if to_seq == head and not self.live.done():
                    self.live.set_result(None)
            case Reload(base, _, None):
                self._cursor = base
            case Reload() | Reset():
                pass
            case _:
                raise ValueError(f"a feed expected, {frame} came")


async def read(coming: Coming) -> Arrived:
    """Read frames until the head."""
    epoch = UUID(coming.epoch) if coming.epoch is not None else None
    hello = Hello("", "bench", epoch=epoch, cursor=coming.cursor)
    reader = Reader(coming.cursor or 0)
    before, started = resident_mb(os.getpid()), time.perf_counter()
    url = sync_url(coming.host, coming.workspace, coming.token)
    peer, _ = await connect(url, hello, reader.receive, reader.fail)
    await reader.live
    seconds = time.perf_counter() - started
    peer.close()
    return Arrived(seconds, len(reader.issues), reader.wire_bytes, reader.content_bytes, before, peak_mb(os.getpid()))


async def keep(coming: Coming, store: str) -> Arrived:
    """Be the SDK until it is live."""
    before, started = resident_mb(os.getpid()), time.perf_counter()
    client = Client(f"http://{coming.host}", token=coming.token, workspace=coming.workspace, path=store)
    async with client:
        async for status in client.status:
            if status.state is State.LIVE:
                break
            if status.state in (State.NEEDS_AUTH, State.ERROR):
                raise ValueError(status.reason)
        seconds = time.perf_counter() - started
        most = peak_mb(os.getpid())
        issues = len(await client.issues.list())
    return Arrived(seconds, issues, 0, 0, before, most)


def come(coming: Coming) -> Arrived:
    """In a process of its own. Raises LoadFailed."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.followers"],
        input=json.dumps(asdict(coming)),
        capture_output=True,
        text=True,
        timeout=ARRIVING_S_MAX,
        check=False,
    )
    if done.returncode != 0:
        raise LoadFailed(done.stderr.strip()[-2_000:])
    return Arrived(**json.loads(done.stdout))


async def _arrive(coming: Coming) -> Arrived:
    async with asyncio.timeout(ARRIVING_S_MAX):
        return await (read(coming) if coming.store is None else keep(coming, coming.store))


def main() -> None:
    coming = Coming(**json.load(sys.stdin))
    os.sched_setaffinity(0, {coming.core})
    forget_peak(os.getpid())
    json.dump(asdict(uvloop.run(_arrive(coming))), sys.stdout)


if __name__ == "__main__":
    main()
