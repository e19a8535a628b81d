"""A child process that loads logs into the engine: a crash, a hang or a memory bomb in there is the test's finding."""

import json
import resource
import sys

from crdt.document import Document
from crdt.issue import read
from crdt.update import merge, repair_cuts


def outcome(log: list[bytes], cuts: list[list[int]]) -> str:
    """Load a log update by update, and merged, and once more from its snapshot; read each as the projector does."""
    live = Document.load(b"\x00\x00")
    for update in log:
        live.apply(update)
    merged = Document.load(repair_cuts(merge(log), {(client, clock) for client, clock in cuts}))
    again = Document.load(merged.snapshot())
    for document in (live, merged, again):
        read(document)
    if again.state_vector() != merged.state_vector():
        return "the snapshot lost something"
    return "ok"


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    for log, cuts in json.load(sys.stdin):
        try:
            print(outcome([bytes.fromhex(update) for update in log], cuts))
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is the finding
            print(type(error).__name__, error)
