"""Lag is read off rows seen at moments: each edit is seen with the first row that is long enough."""

from __future__ import annotations

from uuid import UUID

from bench.projection import Progress

ISSUE, OTHER = UUID(int=1), UUID(int=2)


def test_an_edit_is_seen_with_the_first_row_that_holds_it() -> None:
    progress = Progress([ISSUE])
    progress.note(ISSUE, 3, 10.0)
    progress.note(ISSUE, 3, 11.0)
    progress.note(ISSUE, 4, 12.0)
    assert [progress.seen_at(ISSUE, clock) for clock in range(5)] == [10.0, 10.0, 10.0, 12.0, None]
    assert progress.letters(ISSUE) == 4


def test_rows_of_other_issues_do_not_count() -> None:
    progress = Progress([ISSUE])
    progress.note(OTHER, 9, 1.0)
    assert progress.seen_at(ISSUE, 0) is None
