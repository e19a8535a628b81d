"""A flood of what is refused does not fill the log: a line, then a count a minute, and nothing is left out unsaid."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog
from structlog.testing import capture_logs

from server.buckets import Allowance
from server.restraint import LogLimits, Restraint
from tests.peers.forked_server import forking
from tests.server.test_rates import Watch
from tests.server.websocket_client import CLOSE, RawClient

ROOT = Path(__file__).parents[2]


class Log:
    """What passes, and what is told of the rest."""

    def __init__(self, lines: Allowance | None = None) -> None:
        self.watch = Watch()
        self.left_out = 0
        self.restraint = Restraint(LogLimits(lines or Allowance(1 / 3, 100)), self.watch.monotonic)
        self.restraint.on_left_out = self._leave_out

    def _leave_out(self) -> None:
        self.left_out += 1

    def says(self, event: str, level: str = "info", **said: Any) -> bool:
        try:
            self.restraint(None, level, {"event": event, **said})
        except structlog.DropEvent:
            return False
        return True

    def tells(self, seconds: float = 0) -> list[Any]:
        self.watch.time += seconds
        with capture_logs() as told:
            self.restraint.tell()
        for line in told:
            line.pop("_is_count")
        return told


def test_what_repeats_is_a_line_and_then_a_count_a_minute() -> None:
    log = Log()
    line = {"reason": "malformed", "client": "192.0.2.1:1", "detail": "a"}
    assert log.says("message refused", **line)
    for port in range(5_000):
        assert not log.says("message refused", **line | {"client": f"192.0.2.1:{port}", "detail": str(port)})
    assert log.left_out == 5_000
    assert log.tells(59) == []
    told = {"event": "message refused", "reason": "malformed", "client": "192.0.2.1", "log_level": "info"}
    assert log.tells(1) == [told | {"repeated": 5_000}]
    assert not log.says("message refused", **line), "it goes on"
    assert log.tells(60) == [told | {"repeated": 1}]
    assert log.tells(60) == []
    assert log.says("message refused", **line), "after a quiet minute it is news"


def test_other_reasons_addresses_and_events_are_lines_of_their_own() -> None:
    log = Log()
    said = {"reason": "malformed", "client": "192.0.2.1:1"}
    assert log.says("message refused", **said)
    assert log.says("message refused", **said | {"reason": "full"})
    assert log.says("message refused", **said | {"client": "192.0.2.2:1"})
    assert log.says("token refused", **said)
    assert not log.says("token refused", **said)


def test_however_different_they_are_lines_of_one_kind_are_bounded_and_others_are_not() -> None:
    log = Log(Allowance(rate=0.5, burst=3))
    lines = [log.says("token refused", client=f"192.0.2.{number}:1") for number in range(10)]
    assert lines == [True] * 3 + [False] * 7
    assert log.says("worker died", "error", worker="relay")
    assert log.tells(1) == []
    assert log.tells(1) == [{"event": "lines left out", "of": "token refused", "count": 7, "log_level": "warning"}]
    assert log.says("token refused", client="192.0.2.99:1")


def test_errors_name_each_issue_and_each_place() -> None:
    log = Log()
    assert [log.says("quarantined", "error", issue=issue, reason="hang") for issue in "aab"] == [True, False, True]
    assert [log.says("failed", "exception", error="KeyError", at=at) for at in ("x", "y", "y")] == [True, True, False]
    assert {line["log_level"] for line in log.tells(60)} == {"error"}


def test_a_long_flood_from_everywhere_takes_bounded_memory() -> None:
    log = Log(Allowance(rate=20 / 60, burst=100))
    for number in range(100_000):
        log.watch.time += 0.01
        log.says("token refused", client=f"192.0.{number % 250}.{number // 250}:1")
        if number % 1_000 == 0:
            log.tells()
    assert len(log.restraint._said) <= 130
    assert 100_000 - log.left_out <= 100 + 1_000 / 3 + 1


def test_lines_of_libraries_are_bounded_too() -> None:
    log = Log()
    record = logging.LogRecord("uvicorn.error", logging.WARNING, "", 1, "Invalid HTTP request received.", None, None)
    assert [log.restraint.filter(record) for _ in range(3)] == [True, False, False]
    [told] = log.tells(60)
    assert (told["event"], told["repeated"], told["log_level"]) == (record.msg, 2, "warning")


PROGRAM = """
import logging, structlog
from server import logs
from server.restraint import Restraint
restraint = Restraint()
logs.configure("info", "json", restraint)
log = structlog.get_logger()
for _ in range(1000):
    log.warning("refused", reason="malformed", session="192.0.2.1:5")
    log.debug("too quiet")
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
restraint.tell(is_last=True)
"""


def test_a_process_writes_two_lines_of_a_thousand() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"], line.get("repeated")) for line in lines] == [
        ("refused", None),
        ("Invalid HTTP request received.", None),
        ("refused", 999),
        ("Invalid HTTP request received.", 999),
    ]


@pytest.mark.long
async def test_a_flood_of_bad_tokens_is_a_line_in_the_log_of_a_server() -> None:
    async with forking("--log-format", "json") as server:
        for _ in range(60):
            socket = await RawClient.open(server.port, f"/yjs/main/{uuid4()}?token=bad")
            while (await socket.frame())[0] != CLOSE:
                pass
            socket.cut()
        text = (await server.get("/metrics"))[1]
        assert "syncline_left_out_log_lines_total 59.0" in text
        await server.terminate()
        lines = [json.loads(line) for line in server.last_words(1_000).splitlines() if line.startswith("{")]
        refused = [line.get("repeated") for line in lines if line["event"] == "token refused"]
        assert refused == [None, 59]
