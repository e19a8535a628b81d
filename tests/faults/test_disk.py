"""The disk under the data directory fills up: edits wait with their authors, and it heals when there is room again."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.faults.evidence import assert_nothing_lost, assert_shown_is_committed, read_log, what_was_shown
from tests.faults.typing_crew import crew
from tests.peers.server_process import ServerProcess, eventually

DISK_BYTES: Final = 400 * 1024 * 1024
COME_BACK: Final = (1012, 1013)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A tmpfs of 400 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    with tempfile.TemporaryDirectory(prefix="syncline-disk-") as folder:
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder], capture_output=True, check=False
        )
        if mount.returncode != 0:
            pytest.skip(f"mount is not possible here: {mount.stderr.decode().strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Take every free byte."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * (1024 * 1024))
        except OSError:
            pass
    return ballast


@pytest.mark.long
async def test_a_full_disk_refuses_edits_and_heals(small_disk: Path, tmp_path: Path) -> None:
    server = ServerProcess(small_disk / "data", tmp_path / "log")
    try:
        await server.start()
        async with crew(server) as typing:
            await typing.start_typing(seed=1)
            await typing.type_more(100)
            ballast = fill(small_disk)
            for tab in typing.all_tabs:
                await tab.edit({"op": "push", "root": "items", "values": ["x" * 200_000] * 20})
            await typing.all_sent_away(*COME_BACK)

            async def not_ready() -> bool:
                return await server.status("/readyz") == 503

            async def ready() -> bool:
                return await server.status("/readyz") == 200

            await eventually(not_ready, "readiness to turn red")
            shown = await what_was_shown(typing.all_tabs)
            ballast.unlink()
            await eventually(ready, "readiness to turn green without a restart", deadline=90)
            async with server.database() as database:
                log = await read_log(database, typing.issue)
            assert_shown_is_committed(shown, log)
            await assert_nothing_lost(server, typing)
        code, output = await server.command("verify")
        assert code == 0, output
    finally:
        await server.end()
