"""`syncline info`: what runs here, what is stored and how far the readers are."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from crdt import gate
from server.commands.workbench import DatabaseUrl, DataDir, run, workbench
from storage.inventory import Inventory, take_inventory


def command(database_url: DatabaseUrl = None, data_dir: DataDir = None) -> None:
    """Versions, workspaces with heads and lag, and sizes."""
    run(_info(database_url, data_dir))


async def _info(database_url: str | None, data_dir: Path | None) -> int:
    async with workbench(database_url, data_dir) as bench:
        inventory = await take_inventory(bench.dsn)
    console = Console()
    console.print(versions(inventory), highlight=False)
    console.print(_workspaces(inventory))
    console.print(_sizes(inventory))
    return 0


def versions(inventory: Inventory) -> str:
    """One line: what runs, and whether gate and rooms are compiled."""
    kind = "plain Python" if is_plain_python(gate.__file__) else "compiled"
    return (
        f"syncline {_own_version()}, Python {platform.python_version()}, gate and rooms {kind},"
        f" pycrdt {metadata.version('pycrdt')}, Postgres {inventory.postgres},"
        f" search by words{' and trigrams' if inventory.has_trigrams else ' (pg_trgm is not there or not used)'}"
    )


def _own_version() -> str:
    try:
        return metadata.version("syncline")
    except metadata.PackageNotFoundError:
        return "from a checkout"


def is_plain_python(file: str | None) -> bool:
    """mypyc leaves an extension module beside the source, and that is what is imported."""
    return file is None or Path(file).suffix == ".py"


def _workspaces(inventory: Inventory) -> Table:
    table = Table("workspace", "head", "floor", "issues", "not in a snapshot", "behind", "quarantined")
    for workspace in inventory.workspaces:
        lag = "" if workspace.lag_seconds is None else f", {workspace.lag_seconds:.1f} s"
        table.add_row(
            workspace.slug,
            f"{workspace.head:,}",
            f"{workspace.floor:,}",
            f"{workspace.issues:,}",
            f"{workspace.tail_updates:,} deltas, {decimal(workspace.tail_bytes)}",
            f"{workspace.head - workspace.cursor:,} deltas{lag}",
            f"{workspace.quarantined:,}",
        )
    return table


def _sizes(inventory: Inventory) -> Table:
    table = Table("table", "on disk")
    for name, size in inventory.table_bytes:
        table.add_row(name, decimal(size))
    return table
