"""The story that `python -m bench.two_editors` tells comes out as it says."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from bench.two_editors import ANA_SAYS, BEN_SAYS, play


@pytest.mark.long
async def test_two_offline_editors_agree_on_what_a_person_decided() -> None:
    told = StringIO()
    outcome = await play(Console(file=told, width=200))
    assert outcome.is_good
    assert set(outcome.statuses) == {"ana", "ben", "REST"}
    assert outcome.chosen in (ANA_SAYS, BEN_SAYS)
    assert f"losing: {outcome.chosen} by" in told.getvalue()
