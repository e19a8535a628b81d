"""Jobs as an engine process runs them, and what crosses the wall."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Map, Text

from crdt import jobs, wire
from crdt.document import Document
from crdt.errors import MALFORMED, Refused
from crdt.gate import fold, index_of
from crdt.index import Index
from crdt.issue import Comment, IssueContent, read
from crdt.records import FieldWrite, Limits, Overwrite
from crdt.resident import Resident, ResidentIssue
from crdt.update import EMPTY_STATE_VECTOR, merge
from tests.crdt.logs import LOGS

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def resident() -> Resident:
    return roomy()


def roomy() -> Resident:
    return Resident(max_issues=10, max_bytes=1 << 30)


def typed(*words: str) -> list[bytes]:
    """An update a word, appended to the title."""
    doc: Doc[Text] = Doc(client_id=7)
    title = doc.get("title", type=Text)
    updates = []
    for word in words:
        before = doc.get_state()
        title.insert(len(str(title)), word)
        updates.append(doc.get_update(before))
    return updates


def title_of(projected: jobs.Projected) -> str | None:
    return None if projected.content is None else projected.content.title


def test_an_issue_is_read_whole_and_then_by_its_tail(resident: Resident) -> None:
    one, two, three = typed("a", "b", "c")
    assert title_of(jobs.ProjectWhole("x", 1, [one]).run(resident)) == "a"
    assert title_of(jobs.ProjectTail("x", 1, 5, [two, three]).run(resident)) == "abc"
    assert title_of(jobs.ProjectTail("x", 5, 5, []).run(resident)) == "abc"


@pytest.mark.parametrize(("issue", "after"), [("unknown", 1), ("x", 0), ("x", 2)])
def test_a_tail_of_what_is_not_here_asks_for_the_whole(resident: Resident, issue: str, after: int) -> None:
    one, two = typed("a", "b")
    jobs.ProjectWhole("x", 1, [one]).run(resident)
    assert title_of(jobs.ProjectTail(issue, after, 3, [two]).run(resident)) is None


def test_a_tail_that_fails_leaves_nothing_half_changed_behind(resident: Resident) -> None:
    one, two = typed("a", "b")
    jobs.ProjectWhole("x", 1, [one]).run(resident)
    with pytest.raises(Refused):
        jobs.ProjectTail("x", 1, 3, [two, b"\x01"]).run(resident)
    assert title_of(jobs.ProjectTail("x", 1, 2, [two]).run(resident)) is None


def test_a_log_with_a_hole_is_refused_rather_than_shown(resident: Resident) -> None:
    one, _, three = typed("a", "b", "c")
    with pytest.raises(Refused):
        jobs.ProjectWhole("x", 3, [one, three]).run(resident)
    jobs.ProjectWhole("x", 1, [one]).run(resident)
    with pytest.raises(Refused):
        jobs.ProjectTail("x", 1, 3, [three]).run(resident)


# "x😀y" by client 1; then client 2 deletes the first half of the emoji, as naive editors do.
CUT = [bytes.fromhex("0101010004010574 69746c65 0678f09f988079 00".replace(" ", "")), bytes.fromhex("000101010101")]


def test_halved_characters_are_read_as_yjs_shows_them(resident: Resident) -> None:
    assert title_of(jobs.ProjectWhole("x", 2, CUT).run(resident)) == "x\ufffdy"
    assert title_of(jobs.ProjectWhole("x", 1, CUT[:1]).run(resident)) == "x😀y"
    assert title_of(jobs.ProjectTail("x", 1, 2, CUT[1:]).run(resident)) is None, "its document counts them wrongly"


def test_halved_characters_are_compacted_as_yjs_shows_them(resident: Resident) -> None:
    compacted = jobs.Compact(None, None, [(update, "ana") for update in CUT]).run(resident)
    assert compacted.kept is None
    assert title_of(jobs.ProjectWhole("x", 2, [compacted.state]).run(resident)) == "x\ufffdy"
    assert jobs.Compare([compacted.state], CUT).run(resident).difference is None
    assert Index.decode(compacted.index).cuts == set()


def test_compaction_carries_owners_over(resident: Resident) -> None:
    one, two = typed("a", "b")
    first = jobs.Compact(None, None, [(one, "ana")]).run(resident)
    second = jobs.Compact(first.state, first.index, [(two, "ben")]).run(resident)
    assert Index.decode(second.index).owners == {7: "ana"}


def test_differences_are_named_without_content(resident: Resident) -> None:
    one, two = typed("a", "b")
    assert jobs.Compare([one, two], [merge([one, two])]).run(resident).difference is None
    assert jobs.Compare([one], [one, two]).run(resident).difference == "state vector"
    deleting: Doc[Text] = Doc(client_id=8)
    deleting.apply_update(one)
    title = deleting.get("title", type=Text)
    before = deleting.get_state()
    del title[0:1]
    assert jobs.Compare([one], [one, deleting.get_update(before)]).run(resident).difference == "deletes"


def test_same_clocks_with_other_content_are_a_difference(resident: Resident) -> None:
    (one,), (other,) = typed("a"), typed("b")
    assert jobs.Compare([one], [other]).run(resident).difference == "content"


def test_an_index_of_another_state_is_found(resident: Resident) -> None:
    one, two = typed("a", "b")
    index = index_of(one, {}).encode()
    assert jobs.CheckIndex(one, index).run(resident).difference is None
    assert jobs.CheckIndex(merge([one, two]), index).run(resident).difference == "index: state vector"


def test_the_gate_runs_over_stored_bytes(resident: Resident) -> None:
    one, two = typed("a", "b")
    index = Index()
    fold(index, one, "ana")
    checked = jobs.Check(index.encode(), merge([one, two]), "ana", Limits()).run(resident)
    assert checked.update == two
    assert not checked.gap
    assert Index.decode(checked.index).state_vector == {7: 2}
    with pytest.raises(Refused) as refused:
        jobs.Check(index.encode(), b"\x01", "ana", Limits()).run(resident)
    assert refused.value.reason == MALFORMED


def test_merge_and_diff_are_those_of_bytes(resident: Resident) -> None:
    one, two = typed("a", "b")
    merged = jobs.Merge([one, two]).run(resident).update
    assert merged == merge([one, two])
    assert jobs.Diff(merged, EMPTY_STATE_VECTOR).run(resident).update == merged


@given(LOGS, st.data())
def test_live_projection_replay_and_snapshot_with_tail_agree(log: list[bytes], data: st.DataObject) -> None:
    """The law behind recovery: one state, however it was reached, for every split."""
    split, again = sorted((data.draw(st.integers(0, len(log))), data.draw(st.integers(0, len(log)))))
    live = roomy()
    jobs.ProjectWhole("x", split, log[:split]).run(live)
    jobs.ProjectTail("x", split, again, log[split:again]).run(live)
    followed = jobs.ProjectTail("x", again, len(log), log[again:]).run(live).content
    replayed = jobs.ProjectWhole("x", len(log), log).run(roomy()).content
    first = jobs.Compact(None, None, [(update, "ana") for update in log[:split]]).run(live)
    second = jobs.Compact(first.state, first.index, [(update, "ben") for update in log[split:again]]).run(live)
    resumed = jobs.ProjectWhole("x", len(log), [second.state, *log[again:]]).run(roomy()).content
    assert followed == replayed == resumed
    assert jobs.Compare([second.state, *log[again:]], log).run(live).difference is None
    assert jobs.CheckIndex(second.state, second.index).run(live).difference is None


@given(LOGS)
def test_kept_merged_bytes_have_the_index_of_their_deltas(log: list[bytes]) -> None:
    folded = Index()
    for update in log:
        fold(folded, update, "ana")
    derived = index_of(merge(log), {})
    assert folded.state_vector == derived.state_vector
    assert folded.cuts == derived.cuts


def entry(seq: int, update_bytes: int) -> ResidentIssue:
    return ResidentIssue(Document(), Index(), seq, update_bytes)


def test_residents_beyond_the_count_go_least_recently_used_first() -> None:
    held = Resident(max_issues=2, max_bytes=1 << 30)
    for name in ("a", "b"):
        held.put(name, entry(1, 1))
    taken = held.take("a", 1)
    assert taken is not None
    held.put("a", taken)
    held.put("c", entry(1, 1))
    assert len(held) == 2
    assert held.take("b", 1) is None
    assert held.take("a", 1) is taken


def test_residents_beyond_the_weight_go_even_the_only_one() -> None:
    held = Resident(max_issues=10, max_bytes=100_000)
    held.put("small", entry(1, 10))
    held.put("grown", entry(1, 3_000))
    assert len(held) == 2
    held.put("grown", entry(2, 1_000_000))
    assert len(held) == 0
    held.put("small", entry(1, 10))
    assert len(held) == 1, "what went no longer weighs"


CONTENT = IssueContent(
    title="t",
    labels=("a", "b"),
    created_at=NEW_YEAR,
    comments=(Comment("c", None, NEW_YEAR, None, datetime.max.replace(tzinfo=UTC), "b"),),
    unreadable=("fields.status: number",),
)


@pytest.mark.parametrize(
    "record",
    [
        jobs.ProjectTail("x", 1, 2, (b"a", b"b")),
        jobs.ProjectWhole("x", 2, (b"a",)),
        jobs.Projected(CONTENT),
        jobs.Projected(None),
        jobs.Compact(None, None, ((b"a", "ana"),)),
        jobs.Compacted(b"s", b"i", "not contiguous"),
        jobs.Compare((b"a",), (b"b",)),
        jobs.Compared("deletes"),
        jobs.CheckIndex(b"s", b"i"),
        jobs.Merge((b"a",)),
        jobs.Diff(b"a", b"\0"),
        jobs.Bytes(b"a"),
    ],
)
def test_what_crosses_the_wall_arrives_as_it_was(record: object) -> None:
    assert wire.unpack(wire.pack(record)) == record


def test_limits_and_overwrites_cross_the_wall() -> None:
    """They are compiled with the gate and have no equality of their own."""
    job = wire.unpack(wire.pack(jobs.Check(b"i", b"u", "ana", Limits(max_depth=3))))
    assert (job.limits.max_depth, job.limits.max_key_bytes) == (3, Limits().max_key_bytes)
    standing, losing = FieldWrite(1, 2, b"v", b"s", "ana", "phone", 5), FieldWrite(3, 4, b"", b"", "", "", 0)
    overwrite = Overwrite("status", standing, losing, (1, 0))
    checked = wire.unpack(wire.pack(jobs.Checked(b"u", False, [overwrite], b"i")))
    (arrived,) = checked.overwrites
    assert (arrived.key, arrived.standing.client, arrived.standing.stamp) == ("status", 1, b"s")
    assert (arrived.losing.clock, arrived.losing.at_ms, arrived.replaced) == (4, 0, (1, 0))


@given(st.binary(max_size=50))
def test_bytes_that_are_no_record_are_an_ordinary_error(data: bytes) -> None:
    with suppress(ValueError, TypeError):
        wire.unpack(data)


def test_a_value_without_a_wire_form_is_a_type_error() -> None:
    class Strange:
        pass

    with pytest.raises(TypeError):
        wire.pack(Strange())


def test_every_field_a_client_writes_survives_the_wall() -> None:
    doc: Doc[Any] = Doc()
    doc["fields"] = Map({"status": 5, "createdAt": "2026-01-01T00:00:00Z"})
    doc["comments"] = Map({"c": Map({"body": Text("b\0")})})
    content = read(Document.load(doc.get_update()))
    assert wire.unpack(wire.pack(jobs.Projected(content))).content == content
