"""What an appender tells, as a future."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from storage.appender import Appender
from storage.errors import StoreError
from storage.store import NewDelta


def append(appender: Appender, deltas: Sequence[NewDelta]) -> asyncio.Future[list[int]]:
    """Seqs after COMMIT, or why there are none."""
    told: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    def landed(seqs: Sequence[int], failure: StoreError | None) -> None:
        if failure is None:
            told.set_result(list(seqs))
        else:
            told.set_exception(failure)

    appender.append(deltas, landed)
    return told
