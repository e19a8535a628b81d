"""The corpus: one text file a target, an input a line, as `name: hexadecimal`. Findings are added to it and stay."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parents[1] / "corpus"


def inputs_of(target: str) -> dict[str, bytes]:
    """The inputs kept for a target, by name."""
    lines = (FOLDER / f"{target}.txt").read_text().splitlines()
    pairs = (line.rpartition(":") for line in lines)
    return {name: bytes.fromhex(text) for name, _, text in pairs}


def keep(target: str, data: bytes) -> str:
    """Add a finding; returns its name."""
    name = f"found {sha256(data).hexdigest()[:12]}"
    if name not in inputs_of(target):
        with (FOLDER / f"{target}.txt").open("a") as file:
            file.write(f"{name}: {data.hex()}\n")
    return name
