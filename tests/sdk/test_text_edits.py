"""Small edits between two texts."""

from hypothesis import given
from hypothesis import strategies as st

from crdt.text_edits import TextEdit, edits_between, rebased


def applied(text: str, edits: list[TextEdit]) -> str:
    for edit in edits:
        text = text[: edit.start] + edit.inserted + text[edit.start + edit.deleted :]
    return text


WORDS = st.lists(st.sampled_from(["one", "two ", "\n", "three\n", "🙂", "é", " ", "a"]), max_size=30).map("".join)


@given(WORDS, WORDS)
def test_edits_turn_the_old_text_into_the_new_one(old: str, new: str) -> None:
    assert applied(old, edits_between(old, new)) == new


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_two_texts(old: str, new: str) -> None:
    assert applied(old, edits_between(old, new)) == new


def test_equal_texts_need_no_edit() -> None:
    assert edits_between("same", "same") == []


def test_a_changed_word_touches_that_word_only() -> None:
    text = "Search is slow.\nIt takes ten seconds.\nEvery day.\n"
    assert edits_between(text, text.replace("ten", "20")) == [TextEdit(text.index("ten"), 3, "20")]


def test_two_changes_far_apart_are_two_edits() -> None:
    old = "# Title\n\nfirst line\nsecond line\nthird line\n"
    new = old.replace("first", "1st").replace("third", "3rd")
    edits = edits_between(old, new)
    assert len(edits) == 2
    assert sum(edit.deleted for edit in edits) <= len("firstthird")


def test_a_very_long_replacement_is_one_edit() -> None:
    old = " ".join(str(number) for number in range(5_000))
    new = " ".join(str(number) for number in range(5_000, 10_000))
    assert len(edits_between(f"<{old}>", f"<{new}>")) == 1


@given(WORDS, WORDS, WORDS)
def test_edits_of_what_was_seen_fit_what_it_has_become(seen: str, now: str, new: str) -> None:
    edits = edits_between(seen, new)
    assert applied(seen, rebased(edits, seen, seen)) == new
    assert applied(now, rebased([], seen, now)) == now
    merged = applied(now, rebased(edits, seen, now))
    assert len(merged) >= len(now) - sum(edit.deleted for edit in edits)


@given(WORDS, WORDS, st.integers(0, 60))
def test_what_is_written_over_a_text_is_there_once_whatever_it_has_become(seen: str, now: str, at: int) -> None:
    new = f"{seen[:at]}<ours>{seen[at:]}"
    merged = applied(now, rebased(edits_between(seen, new), seen, now))
    assert merged.replace("<ours>", "", 1) == now


def test_what_others_wrote_and_deleted_meanwhile_stays_so() -> None:
    seen = "Search is slow.\nIt takes ten seconds.\nEvery day.\n"
    now = "Since Tuesday search is slow.\nIt takes ten seconds.\n"
    new = "Search is slow, always.\nIt takes 20 seconds.\nEvery day.\n"
    merged = applied(now, rebased(edits_between(seen, new), seen, now))
    assert merged == "Since Tuesday search is slow, always.\nIt takes 20 seconds.\n"
