"""The wall: whatever a job does to its process, it costs that job's issue and nobody else."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from pycrdt import Doc, Text

from crdt.errors import MALFORMED, Refused
from crdt.index import Index
from crdt.jobs import Check, Diff, Merge, ProjectTail, ProjectWhole
from crdt.records import Limits
from server.engine import EngineLimits, EnginePool, JobStats
from server.engine_child import ChildLimits
from storage.engine import EngineFailed, EngineUnavailable, IssueKey
from tests import hostile

VICTIM = IssueKey(1, UUID(int=1))
NEIGHBOUR = IssueKey(1, UUID(int=2))
UNGATED = [sys.executable, "-m", "tests.server.ungated_engine"]
HONEST = [hostile.BASE, hostile.NEXT]
ENDLESS = """
import sys
from crdt.wire import pack
from server.engine_process import FRAME_HEADER, READY
greeting = pack((READY,))
sys.stdout.buffer.write(FRAME_HEADER.pack(len(greeting)) + greeting)
sys.stdout.flush()
sys.stdin.buffer.read(1)
sys.stdout.buffer.write(FRAME_HEADER.pack(500_000_000))
while True:
    sys.stdout.buffer.write(bytes(65_536))
"""


def limits(*, processes: int = 1, deadline_seconds: float = 20.0, max_waiting: int = 16) -> EngineLimits:
    return EngineLimits(
        processes=processes,
        deadline_seconds=deadline_seconds,
        max_waiting=max_waiting,
        restart_seconds=0.001,
        max_restart_seconds=0.01,
        child=ChildLimits(memory_bytes=512 << 20),
    )


class Watch:
    """What the pool told its hooks."""

    def __init__(self) -> None:
        self.jobs: list[JobStats] = []
        self.restarts: list[str] = []

    @property
    def outcomes(self) -> list[str]:
        return [stats.outcome for stats in self.jobs]


Start = Callable[..., EnginePool]


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def start(watch: Watch) -> AsyncIterator[Start]:
    """Start a pool; it is closed with the test."""
    pools: list[EnginePool] = []

    def begin(bounds: EngineLimits, command: list[str] | None = None) -> EnginePool:
        pool = EnginePool(bounds, command=command, on_job=watch.jobs.append, on_restart=watch.restarts.append)
        pools.append(pool)
        return pool

    yield begin
    for pool in pools:
        await pool.close()


def text_update(text: str) -> bytes:
    doc: Doc[Text] = Doc(client_id=7)
    doc.get("title", type=Text).insert(0, text)
    return doc.get_update()


@pytest.mark.parametrize("update", hostile.KILLING.values(), ids=hostile.KILLING)
async def test_a_job_that_kills_its_process_fails_alone(start: Start, watch: Watch, update: str) -> None:
    pool = start(limits(), UNGATED)
    with pytest.raises(EngineFailed, match=r"crashed: (panic at yrs|signal SIG)") as failure:
        await pool.run(Merge(hostile.hostile(update)), key=VICTIM)
    assert failure.value.key == VICTIM
    assert (await pool.run(Merge(HONEST), key=NEIGHBOUR)).update
    assert watch.outcomes == ["crashed", "done"]
    assert len(watch.restarts) == 2, "a crash is tried once more, on a fresh process"


@pytest.mark.parametrize("update", hostile.HANGING.values(), ids=hostile.HANGING)
async def test_a_job_that_hangs_is_killed_at_its_deadline_and_not_tried_again(
    start: Start, watch: Watch, update: str
) -> None:
    pool = start(limits(), UNGATED)
    await pool.run(Merge(HONEST), key=NEIGHBOUR)
    (hanging,) = pool.pids()
    with pytest.raises(EngineFailed, match="deadline"):
        await pool.run(Merge(hostile.hostile(update)), key=VICTIM, deadline=0.3)
    assert not is_alive(hanging)
    assert (await pool.run(Merge(HONEST), key=NEIGHBOUR)).update
    assert watch.outcomes == ["done", "deadline", "done"]
    assert watch.restarts == ["deadline"]


@pytest.mark.parametrize("update", hostile.BREAKING.values(), ids=hostile.BREAKING)
async def test_a_job_that_raises_fails_by_type_and_its_process_lives_on(
    start: Start, watch: Watch, update: str
) -> None:
    pool = start(limits(), UNGATED)
    with pytest.raises(EngineFailed, match=r"raised (RuntimeError|ValueError)$"):
        await pool.run(Merge(hostile.hostile(update)), key=VICTIM)
    (pid,) = pool.pids()
    await pool.run(Merge(HONEST), key=NEIGHBOUR)
    assert pool.pids() == [pid]
    assert watch.restarts == []


async def test_memory_is_bounded_by_the_process_and_not_by_the_machine(start: Start, watch: Watch) -> None:
    pool = start(limits(deadline_seconds=60), UNGATED)  # it fills half a gigabyte first

    async def how_it_went_off() -> str:
        for _ in range(10):  # whether it does depends on what the process did before; then it is tried in a fresh one
            try:
                await pool.run(Merge(hostile.hostile(hostile.MEMORY_BOMB)), key=VICTIM)
            except EngineFailed as failed:
                return failed.reason
            if watch.restarts:
                return "crashed"
        return "never"

    assert re.match("crashed|raised MemoryError", await how_it_went_off())
    assert (await pool.run(Merge(HONEST), key=NEIGHBOUR)).update


async def test_other_issues_go_on_while_one_hangs(start: Start) -> None:
    pool = start(limits(processes=2, max_waiting=64), UNGATED)
    others = [IssueKey(1, UUID(int=number)) for number in range(2, 40)]
    hanging = asyncio.create_task(
        pool.run(Merge(hostile.hostile(next(iter(hostile.HANGING.values())))), key=VICTIM, deadline=5.0)
    )
    results = await asyncio.gather(
        *(pool.run(Merge(HONEST), key=key) for key in others if pool._slot(key) is not pool._slot(VICTIM))
    )
    assert results
    assert not hanging.done()
    hanging.cancel()


async def test_jobs_behind_a_crash_are_answered_by_the_next_process(start: Start, watch: Watch) -> None:
    pool = start(limits(), UNGATED)
    killing = pool.run(Merge(hostile.hostile(next(iter(hostile.KILLING.values())))), key=VICTIM)
    honest = [pool.run(Merge(HONEST), key=IssueKey(2, UUID(int=number))) for number in range(5)]
    results = await asyncio.gather(killing, *honest, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["EngineFailed"] + ["Bytes"] * 5


async def test_a_process_killed_from_outside_is_replaced_and_the_job_still_done(start: Start, watch: Watch) -> None:
    pool = start(limits())
    await pool.run(Merge(HONEST), key=VICTIM)
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGKILL)
    assert (await pool.run(Merge(HONEST), key=VICTIM)).update
    assert pool.pids() != [pid]
    assert watch.outcomes == ["done", "done"]


async def test_the_interrupt_of_the_terminal_is_left_to_the_parent(start: Start) -> None:
    pool = start(limits())
    await pool.run(Merge(HONEST), key=VICTIM)
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGINT)
    await pool.run(Merge(HONEST), key=VICTIM)
    assert pool.pids() == [pid]


async def test_refusals_cross_the_wall_as_refusals(start: Start, watch: Watch) -> None:
    pool = start(limits())
    with pytest.raises(Refused) as refused:
        await pool.run(Check(Index().encode(), b"\x01\x00\x01\x00\x00", "ana", Limits()), key=VICTIM)
    assert refused.value.reason == MALFORMED
    assert watch.outcomes == ["refused"]


async def test_an_issue_stays_in_its_process_between_projections(start: Start) -> None:
    pool = start(limits(processes=2))
    whole = await pool.run(ProjectWhole(str(VICTIM), 1, [text_update("A title")]), key=VICTIM)
    assert whole.content is not None
    assert whole.content.title == "A title"
    held = await pool.run(ProjectTail(str(VICTIM), 1, 2, []), key=VICTIM)
    assert held.content == whole.content
    strange = await pool.run(ProjectTail(str(NEIGHBOUR), 1, 2, []), key=NEIGHBOUR)
    assert strange.content is None


async def test_a_full_queue_says_so_at_once(start: Start) -> None:
    pool = start(limits(max_waiting=1), UNGATED)
    await pool.run(Merge(HONEST), key=VICTIM)
    hang = Merge(hostile.hostile(next(iter(hostile.HANGING.values()))))
    running = asyncio.create_task(pool.run(hang, key=VICTIM, deadline=0.5))
    waiting = asyncio.create_task(pool.run(Merge(HONEST), key=VICTIM))
    await turns(3)
    with pytest.raises(EngineUnavailable, match="full"):
        await pool.run(Merge(HONEST), key=VICTIM)
    with pytest.raises(EngineFailed):
        await running
    assert (await waiting).update


async def test_a_cancelled_job_leaves_no_answer_for_the_next(start: Start) -> None:
    pool = start(limits(), UNGATED)
    await pool.run(Merge(HONEST), key=VICTIM)
    hang = asyncio.create_task(pool.run(Merge(hostile.hostile(next(iter(hostile.HANGING.values())))), key=VICTIM))
    await turns(3)
    hang.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hang
    assert await pool.run(Diff(hostile.BASE, b"\x00"), key=VICTIM)


async def test_a_process_killed_in_the_middle_of_a_long_answer_is_replaced(start: Start, watch: Watch) -> None:
    pool = start(limits(), [sys.executable, "-c", ENDLESS])
    for _ in range(2):
        with pytest.raises(EngineFailed, match="deadline"):
            await pool.run(Merge(HONEST), key=VICTIM, deadline=0.02)
    assert watch.restarts == ["deadline"] * 2


@pytest.mark.parametrize("turns_before", range(1, 6))
async def test_a_start_whose_job_is_cancelled_is_the_next_ones(start: Start, turns_before: int) -> None:
    pool, itself = start(limits()), psutil.Process()
    others = set(itself.children())
    starting = asyncio.create_task(pool.run(Merge(HONEST), key=VICTIM))
    await turns(turns_before)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    [started] = set(itself.children()) - others
    await pool.run(Merge(HONEST), key=VICTIM)
    assert pool.pids() == [started.pid]


@pytest.mark.parametrize("is_cancelled", [False, True])
@pytest.mark.parametrize("turns_before", range(6))
async def test_closed_at_any_turn_of_a_start_it_leaves_nothing(
    start: Start, turns_before: int, is_cancelled: bool
) -> None:
    pool, itself = start(limits()), psutil.Process()
    before = (children(), itself.num_fds())
    starting = asyncio.create_task(pool.run(Merge(HONEST), key=VICTIM))
    await turns(turns_before)
    if is_cancelled:
        starting.cancel()
    await pool.close()
    assert (children(), itself.num_fds()) == before
    with pytest.raises(asyncio.CancelledError if is_cancelled else EngineUnavailable):
        await starting


async def test_closed_after_cancelled_jobs_it_leaves_nothing(start: Start) -> None:
    pool, itself = start(limits(processes=2), UNGATED), psutil.Process()
    before = (children(), itself.num_fds())
    await pool.warm()
    hang = Merge(hostile.hostile(next(iter(hostile.HANGING.values()))))
    jobs = [asyncio.create_task(pool.run(hang, key=IssueKey(1, UUID(int=number)))) for number in range(8)]
    for _ in range(2):  # the second time, of those that run, while they wait for the end of their process
        await turns(3)
        for job in jobs:
            job.cancel()
    await pool.close()
    assert (children(), itself.num_fds()) == before


async def test_an_engine_that_cannot_start_blames_no_issue(start: Start, watch: Watch) -> None:
    pool = start(limits(), [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(EngineUnavailable, match="exit 3"):
        await pool.run(Merge(HONEST), key=VICTIM)
    assert watch.outcomes == ["unavailable"]


async def test_warm_processes_are_there_before_the_first_job(start: Start) -> None:
    pool = start(limits(processes=2))
    await pool.warm()
    pids = pool.pids()
    assert len(pids) == 2
    await pool.run(Merge(HONEST), key=VICTIM)
    assert pool.pids() == pids


async def test_processes_give_way_to_the_server_from_their_start_on(start: Start) -> None:
    pool = start(limits())
    await pool.warm()
    for pid in pool.pids():
        assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) + 10
        if sys.platform == "linux":
            assert os.sched_getscheduler(pid) == os.SCHED_BATCH


async def test_warming_what_cannot_start_is_no_failure(start: Start) -> None:
    pool = start(limits(), [sys.executable, "-c", "raise SystemExit(3)"])
    await pool.warm()
    assert pool.pids() == []


async def test_close_ends_the_processes_and_what_they_run(start: Start) -> None:
    pool = start(limits(), UNGATED)
    await pool.run(Merge(HONEST), key=VICTIM)
    (pid,) = pool.pids()
    hang = asyncio.create_task(pool.run(Merge(hostile.hostile(next(iter(hostile.HANGING.values())))), key=VICTIM))
    await turns(3)
    await pool.close()
    assert not is_alive(pid)
    with pytest.raises(EngineUnavailable):
        await hang
    with pytest.raises(EngineUnavailable):
        await pool.run(Merge(HONEST), key=VICTIM)


async def test_an_engine_process_dies_with_its_parent_even_while_it_hangs(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from tests.server.test_engine import *\n"
        "async def main():\n"
        "    pool = EnginePool(limits(), command=UNGATED)\n"
        "    await pool.run(Merge(HONEST), key=VICTIM)\n"
        "    print(*pool.pids(), flush=True)\n"
        "    hang = hostile.hostile(next(iter(hostile.HANGING.values())))\n"
        "    await pool.run(Merge(hang), key=VICTIM)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert parent.stdout is not None
    engine = int(await parent.stdout.readline())
    assert is_alive(engine)
    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()
    await eventually(lambda: not is_alive(engine))


def children() -> set[int]:
    """Our processes, as ids. A Postgres for other tests may be among them."""
    return {child.pid for child in psutil.Process().children()}


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent to look does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


async def turns(count: int) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await turn()


def turn() -> Awaitable[None]:
    return asyncio.sleep(0)


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await turn()


async def test_jobs_sent_together_are_answered_each_for_itself(start: Start, watch: Watch) -> None:
    pool = start(limits(processes=2))
    jobs = {IssueKey(1, UUID(int=number)): Merge([text_update(str(number))] * 2) for number in range(80)}
    answers = await pool.run_all(jobs)
    assert {key: answer.update for key, answer in answers.items() if not isinstance(answer, Exception)} == {
        key: text_update(str(key.issue_id.int)) for key in jobs
    }
    assert len(watch.jobs) < len(jobs) / 10


async def test_a_refusal_among_jobs_sent_together_is_its_issues_alone(start: Start) -> None:
    pool = start(limits())
    answers = await pool.run_all({VICTIM: ProjectWhole("v", 1, [b"\x01"]), NEIGHBOUR: ProjectWhole("n", 1, HONEST)})
    refused = answers[VICTIM]
    assert isinstance(refused, Refused)
    assert refused.reason == MALFORMED
    assert not isinstance(answers[NEIGHBOUR], Exception)


@pytest.mark.parametrize("update", hostile.KILLING.values(), ids=hostile.KILLING)
async def test_a_killer_among_jobs_sent_together_is_found(start: Start, update: str) -> None:
    pool = start(limits(), UNGATED)
    answers = await pool.run_all({VICTIM: Merge(hostile.hostile(update)), NEIGHBOUR: Merge(HONEST)})
    failure = answers[VICTIM]
    assert isinstance(failure, EngineFailed)
    assert failure.key == VICTIM
    assert not isinstance(answers[NEIGHBOUR], Exception)
