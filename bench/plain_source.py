"""Imports the packages that are compiled from their source, even where compiled modules lie beside it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

PACKAGES: Final = ("crdt", "storage", "server")


class SourceFinder:
    """An import hook that finds the modules of `PACKAGES` as source only."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if not path or name.partition(".")[0] not in PACKAGES:
            return None
        source = Path(path[0]) / f"{name.rpartition('.')[2]}.py"
        return spec_from_file_location(name, source) if source.exists() else None


def take_plain_source() -> None:
    """From now on. Raises `RuntimeError` when a module of these packages was imported already."""
    imported = sorted(name for name in sys.modules if name.partition(".")[0] in PACKAGES)
    if imported:
        raise RuntimeError(f"imported already: {', '.join(imported)}")
    sys.meta_path.insert(0, SourceFinder())
