"""What requests took, as the tables of the bench have it."""

from __future__ import annotations

import random

from bench.asking import spread
from bench.reading import text, word


def test_of_a_hundred_requests_the_slow_ones_show_where_they_should() -> None:
    seconds = [0.001] * 94 + [0.005] * 4 + [0.02, 0.1]
    assert spread(seconds) == {"p50 ms": 1.0, "p95 ms": 5.0, "p99 ms": 100.0, "max ms": 100.0}


def test_few_words_are_in_many_texts_and_many_in_few() -> None:
    chance = random.Random(1)
    texts = [set(text(chance).split()) for _ in range(200)]
    common, rare = (sum(word(rank) in one for one in texts) for rank in (2, 3_000))
    assert common > 150
    assert rare < 10
