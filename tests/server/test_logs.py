"""What the log looks like, from a process of its own: logging is set up once for a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import logging, sys, structlog
from server import logs
logs.configure("info", sys.argv[1])
log = structlog.get_logger()
def fail():
    content = "a secret paragraph"
    raise RuntimeError("as asked")
log.debug("too quiet")
log.info("hello", workspace=1)
try:
    fail()
except RuntimeError:
    log.exception("failed")
logging.getLogger("uvicorn.error").info('"WebSocket /yjs?token=x" [accepted]')
logging.getLogger("uvicorn.access").info("GET /?token=x")
logging.getLogger("picows").warning("library says")
"""


def logged(form: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, form], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == ""
    return done.stderr


def test_json_is_one_object_a_line() -> None:
    lines = [json.loads(line) for line in logged("auto").splitlines()]
    assert [line["event"] for line in lines] == ["hello", "failed", "library says"]
    assert [line["level"] for line in lines] == ["info", "error", "warning"]
    assert lines[0]["workspace"] == 1
    assert "RuntimeError: as asked" in lines[1]["exception"]


def test_local_variables_and_request_targets_stay_out_of_both_forms() -> None:
    for form in ("json", "console"):
        text = logged(form)
        assert "as asked" in text
        assert "secret paragraph" not in text.replace('content = "a secret paragraph"', "")
        assert "token" not in text


def test_a_log_that_cannot_be_written_ends_nothing() -> None:
    with open("/dev/full", "w") as full:
        subprocess.run([sys.executable, "-c", PROGRAM, "json"], cwd=ROOT, stderr=full, timeout=60, check=True)
