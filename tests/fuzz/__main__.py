"""`make fuzz`: every target for its share of the time, each in a process of its own, which may die of what it finds.

    make fuzz                                  a minute, all targets
    make fuzz ARGS="--seconds 600 gate"        ten minutes, one of them

A finding is printed, kept in tests/corpus and ends the run with 1; `tests/fuzz/test_corpus.py` holds it against the
code from then on.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.corpus import inputs_of, keep
from tests.fuzz.mutations import nearly
from tests.fuzz.targets import TARGETS, attempt

ROUND: Final = 500  # inputs from one seed; the clock is looked at between two rounds
GRACE_SECONDS: Final = 30.0  # for one input that takes long; what takes longer hangs


def main() -> int:
    """Run what was asked for; the exit code."""
    asked = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    asked.add_argument("targets", nargs="*", help=f"which; default all: {', '.join(TARGETS)}")
    asked.add_argument("--seconds", type=float, default=60.0, help="for all of them together")
    asked.add_argument("--inside", metavar="FILE", help=argparse.SUPPRESS)
    arguments = asked.parse_args()
    if unknown := set(arguments.targets) - set(TARGETS):
        asked.error(f"there is no target {', '.join(sorted(unknown))}")
    targets = arguments.targets or list(TARGETS)
    share = arguments.seconds / len(targets)
    if arguments.inside is not None:
        print(fuzz(targets[0], share, Path(arguments.inside)))
        return 0
    return max([watch(target, share) for target in targets])


def watch(target: str, seconds: float) -> int:
    """Fuzz one target in a process of its own, and say what came of it; 1 for a finding."""
    with tempfile.TemporaryDirectory(prefix="syncline-fuzz-") as folder:
        current = Path(folder, "input")
        command = [sys.executable, "-m", "tests.fuzz", target, "--seconds", str(seconds), "--inside", str(current)]
        try:
            ended = subprocess.run(command, capture_output=True, timeout=seconds + GRACE_SECONDS, check=False)
            code, said = ended.returncode, ended.stderr.decode(errors="replace")
        except subprocess.TimeoutExpired:
            code, said = -1, f"one input took more than {GRACE_SECONDS:g} s"
        if code == 0:
            print(f"{target:>18}  {ended.stdout.decode().strip():>9} inputs, nothing found", flush=True)
            return 0
        data = current.read_bytes() if current.exists() else b""
        print(f"{target:>18}  FOUND, kept as {keep(target, data)!r}: {data.hex()}\n{said[-3000:]}", flush=True)
        return 1


def fuzz(target: str, seconds: float, current: Path) -> int:
    """Until the time is up or something is found: that is raised, and `current` holds the input. Returns how many."""
    faulthandler.enable()
    seeds = list(inputs_of(target).values())
    end, count = time.monotonic() + seconds, 0
    descriptor = os.open(current, os.O_WRONLY | os.O_CREAT)

    @settings(
        max_examples=ROUND,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
    )
    @given(nearly(seeds))
    def one_round(data: bytes) -> None:
        nonlocal count
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, data, 0)
        count += 1
        attempt(target, data)

    while time.monotonic() < end:
        seed(secrets.randbits(64))(one_round)()
    return count


if __name__ == "__main__":
    sys.exit(main())
