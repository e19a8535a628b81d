"""`make demo`: two people type one issue through a server that is killed five times, and nothing is lost.

Two unmodified y-websocket clients in Node (2.1 and 3.1) replay a recorded session as its two authors; how each of them
makes every edit on exactly the text its author saw is written in tests/js/author.mjs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.session import Step, scripts, seeded
from bench.traces import ConcurrentTrace, find_traces, load
from tests.js.toolchain import Script, running
from tests.peers.server_process import ServerFailed, ServerProcess, eventually, serving

TRACE: Final = "friendsforever"
AUTHORS: Final = ("ana", "ben")
PROVIDERS: Final = (2, 3)  # y-websocket 2.1 and 3.1
SEEDED_TRANSACTIONS: Final = 6_000
REPLAY_SECONDS: Final = 300.0
PROJECTION_SECONDS: Final = 30.0


@dataclass(slots=True)
class Course:
    """How far the session has come; `kills` wait for it to reach their places."""

    done: list[int]
    moved: asyncio.Condition

    async def report(self, agent: int, done: int) -> None:
        """Author `agent` has made `done` transactions."""
        async with self.moved:
            self.done[agent] = done
            self.moved.notify_all()

    async def reach(self, total: int) -> None:
        """Wait until both authors together have made `total` transactions."""
        async with self.moved:
            await self.moved.wait_for(lambda: sum(self.done) >= total)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the verdict."""

    what: str
    holds: bool
    detail: str


def main() -> None:
    """Parse the command line, run the demo, exit 0 only if every copy of the text is right."""
    parser = argparse.ArgumentParser(prog="python -m bench.demo", description=__doc__)
    parser.add_argument("--traces", type=Path, help="folder with editing traces (*.json.gz)")
    parser.add_argument("--kills", type=int, default=5, help="how often the server is killed with SIGKILL")
    parser.add_argument("--seed", type=int, default=1, help="where the kills fall, and what is typed without a trace")
    options = parser.parse_args()
    console = Console()
    trace = choose(options.traces, options.seed, console)
    with tempfile.TemporaryDirectory(prefix="syncline-demo-") as folder:
        checks = asyncio.run(play(trace, Path(folder), options.kills, options.seed, console))
    sys.exit(0 if show_verdict(checks, console) else 1)


def choose(folder: Path | None, seed: int, console: Console) -> ConcurrentTrace:
    """The recorded session when it is there, else two seeded typists."""
    path = find_traces(folder).get(TRACE)
    trace = load(path) if path else None
    if isinstance(trace, ConcurrentTrace):
        console.print(f"[bold]{TRACE}[/]: a recording of two people writing one text at once")
        return trace
    console.print(f"The recording {TRACE} is not here; two seeded typists take its place.")
    return seeded(seed, SEEDED_TRANSACTIONS)


async def play(trace: ConcurrentTrace, folder: Path, kills: int, seed: int, console: Console) -> list[Check]:
    """The whole session on a server of its own under `folder`."""
    both = scripts(trace)
    issue = uuid4()
    console.print(
        f"{len(trace.transactions):,} edits, {sum(step.stop for steps in both for step in steps):,} hand-overs"
    )
    async with serving() as server:
        console.print(f"server ready on port {server.port}; issue {issue}\n")
        began = time.monotonic()
        outcomes = await type_and_kill(server, issue, trace.name, both, folder, Kills(kills, seed), console)
        console.print(f"\ntyped in {time.monotonic() - began:.0f} s, {kills} kills among it\n")
        return [*judge_replicas(outcomes, trace), *await judge_server(server, issue, trace)]


@dataclass(frozen=True, slots=True)
class Kills:
    """How many, and the seed of their places."""

    count: int
    seed: int

    def places(self, total: int) -> Iterator[int]:
        """Ascending numbers of edits, one somewhere in every part of the session."""
        chance = random.Random(self.seed)
        part = total / (self.count + 1)
        for number in range(self.count):
            yield int(part * (number + 0.6 + 0.8 * chance.random()))


