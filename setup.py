"""Compiles the gate and the rooms with mypyc where there is a C compiler; plain Python otherwise (same source, same
tests)."""

import os
import shutil
import sys
from typing import Any

from setuptools import setup

COMPILED = [
    "crdt/errors.py",
    "crdt/encoding.py",
    "crdt/records.py",
    "crdt/ranges.py",
    "crdt/parser.py",
    "crdt/trim.py",
    "crdt/field_writes.py",
    "crdt/index.py",
    "crdt/beginnings.py",
    "crdt/overwrites.py",
    "crdt/keystrokes.py",
    "crdt/attribution.py",
    "crdt/savepoint.py",
    "crdt/capacity.py",
    "crdt/admission.py",
    "crdt/gate.py",
    "crdt/sync.py",
    "crdt/update.py",
    "storage/appender.py",
    "server/tally.py",
    "server/rota.py",
    "server/session.py",
    "server/gaps.py",
    "server/claims.py",
    "server/batch.py",
    "server/ground.py",
    "server/flight.py",
    "server/committed.py",
    "server/feeder.py",
    "server/large_updates.py",
    "server/lately.py",
    "server/judging.py",
    "server/intake.py",
    "server/room.py",
    "server/dialects/y_websocket.py",
    "server/doors/yjs.py",
]

ONLY_ASKED = {"dist_info", "egg_info"}  # pip's first question, for name and version, builds nothing


def extensions() -> list[Any]:
    compiler = shutil.which(os.environ.get("CC", "cc").split()[0])
    if ONLY_ASKED & set(sys.argv):
        return []
    if compiler is None or os.environ.get("SYNCLINE_PURE_PYTHON") == "1":
        print("syncline: no C compiler, everything stays plain Python", file=sys.stderr)
        return []
    from mypyc.build import mypycify

    gate = [path for path in COMPILED if path.startswith("crdt/")]
    rooms = [path for path in COMPILED if path not in gate]
    # A library each, compiled at the same time: calls from one to the other are rare, and take a table's detour.
    libraries: list[tuple[list[str], str | None]] = [(gate, "syncline_gate"), (rooms, "syncline_rooms")]
    return mypycify(COMPILED, opt_level="3", debug_level="0", separate=libraries)


setup(ext_modules=extensions(), options={"build_ext": {"parallel": str(os.cpu_count())}})
