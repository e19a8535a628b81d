"""How much of the outbox may be unanswered."""

from uuid import UUID

import pytest

from syncline.push_window import PushLimits, PushWindow
from syncline.records import Entry

LIMITS = PushLimits(frame_bytes=1 << 20, update_bytes=5_000, push_entries=3, push_bytes=1_000)


def entry(number: int, size: int = 100) -> Entry:
    return Entry(number, UUID(int=1), b"x" * size)


@pytest.fixture
def window() -> PushWindow:
    return PushWindow(LIMITS)


def test_an_empty_window_has_room_for_all_it_may_hold(window: PushWindow) -> None:
    assert window.room == (3, 1_000)


def test_room_shrinks_by_what_is_sent_and_grows_by_what_is_answered(window: PushWindow) -> None:
    window.sent([entry(1), entry(2)])
    assert window.room == (1, 800)
    window.answered(1)
    assert window.room == (2, 900)
    assert window.sent_through == 2


def test_a_full_window_has_no_room(window: PushWindow) -> None:
    window.sent([entry(number) for number in range(3)])
    assert window.room == (0, 0)


def test_an_edit_bigger_than_the_window_goes_alone(window: PushWindow) -> None:
    assert window.admits([entry(1, 3_000)])
    window.sent([entry(1)])
    assert not window.admits([entry(2, 3_000)])


def test_an_edit_above_the_limit_is_known_before_it_is_sent(window: PushWindow) -> None:
    assert window.is_too_large(entry(1, 5_001))
    assert not window.is_too_large(entry(1, 5_000))


def test_after_a_retry_nothing_is_sent_until_everything_is_answered(window: PushWindow) -> None:
    window.sent([entry(1), entry(2)])
    window.answered(1)
    window.retry()
    assert window.room == (0, 0)
    assert not window.is_idle
    window.answered(2)
    window.rewind()
    assert (window.sent_through, window.room) == (0, (3, 1_000))


def test_an_answer_to_nothing_changes_nothing(window: PushWindow) -> None:
    window.answered(9)
    assert window.room == (3, 1_000)


def test_limits_are_read_by_name_and_unknown_ones_ignored() -> None:
    limits = {"frame_bytes": 1, "update_bytes": 2, "push_entries": 3, "push_bytes": 4, "later": 5}
    assert PushLimits.of(limits) == PushLimits(1, 2, 3, 4)