async def type_and_kill(
    server: ServerProcess,
    issue: UUID,
    title: str,
    both: tuple[list[Step], list[Step]],
    folder: Path,
    kills: Kills,
    console: Console,
) -> list[dict[str, Any]]:
    """Both authors at work and the server dying under them; returns what each replica holds in the end."""
    course = Course([0, 0], asyncio.Condition())
    async with running("author.mjs") as first, running("author.mjs") as second, asyncio.TaskGroup() as group:
        with progress_bars(both, console) as (progress, bars):
            replays = []
            for agent, script in enumerate((first, second)):
                address = server.address(server.token(AUTHORS[agent]), issue)
                session = write_script(folder, agent, both, title)
                replay = script.call(
                    "replay",
                    deadline=REPLAY_SECONDS,
                    session=str(session),
                    version=PROVIDERS[agent],
                    url=address.url,
                    room=address.room,
                    params=address.params,
                )
                replays.append(group.create_task(replay))
                group.create_task(follow(script, agent, len(both[agent]), course, progress, bars[agent]))
            killing = group.create_task(kill_again_and_again(server, course, kills, sum(map(len, both)), progress))
            outcomes = [await replay for replay in replays]
            await killing
    return outcomes


@contextmanager
def progress_bars(
    both: tuple[list[Step], list[Step]], console: Console
) -> Iterator[tuple[Progress, tuple[TaskID, TaskID]]]:
    """A bar an author."""
    columns = (TextColumn("{task.description:>22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bars = [
            progress.add_task(f"{AUTHORS[agent]} (y-websocket {PROVIDERS[agent]})", total=len(steps))
            for agent, steps in enumerate(both)
        ]
        yield progress, (bars[0], bars[1])


def write_script(folder: Path, agent: int, both: tuple[list[Step], list[Step]], title: str) -> Path:
    """What author.mjs reads: this author's steps and how much to expect of the other one."""
    path = folder / f"author-{agent}.json"
    steps = [
        {
            "sees": step.sees,
            "stop": step.stop,
            "patches": [[patch.position, patch.deleted, patch.inserted] for patch in step.patches],
        }
        for step in both[agent]
    ]
    record = {
        "agent": agent,
        "other": 1 - agent,
        "title": title if agent == 0 else "",
        "total": len(both[1 - agent]),
        "steps": steps,
    }
    path.write_text(json.dumps(record))
    return path


async def follow(script: Script, agent: int, total: int, course: Course, progress: Progress, bar: TaskID) -> None:
    """Turn an author's reports into progress."""
    done = 0
    while done < total:
        done = (await script.event(deadline=REPLAY_SECONDS))["done"]
        progress.update(bar, completed=done)
        await course.report(agent, done)


async def kill_again_and_again(
    server: ServerProcess, course: Course, kills: Kills, total: int, progress: Progress
) -> None:
    """kill -9 at each place, and start again at once."""
    for number, place in enumerate(kills.places(total), start=1):
        await course.reach(place)
        await server.kill()
        seconds = await server.start()
        progress.console.print(f"kill -9 no. {number} at edit {sum(course.done):,}: ready again after {seconds:.1f} s")


def judge_replicas(outcomes: list[dict[str, Any]], trace: ConcurrentTrace) -> Iterator[Check]:
    """Each author's own document, and the one their provider kept in sync."""
    for agent, outcome in enumerate(outcomes):
        holds = outcome["work"] == outcome["net"] == trace.end_content
        yield Check(f"{AUTHORS[agent]}'s replica", holds, f"connected {outcome['connections']} times")


async def judge_server(server: ServerProcess, issue: UUID, trace: ConcurrentTrace) -> list[Check]:
    """What SQL reads, and what the log alone says."""

    async def projected() -> bool:
        return await described(server, issue) == trace.end_content

    try:
        await eventually(projected, "the projection", deadline=PROJECTION_SECONDS)
        row = True
    except ServerFailed as error:
        row, detail = False, str(error)
    else:
        detail = f"{len(trace.end_content):,} characters"
    code, output = await server.command("replay", "--from-log", "--workspace", "main", "--issue", str(issue))
    last = output.strip().splitlines()[-1:] or [""]
    return [
        Check("SELECT description FROM issues", row, detail),
        Check("syncline replay --from-log", code == 0, last[0].strip()),
    ]


async def described(server: ServerProcess, issue: UUID) -> str | None:
    """The description as SQL tools read it."""
    async with server.database() as database:
        description: str | None = await database.fetchval("SELECT description FROM issues WHERE id = $1", issue)
        return description


def show_verdict(checks: list[Check], console: Console) -> bool:
    """Print the table; True when all of it is green."""
    table = Table(title="Equal to the end of the session?")
    for column in ("copy", "equal", ""):
        table.add_column(column)
    for check in checks:
        table.add_row(check.what, "[green]yes[/]" if check.holds else "[bold red]NO[/]", check.detail)
    console.print(table)
    good = all(check.holds for check in checks)
    console.print("[bold green]Nothing was lost.[/]" if good else "[bold red]Something was lost.[/]")
    return good


if __name__ == "__main__":
    main()
