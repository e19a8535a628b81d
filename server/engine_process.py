"""An engine process: reads jobs from stdin, runs them one at a time on live documents, writes results to stdout.

It is made to be killed. Nothing in it is worth saving, it dies with its parent, and a panic of the engine (a
`BaseException`) ends it on purpose, because a document that panicked may have corrupted its memory.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import signal
import struct
import sys
from typing import BinaryIO, Final

from crdt.errors import Refused
from crdt.resident import Resident
from crdt.wire import pack, unpack

FRAME_HEADER: Final = struct.Struct("<I")
READY: Final = "ready"
DONE: Final = "done"
REFUSED: Final = "refused"
FAILED: Final = "failed"

_PR_SET_PDEATHSIG: Final = 1


def main(arguments: list[str] | None = None) -> None:
    """Run jobs until stdin ends."""
    options = _options(arguments)
    results = _keep_stdout_for_results()
    _confine(options.memory_bytes, options.parent)
    resident = Resident(max_issues=options.resident_issues, max_bytes=options.resident_bytes)
    _write(results, (READY,))
    while (frame := _read(sys.stdin.buffer)) is not None:
        _write(results, _answer(frame, resident))


def _answer(frame: bytes, resident: Resident) -> tuple[object, ...]:
    try:
        return DONE, unpack(frame).run(resident)
    except Refused as refused:
        return REFUSED, refused.reason, refused.detail
    except MemoryError:
        raise  # memory other issues took may be why: a fresh process tries once more
    except Exception as error:  # noqa: BLE001 - a top loop; the parent counts and logs it by type, texts hold content
        return FAILED, type(error).__name__


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="syncline-engine")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--resident-issues", type=int, required=True)
    parser.add_argument("--resident-bytes", type=int, required=True)
    return parser.parse_args(arguments)


def _keep_stdout_for_results() -> BinaryIO:
    """Whatever prints by accident goes to stderr, so that it cannot break a frame."""
    results = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return results


def _confine(memory_bytes: int, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; stopping is the parent's decision
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold documents
    if sys.platform == "linux":
        # A hanging job never sees the end of stdin: the kernel has to end it when the parent dies.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(1)


def _read(source: BinaryIO) -> bytes | None:
    header = source.read(FRAME_HEADER.size)
    if len(header) < FRAME_HEADER.size:
        return None
    (length,) = FRAME_HEADER.unpack(header)
    frame = source.read(length)
    return frame if len(frame) == length else None


def _write(results: BinaryIO, answer: tuple[object, ...]) -> None:
    frame = pack(answer)
    results.write(FRAME_HEADER.pack(len(frame)))
    results.write(frame)
    results.flush()


if __name__ == "__main__":
    main()
