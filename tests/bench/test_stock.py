"""Stocked issues are what clients would have made: the gate takes them, and they are as big as they are said to be."""

from __future__ import annotations

from bench.stock import stock_whole, type_into
from crdt.document import Document
from crdt.gate import check
from crdt.index import Index
from crdt.issue import read
from crdt.records import Limits
from crdt.update import merge
from storage.postgres import PostgresStore


async def test_whole_issues_are_one_sound_delta_of_about_a_kilobyte(store: PostgresStore, dsn: str) -> None:
    workspace, ids = await stock_whole(dsn, "big", 50)
    log = await store.page(workspace.id, 0, 1_000)
    assert [delta.issue_id for delta in log] == ids
    assert workspace.head == 50
    for delta in log:
        verdict = check(Index(), delta.update, "bench", Limits())
        assert (verdict.update, verdict.gap) == (delta.update, False)
    assert 900 < sum(len(delta.update) for delta in log) / 50 < 1_150


async def test_what_is_typed_later_shows_in_the_description(store: PostgresStore, dsn: str) -> None:
    workspace, ids = await stock_whole(dsn, "big", 2)
    await type_into(store, workspace, ids[1:], 4)
    log = await store.page(workspace.id, 0, 100)
    before = read(Document.load(log[1].update)).description
    after = read(Document.load(merge([delta.update for delta in log if delta.issue_id == ids[1]]))).description
    assert len(log) == 6
    assert after == "the " + before or after == before + "the "
