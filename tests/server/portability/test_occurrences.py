"""What of a file has come before."""

from __future__ import annotations

import threading

from server.portability.occurrences import Occurrences


def test_keys_are_counted_each_for_itself() -> None:
    with Occurrences() as seen:
        assert [seen.add(key) for key in (b"a", b"b", b"a", b"\0a", b"a")] == [1, 1, 2, 1, 3]
        assert b"a" in seen
        assert b"" not in seen


def test_threads_may_take_turns() -> None:
    with Occurrences() as seen:
        seen.add(b"a")
        found: list[int] = []
        other = threading.Thread(target=lambda: found.append(seen.add(b"a")))
        other.start()
        other.join()
        assert found == [2]


def test_more_than_its_cache_holds_is_still_known() -> None:
    with Occurrences() as seen:
        keys = [number.to_bytes(200, "big") for number in range(15_000)]  # 3 MB
        assert {seen.add(key) for key in keys} == {1}
        assert all(key in seen for key in keys[::1_000])
