"""Processes for tests that do not ask how a start goes: forks of one that has loaded everything.

That one is made once a test session (or xdist worker), when first wanted. See `tests.peers.forked_server` for servers.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

FORKING: Final = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["server.program", "tests.sdk.writer"])


def run_program(
    arguments: Sequence[str], environment: Mapping[str, str], *, seconds_max: float = 60
) -> tuple[int | None, str, str]:
    """`syncline {arguments}` to its end: exit code (None: it does not end), what it said on stdout, and on stderr."""
    with tempfile.TemporaryDirectory() as folder:
        words = [Path(folder, "stdout"), Path(folder, "stderr")]
        process = FORKING.Process(target=_become, args=(words, list(arguments), dict(environment)), daemon=True)
        process.start()
        process.join(seconds_max)
        code = process.exitcode
        process.kill()
        return code, words[0].read_text(), words[1].read_text()


def _become(words: list[Path], arguments: list[str], environment: dict[str, str]) -> None:
    from server.program import main

    for stream, path in zip((sys.stdout, sys.stderr), words, strict=True):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    os.environ.clear()
    os.environ.update(environment)
    main(arguments)
