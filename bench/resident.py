"""Resident memory of a process: now, and the most since it was last asked to forget."""

from __future__ import annotations

from pathlib import Path


def resident_mb(pid: int) -> float:
    """Now, in MB."""
    return _status_mb(pid, "VmRSS")


def peak_mb(pid: int) -> float:
    """The most since `forget_peak`, or since the process began, in MB."""
    return _status_mb(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """The peak is what is resident now. Raises OSError for somebody else's process."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status_mb(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(f"{name} of process {pid}")
