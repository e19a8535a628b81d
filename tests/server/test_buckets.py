"""Token buckets: never more than the rate allows over any stretch of time, whatever the pattern, and no waiting for
less than it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.buckets import Allowance, Bucket
from server.websocket.pace import Pace, PaceLimits

ALLOWANCE = Allowance(rate=10, burst=20)
UNBOUNDED = Allowance(0, 0)
PAUSES = st.floats(0, 5, allow_nan=False)


@given(st.lists(st.tuples(PAUSES, st.integers(1, 30)), max_size=50))
def test_what_is_taken_stays_below_the_line_and_is_refused_only_above_it(asked: list[tuple[float, int]]) -> None:
    bucket, now, taken = Bucket(ALLOWANCE, 0.0), 0.0, 0
    for pause, amount in asked:
        now += pause
        wait = bucket.take(amount, now)
        if wait == 0:
            taken += amount
        else:
            assert bucket.take(amount, now + wait + 1e-6) == 0, "the wait that was told is enough"
            now += wait + 1e-6
            taken += amount
        # One request above the burst is let in when the bucket is full, and paid for afterwards.
        assert taken <= ALLOWANCE.burst + ALLOWANCE.rate * now + 30


@given(st.lists(st.tuples(PAUSES, st.integers(1, 500)), max_size=50))
def test_who_waits_as_long_as_told_keeps_the_rate(came: list[tuple[float, int]]) -> None:
    bucket, now, total = Bucket(ALLOWANCE, 0.0), 0.0, 0
    for pause, amount in came:
        now += pause
        total += amount
        now += bucket.charge(amount, now)
        assert total <= ALLOWANCE.burst + ALLOWANCE.rate * now + 1e-6


def test_a_clock_that_goes_back_gives_nothing_and_a_rate_of_nothing_allows_anything() -> None:
    bucket = Bucket(ALLOWANCE, 100.0)
    assert bucket.take(20, 100.0) == 0
    assert bucket.take(1, 50.0) > 0
    free = Bucket(UNBOUNDED, 0.0)
    assert free.take(1e12, 0.0) == 0
    assert free.charge(1e12, 0.0) == 0


class TestPace:
    def test_a_connection_within_its_pace_never_looks_at_the_clock(self) -> None:
        pace = Pace(PaceLimits(ALLOWANCE, UNBOUNDED), 0.0)
        for _ in range(20):
            pace.messages_left -= 1
            pace.bytes_left -= 1_000_000
        assert pace.messages_left >= 0
        assert pace.bytes_left >= 0

    @given(st.lists(st.tuples(PAUSES, st.integers(0, 100)), max_size=100))
    def test_over_time_it_reads_no_faster_than_allowed(self, came: list[tuple[float, int]]) -> None:
        pace, now, messages, size = Pace(PaceLimits(ALLOWANCE, Allowance(100, 300)), 0.0), 0.0, 0, 0
        for pause, length in came:
            now += pause
            messages, size = messages + 1, size + length
            pace.messages_left -= 1
            pace.bytes_left -= length
            if pace.messages_left < 0 or pace.bytes_left < 0:
                now += pace.settle(now)
            assert messages <= 20 + 10 * now + 1
            assert size <= 300 + 100 * now + 101
