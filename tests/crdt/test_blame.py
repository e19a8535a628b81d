"""Who wrote which characters: against a list of characters that each know their writer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Doc, Text

from crdt.document import Document
from crdt.jobs import Compact
from crdt.jobs_history import Blame, LoggedDelta, Run, TellBlame, entry_of, groups_of
from crdt.resident import Resident
from crdt.shape import Shape
from tests.crdt.issue_log import Log, across

STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.integers(0, 4), st.sampled_from(["x", "yz", "héö"])),
    max_size=20,
)


def blame(deltas: list[LoggedDelta], compacted: int = 0, root: str = "description") -> list[Run]:
    """With the first `compacted` deltas in a snapshot, and of each entry its first and its last delta where that is
    enough."""
    index = None
    if compacted:
        tail = [(delta.update, delta.actor_id) for delta in deltas[:compacted]]
        snapshot = Compact(None, None, tail).run(Resident(max_issues=1, max_bytes=1))
        index = snapshot.index
    entries = [entry_of(group) for group in groups_of(deltas[compacted:])]
    updates = [delta.update for delta in deltas]
    ends = [replace(entry, updates=(entry.updates[0], entry.updates[-1])) for entry in entries]
    answer: Blame = across(TellBlame(updates, index, ends, root))
    whole: Blame = across(TellBlame(updates, index, entries, root))
    assert whole.runs is not None
    assert answer.runs in (None, whole.runs)
    return list(whole.runs)


def test_runs_name_who_wrote_them_when_and_in_which_entry() -> None:
    log = Log()
    log.write("ana", lambda shape: shape.description.insert(0, "It takes "), device="phone")
    log.write("ana", lambda shape: shape.description.insert(9, "ten "), seconds=5, device="phone")
    log.write("ben", lambda shape: shape.description.insert(13, "seconds 😀"))
    log.write("ana", lambda shape: shape.description.insert(9, "about "))
    first, about, ten, seconds = blame(log.deltas)
    assert (first.text, first.actor_id, first.device_id, first.first_seq, first.seq) == (
        "It takes ",
        "ana",
        "phone",
        1,
        2,
    )
    assert first.created_at == log.deltas[1].created_at
    assert (about.text, about.seq) == ("about ", 4)
    assert (ten.text, ten.first_seq, ten.seq) == ("ten ", 1, 2)
    assert (seconds.text, seconds.actor_id) == ("seconds 😀", "ben")


def test_where_the_log_is_trimmed_the_actor_is_still_known() -> None:
    log = Log()
    log.write("ana", lambda shape: shape.description.insert(0, "It takes ten seconds"))
    log.write("ben", lambda shape: shape.description.insert(20, " here"))
    log.write("ana", lambda shape: shape.description.insert(25, "!"))
    runs = [(run.text, run.actor_id, run.seq) for run in blame(log.deltas, compacted=2)]
    assert runs == [("It takes ten seconds", "ana", None), (" here", "ben", None), ("!", "ana", 3)]


def test_a_halved_character_counts_as_two() -> None:
    doc: Doc[Any] = Doc(client_id=5)
    doc.get("description", type=Text).insert(0, "x😀y")
    log = Log()
    log.take(doc.get_update())
    log.take(bytes([1, 1, 6, 0, 0xC4, 5, 1, 5, 2, 1, ord("a"), 0]), "ben")
    runs = [(run.text, run.actor_id) for run in blame(log.deltas)]
    assert runs == [("x\ufffd", "ana"), ("a", "ben"), ("\ufffdy", "ana")]


def test_two_replicas_of_one_device_take_more_than_the_ends_of_an_entry() -> None:
    first, second = Document(client_id=5), Document(client_id=6)
    log = Log()
    for replica, other, text in ((first, second, "a"), (second, first, "b"), (first, second, "c")):
        update = replica.edit(lambda roots, text=text: typed_in_characters(Shape.of(roots), 0, 0, text))  # type: ignore[misc]
        other.apply(update)
        log.take(update, seconds=1)
    (entry,) = [entry_of(group) for group in groups_of(log.deltas)]
    updates = [delta.update for delta in log.deltas]
    ends = replace(entry, updates=(updates[0], updates[-1]))
    unknown: Blame = across(TellBlame(updates, None, [ends], "description"))
    assert unknown.runs is None
    assert [(run.text, run.first_seq, run.seq) for run in blame(log.deltas)] == [("cba", 1, 3)]


def test_an_empty_text_has_no_runs() -> None:
    log = Log()
    log.write("ana", lambda shape: shape.title.insert(0, "x"))
    assert blame(log.deltas) == []
    assert [run.text for run in blame(log.deltas, root="title")] == ["x"]


@given(STEPS, st.data())
@settings(max_examples=60, deadline=None)
def test_every_character_is_given_to_its_writer(steps: list[tuple[str, int, int, str]], data: st.DataObject) -> None:
    log = Log()
    characters: list[tuple[str, int]] = []
    for who, place, count, text in steps:
        at = min(place, len(characters))
        log.write(who, lambda shape, edit=(at, count, text): typed_in_characters(shape, *edit))  # type: ignore[misc]
        characters[at : at + count] = [(character, len(log.deltas)) for character in text]
    compacted = data.draw(st.integers(0, len(log.deltas)))
    told = [(character, run) for run in blame(log.deltas, compacted) for character in run.text]
    assert [character for character, _ in told] == [character for character, _ in characters]
    for (_, run), (_, seq) in zip(told, characters, strict=True):
        assert run.actor_id == log.deltas[seq - 1].actor_id
        assert run.seq == (seq if seq > compacted else None)


def typed_in_characters(shape: Any, at: int, count: int, text: str) -> None:
    old = str(shape.description)
    start, end = len(old[:at].encode()), len(old[: at + count].encode())
    if end > start:
        del shape.description[start:end]
    shape.description.insert(start, text)
