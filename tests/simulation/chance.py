"""What a run may draw from."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest


@contextmanager
def only_seeded() -> Iterator[None]:
    """Whoever makes a generator without a seed meanwhile fails the run, whether or not it is drawn from: where that is
    rare, a seed is a run nearly always."""
    made: list[str] = []
    plant = Random.seed

    def watch(self: Random, seed: int | str | None = None, version: int = 2) -> None:
        if seed is None:
            made.append("".join(traceback.format_stack(limit=5)))
        plant(self, seed, version)

    with pytest.MonkeyPatch.context() as replace:
        replace.setattr(Random, "seed", watch)
        yield
    assert not made, f"chance without a seed:\n{made[0]}"
