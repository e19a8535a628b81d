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
    "server/session.py",
    "server/gaps.py",
    "server/claims.py",
    "server/flight.py",
    "server/committed.py",
    "server/feeder.py",
    "server/intake.py",
    "server/room.py",
    "server/dialects/y_websocket.py",
    "server/doors/yjs.py",
]


def extensions() -> list[Any]:
    compiler = shutil.which(os.environ.get("CC", "cc").split()[0])
    if compiler is None or os.environ.get("SYNCLINE_PURE_PYTHON") == "1":
        print("syncline: no C compiler, everything stays plain Python", file=sys.stderr)
        return []
    from mypyc.build import mypycify

    return mypycify(COMPILED, opt_level="3", group_name="syncline")


setup(ext_modules=extensions())
