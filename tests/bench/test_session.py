"""An author's script says what was seen and where the other one stops; played live, it leads to the trace's end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench.demo import write_script
from bench.session import Step, scripts, seeded
from bench.traces import ConcurrentTrace, Patch, Transaction
from tests.js.reference import reference_server
from tests.js.toolchain import running


def typed(agent: int, *parents: int) -> Transaction:
    return Transaction(agent, parents, (Patch(0, 0, "x"),))


def counts(steps: list[Step]) -> list[tuple[int, bool]]:
    return [(step.sees, step.stop) for step in steps]


def test_a_script_counts_what_was_seen_directly_or_through_the_other() -> None:
    trace = ConcurrentTrace("four edits", "xxxx", 2, (typed(0), typed(0, 0), typed(1, 1), typed(0, 1), typed(1, 2, 3)))
    first, second = scripts(trace)
    assert counts(first) == [(0, False), (0, True), (0, True)]
    assert counts(second) == [(2, False), (3, True)]


def test_an_author_who_forgot_an_own_edit_is_refused() -> None:
    with pytest.raises(ValueError, match="without their own last edit"):
        scripts(ConcurrentTrace("forgetful", "", 2, (typed(0), typed(1, 0), typed(0, 0), typed(0, 1))))


def test_three_authors_are_refused() -> None:
    with pytest.raises(ValueError, match="two are needed"):
        scripts(ConcurrentTrace("crowd", "", 3, ()))


def test_a_seed_gives_the_same_session() -> None:
    assert seeded(4, 200) == seeded(4, 200)
    assert seeded(4, 200) != seeded(5, 200)


async def test_two_authors_play_a_session_live_to_its_end(tmp_path: Path) -> None:
    trace = seeded(7, 600)
    both = scripts(trace)
    async with reference_server() as address, running("author.mjs") as first, running("author.mjs") as second:
        outcomes = await asyncio.gather(
            *(
                script.call(
                    "replay",
                    session=str(write_script(tmp_path, agent, both, "title")),
                    version=2 + agent,
                    url=address.url,
                    room=address.room,
                    params=address.params,
                )
                for agent, script in enumerate((first, second))
            )
        )
    for outcome in outcomes:
        assert outcome["work"] == outcome["net"] == trace.end_content
