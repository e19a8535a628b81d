"""Commits are counted one by one, and what is committed is typing that a gate takes."""

from __future__ import annotations

from bench.appending import WARM_UP, commits
from crdt.gate import check
from crdt.index import Index
from crdt.records import Limits
from storage.postgres import PostgresStore


async def test_every_commit_is_a_letter_in_each_issue(store: PostgresStore) -> None:
    workspace = await store.create_workspace("main", "Main")
    waits = await commits(store, workspace.id, deltas=3, seconds=0.0)
    assert len(waits) == 1
    log = await store.page(workspace.id, 0, 1_000)
    assert len(log) == 3 * WARM_UP
    indexes = {delta.issue_id: Index() for delta in log}
    assert len(indexes) == 3
    for delta in log:
        assert check(indexes[delta.issue_id], delta.update, "bench", Limits()).update == delta.update
