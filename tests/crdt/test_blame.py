"""Who wrote which characters: against a list of characters that each know their writer."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Doc, Text

from crdt.jobs import Compact
from crdt.jobs_history import Blame, LoggedDelta, Run, TellBlame
from crdt.resident import Resident
from tests.crdt.issue_log import Log, across

STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.integers(0, 4), st.sampled_from(["x", "yz", "héö"])),
    max_size=20,
)


def blame(deltas: list[LoggedDelta], compacted: int = 0, root: str = "description") -> list[Run]:
    """With the first `compacted` deltas in a snapshot."""
    state = index = None
    if compacted:
        tail = [(delta.update, delta.actor_id) for delta in deltas[:compacted]]
        snapshot = Compact(None, None, tail).run(Resident(max_issues=1, max_bytes=1))
        state, index = snapshot.state, snapshot.index
    answer: Blame = across(TellBlame(state, index, deltas[compacted:], root))
    return list(answer.runs)


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
