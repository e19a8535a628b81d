"""The short path: what counts as strokes, and that joined strokes say what they said one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Text

from bench.typist import Typist
from crdt.keystrokes import join_keystrokes, read_keystrokes
from crdt.parser import parse
from crdt.records import UNBOUNDED
from tests.crdt.honest import STEPS, program, shown


def loaded(updates: Sequence[bytes]) -> Doc[Any]:
    """A fresh document, an update after the other."""
    doc: Doc[Any] = Doc()
    for update in updates:
        doc.apply_update(update)
    return doc


def typed(place: int, text: str, *, client: int = 9) -> list[bytes]:
    """The update that writes "()", and one for each letter that is then typed at `place`."""
    doc: Doc[Text] = Doc(client_id=client)
    title = doc.get("t", type=Text)
    updates = []
    title += "()"
    updates.append(doc.get_update())
    for number, letter in enumerate(text):
        before = doc.get_state()
        title.insert(place + number, letter)
        updates.append(doc.get_update(before))
    return updates


@pytest.mark.parametrize("place", [1, 2], ids=["between two characters", "at the end"])
def test_letters_typed_one_after_another_become_one_string(place: int) -> None:
    first, *letters = typed(place, "letters and more" * 20)
    [joined] = join_keystrokes(letters)
    assert len(parse(joined, UNBOUNDED).sections[0].structs) == 1
    assert len(joined) < len(letters) + 30
    assert str(loaded([first, joined]).get("t", type=Text)) == str(loaded([first, *letters]).get("t", type=Text))


def test_what_a_typing_client_sends_is_read_as_strokes() -> None:
    typist = Typist(1 << 50)
    updates = [typist.type() for _ in range(300)]
    assert read_keystrokes(updates[0]) is None, "the first letter names its root"
    for clock, update in enumerate(updates[1:], start=1):
        strokes = read_keystrokes(update)
        assert strokes is not None
        assert (strokes.client, strokes.clock, strokes.length) == (1 << 50, clock, 1)
        assert (strokes.origin_client, strokes.origin_clock) == (1 << 50, clock - 1)


def test_two_authors_stay_two() -> None:
    one, other = typed(2, "abc", client=1)[1:], typed(2, "xyz", client=2)[1:]
    assert len(join_keystrokes([*one, *other])) == 2
    assert join_keystrokes([one[0], other[0], one[1]]) == [one[0], other[0], one[1]]


def test_strokes_at_another_place_are_not_joined() -> None:
    doc: Doc[Text] = Doc(client_id=5)
    text = doc.get("t", type=Text)
    text += "abcdef"
    updates = []
    for place in (6, 3, 7):
        before = doc.get_state()
        text.insert(place, "x")
        updates.append(doc.get_update(before))
    assert join_keystrokes(updates) == updates


def test_a_missing_letter_in_between_is_not_bridged() -> None:
    letters = typed(2, "abc")[1:]
    assert join_keystrokes([letters[0], letters[2]]) == [letters[0], letters[2]]


@given(STEPS)
def test_joined_updates_say_what_they_said(steps: list[tuple[int, int, int, int]]) -> None:
    clients = program(steps)
    for client in clients:
        assert shown(loaded(join_keystrokes(client.made))) == shown(loaded(client.made))


@given(st.binary(max_size=60))
def test_bytes_read_as_strokes_are_what_the_parser_reads(data: bytes) -> None:
    for bytes_ in (data, b"\x01\x01" + data + b"\x00"):
        strokes = read_keystrokes(bytes_)
        if strokes is not None:
            [section] = parse(bytes_, UNBOUNDED).sections
            assert (section.client, section.clock) == (strokes.client, strokes.clock)
            assert [struct.length for struct in section.structs] == [strokes.length]
