"""The faults of the in-memory store: each commit can fail, or happen and not be heard of."""

from __future__ import annotations

import pytest

from storage.errors import StoreUnavailable
from storage.memory import MemoryStore, Moment
from tests.storage.rows import ISSUE, new_delta, projected, snapshot


class FailingOnce:
    """Fails the first operation of that name at that moment."""

    def __init__(self) -> None:
        self.next: tuple[Moment, str] | None = None

    async def __call__(self, moment: Moment, operation: str) -> None:
        if self.next == (moment, operation):
            self.next = None
            raise StoreUnavailable(f"{moment} {operation}")


@pytest.fixture
def fault() -> FailingOnce:
    return FailingOnce()


@pytest.fixture
async def memory(fault: FailingOnce) -> MemoryStore:
    store = MemoryStore(fault=fault)
    await store.create_workspace("main", "Main")
    return store


async def test_a_commit_that_fails_did_not_happen(memory: MemoryStore, fault: FailingOnce) -> None:
    fault.next = ("before", "append")
    with pytest.raises(StoreUnavailable):
        await memory.append([new_delta(1)])
    assert await memory.page(1, 0, 10) == []


async def test_a_commit_whose_answer_got_lost_did_happen(memory: MemoryStore, fault: FailingOnce) -> None:
    fault.next = ("after", "append")
    with pytest.raises(StoreUnavailable):
        await memory.append([new_delta(1)])
    assert len(await memory.page(1, 0, 10)) == 1


async def test_a_read_can_fail_and_is_never_empty_instead(memory: MemoryStore, fault: FailingOnce) -> None:
    await memory.append([new_delta(1)])
    fault.next = ("before", "load")
    with pytest.raises(StoreUnavailable):
        await memory.load(1, ISSUE)
    assert (await memory.load(1, ISSUE)).seq == 1


async def project(memory: MemoryStore) -> None:
    async with memory.projection(1) as turn:
        assert turn is not None
        await turn.save([projected(1)], await memory.page_by_issue(1, turn.cursor, 10))


@pytest.mark.parametrize(("moment", "is_saved"), [("before", False), ("after", True)])
async def test_a_projection_is_saved_with_its_cursor_or_not_at_all(
    memory: MemoryStore, fault: FailingOnce, moment: Moment, is_saved: bool
) -> None:
    await memory.append([new_delta(1)])
    fault.next = (moment, "commit_projection")
    with pytest.raises(StoreUnavailable):
        await project(memory)
    assert bool(await memory.projected(1, [ISSUE])) is is_saved
    async with memory.projection(1) as turn:
        assert turn is not None
        assert turn.cursor == int(is_saved)


async def test_maintenance_can_fail_after_it_was_done(memory: MemoryStore, fault: FailingOnce) -> None:
    await memory.append([new_delta(1)])
    await project(memory)
    for operation, work in (
        ("save_snapshot", memory.save_snapshot(snapshot(1, 1))),
        ("trim", memory.trim(1, ISSUE, 1)),
        ("quarantine", memory.quarantine(1, ISSUE, "hung")),
    ):
        fault.next = ("after", operation)
        with pytest.raises(StoreUnavailable):
            await work
    assert [s.seq for s in await memory.snapshots(1, ISSUE)] == [1]
    assert await memory.page(1, 0, 10) == []
    assert len(await memory.quarantined()) == 1
