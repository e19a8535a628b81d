"""Waits grow, stop growing, and start again."""

from random import Random

from storage.backoff import Backoff


def test_waits_double_up_to_a_bound_and_never_agree() -> None:
    backoff = Backoff(first_seconds=1.0, longest_seconds=8.0, random=Random(1))
    waits = [backoff.next_seconds() for _ in range(6)]
    for wait, longest in zip(waits, [1.0, 2.0, 4.0, 8.0, 8.0, 8.0], strict=True):
        assert longest / 2 <= wait <= longest
    assert len(set(waits)) == 6


def test_success_starts_over() -> None:
    backoff = Backoff(first_seconds=1.0, longest_seconds=8.0)
    for _ in range(5):
        backoff.next_seconds()
    backoff.reset()
    assert backoff.next_seconds() <= 1.0


def test_a_very_long_outage_does_not_overflow() -> None:
    assert Backoff(failures=100_000, longest_seconds=8.0).next_seconds() <= 8.0
