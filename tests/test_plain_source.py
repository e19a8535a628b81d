"""What is compiled passes the same tests from its source. A checkout without a C compiler runs nothing else."""

from __future__ import annotations

import pytest

from tests.from_source import run_from_source


@pytest.mark.long
def test_rooms_and_gate_from_source() -> None:
    run_from_source(
        "tests/server/test_room.py",
        "tests/server/test_typing_runs.py",
        "tests/server/test_yjs.py",
        "tests/storage/test_appender.py",
        "tests/crdt/test_gate.py",
        "tests/crdt/test_keystrokes.py",
        "tests/crdt/test_sync.py",
        "tests/crdt/test_update.py",
    )
