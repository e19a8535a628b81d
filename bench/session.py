"""What each of two authors does in a concurrent trace, and a seeded session for machines without the recordings.

An author's script is a list of steps: how many of the other's transactions the author had seen, what was typed then,
and whether the other one's script stops there (see tests/js/author.mjs).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from bench.traces import ConcurrentTrace, Patch, Transaction

RULE: Final = "\n--- 😀 ---\n"  # between the two authors' halves of a seeded session
WORDS: Final = ("deploy ", "rolled back ", "naïve ", "日本 ", "😀", "logs\n", "see ", "again ", "👩‍👩‍👧 ", "fixed ")


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction: made after `sees` of the other's; `stop` when the other one needs exactly this far."""

    sees: int
    stop: bool
    patches: tuple[Patch, ...]


def scripts(trace: ConcurrentTrace) -> tuple[list[Step], list[Step]]:
    """The steps of author 0 and of author 1. Raises ValueError when they are not two, or one forgot own edits."""
    if trace.agents != 2:
        raise ValueError(f"{trace.name}: {trace.agents} authors, two are needed")
    seen: list[tuple[int, int]] = []  # by transaction: how many of either author's are in the state it left
    made: tuple[list[tuple[int, Transaction]], ...] = ([], [])
    for transaction in trace.transactions:
        known = [max((seen[parent][agent] for parent in transaction.parents), default=0) for agent in (0, 1)]
        own = made[transaction.agent]
        if known[transaction.agent] != len(own):
            raise ValueError(f"{trace.name}: author {transaction.agent} edits a state without their own last edit")
        own.append((known[1 - transaction.agent], transaction))
        known[transaction.agent] += 1
        seen.append((known[0], known[1]))
    first, second = made
    return _steps(first, second), _steps(second, first)


def _steps(own: list[tuple[int, Transaction]], other: list[tuple[int, Transaction]]) -> list[Step]:
    stops = {sees for sees, _ in other} | {len(own)}
    return [Step(sees, count in stops, transaction.patches) for count, (sees, transaction) in enumerate(own, start=1)]


def seeded(seed: int, transactions: int) -> ConcurrentTrace:
    """Two typists, each in a half of the text of their own, so that every CRDT arrives at the same end."""
    chance = random.Random(seed)
    made = [Transaction(agent=0, parents=(), patches=(Patch(0, 0, RULE),))]
    halves = ["", ""]
    first_lengths = [0]  # of author 0's half after each of author 0's transactions
    last = [0, 0]  # newest transaction (index) either author has made, or started from
    seen_by_second = 1
    of_first = [0]  # indexes of author 0's transactions
    for index in range(1, transactions):
        agent = chance.randrange(2)
        parents = {last[agent]}
        if chance.random() < 0.2:
            parents.add(last[1 - agent])
            if agent == 1:
                seen_by_second = len(of_first)
        offset = first_lengths[seen_by_second - 1] + len(RULE) if agent == 1 else 0
        patch, halves[agent] = _keystroke(chance, halves[agent])
        made.append(
            Transaction(agent, tuple(sorted(parents)), (Patch(offset + patch.position, patch.deleted, patch.inserted),))
        )
        last[agent] = index
        if agent == 0:
            of_first.append(index)
            first_lengths.append(len(halves[0]))
    return ConcurrentTrace(f"two typists (seed {seed})", halves[0] + RULE + halves[1], 2, tuple(made))


def _keystroke(chance: random.Random, half: str) -> tuple[Patch, str]:
    """A word typed or a few characters erased somewhere in `half`."""
    at = chance.randrange(len(half) + 1)
    gone = min(chance.randrange(6), len(half) - at) if chance.random() < 0.3 else 0
    word = "" if gone else chance.choice(WORDS)
    return Patch(at, gone, word), half[:at] + word + half[at + gone :]
