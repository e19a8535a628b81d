"""Numbers as people read them."""

from __future__ import annotations

import pytest

from bench.report import Value, middle, shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        ("yes", "yes"),
        (1_234_567.8, "1,234,568"),
        (0.123456, "0.123"),
        (42.123, "42.1"),
    ],
)
def test_no_more_digits_than_can_be_trusted(value: Value, text: str) -> None:
    assert shown(value) == text


def test_the_middle_of_nothing_is_no_number() -> None:
    assert middle([3.0, 1.0, 2.0]) == 2.0
    assert shown(middle([])) == "–"
