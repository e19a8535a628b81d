"""How long to stay away after a failure: longer every time, and never as long as everybody else."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Full jitter: a random time up to a bound that doubles. Seconds."""

    first_seconds: float = 0.25
    max_seconds: float = 15.0
    chance: random.Random = field(default_factory=random.SystemRandom)
    _failures: int = 0

    def next_seconds(self) -> float:
        """After one more failure."""
        bound = min(self.max_seconds, self.first_seconds * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return self.chance.uniform(bound / 4, bound)

    def at_least(self, seconds: float) -> float:
        """What somebody said to wait, and a little more, so that not everybody who was told so comes at once."""
        return self.chance.uniform(seconds, seconds * 1.25)

    def reset(self) -> None:
        """It worked."""
        self._failures = 0

    def fresh(self) -> Backoff:
        """Another one like it, for something else that may fail."""
        return Backoff(self.first_seconds, self.max_seconds, self.chance)
