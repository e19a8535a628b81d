"""Runs tests in a process of their own that takes the plain source, also where modules are compiled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parent.parent
_SECONDS_MAX: Final = 240


def run_from_source(*paths: str) -> None:
    """Run the short tests of these files. Fails with their report."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.plain", "-p", "no:xdist", "-q", "-m", "not long", *paths]
    run = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False)
    assert run.returncode == 0, run.stdout
