"""Somebody who types and somebody who reads, in a process of their own, while others attack or do not.

Reads a `Visit` from stdin, a JSON object a line, and prints what the reader noticed in peace; the next line says that
the attack is on, and it prints what was noticed at first, and in all. A reader who is sent away, or misses a letter,
ends it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from dataclasses import asdict, dataclass

import uvloop

from bench.load import Counts, Load
from bench.plan import Plan, Result


@dataclass(frozen=True, slots=True)
class Visit:
    """To one issue. `measure_s`: twice as long in peace, then as long from the first moment of an attack on, then three
    times as long from that same moment on."""

    url: str
    rate: float
    warmup_s: float
    measure_s: float


class Witness(Load):
    """A load that is measured three times."""

    def __init__(self, visit: Visit) -> None:
        super().__init__(Plan([visit.url], 1, 1, visit.warmup_s, visit.measure_s, rate=visit.rate))
        self._visit = visit

    async def watch(self) -> None:
        """In peace, and under attack."""
        loop = asyncio.get_running_loop()
        typing = asyncio.create_task(self._pace(self._visit.rate))
        try:
            await self._watch(self._visit.warmup_s)
            await self._tell_since(self._counts(), 2 * self._visit.measure_s)
            begun = loop.run_in_executor(None, sys.stdin.readline)
            while not begun.done():
                await self._watch(0.005)
            attacked = self._counts()
            for times in (1, 2):
                await self._tell_since(attacked, times * self._visit.measure_s)
        finally:
            typing.cancel()
            for peer in self.peers:
                peer.close()

    async def _tell_since(self, begin: Counts, seconds: float) -> None:
        """Watch for so long, then tell what was noticed since `begin`."""
        await self._watch(seconds)
        tell(self._result(begin, self._counts()))


def tell(result: Result) -> None:
    """On stdout."""
    print(json.dumps(asdict(result)), flush=True)


async def main() -> None:
    """Visit after visit, until stdin ends."""
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        witness = Witness(Visit(**json.loads(line)))
        await witness.open()
        await witness.watch()
        gc.collect()  # between two visits, so that it is nobody's pause


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    gc.disable()
    uvloop.run(main())
