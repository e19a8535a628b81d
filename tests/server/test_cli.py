"""The command line from outside: output, exit codes, and no traceback for what a person can put right."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from server import auth, config
from server.config import Settings, flag_name
from server.permissions import Role
from server.program import application
from tests.forking import run_program

ROOT = Path(__file__).parents[2]


def syncline(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end: a fork of a process that has loaded it."""
    code, words, complaint = run_program(arguments, ours() | environment)
    assert code is not None, f"it does not end: {words}{complaint}"
    return subprocess.CompletedProcess(arguments, code, words, complaint)


def ours() -> dict[str, str]:
    """Our environment without settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SYNCLINE_")}


def test_it_starts_as_a_program() -> None:
    command = [sys.executable, "-m", "server.cli", "serve", "--no-such-flag"]
    done = subprocess.run(command, cwd=ROOT, env=ours(), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no-such-flag" in done.stderr
    assert "Traceback" not in done.stderr


def test_token_prints_a_token_signed_with_the_data_directorys_key(tmp_path: Path) -> None:
    done = syncline("token", "--user", "ana", "--role", "viewer", "--days", "2", "--data-dir", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    now = datetime.now(UTC)
    keys = auth.keys_of(config.load({"data_dir": str(tmp_path)}, {}))
    token = auth.read(done.stdout.strip(), keys, now)
    assert (token.user_id, token.workspace, token.role) == ("ana", "main", Role.VIEWER)
    assert timedelta(days=1.9) < token.expires_at - now <= timedelta(days=2)


def test_a_given_key_leaves_no_file(tmp_path: Path) -> None:
    done = syncline("token", "--user", "ana", SYNCLINE_TOKEN_KEY="k" * 32, SYNCLINE_DATA_DIR=str(tmp_path))
    auth.read(done.stdout.strip(), auth.Keys(None, "k" * 32, 366), datetime.now(UTC))
    assert list(tmp_path.iterdir()) == []


def test_database_url_is_the_given_one(tmp_path: Path) -> None:
    done = syncline("database-url", SYNCLINE_DATABASE_URL="postgresql://somewhere/else")
    assert (done.returncode, done.stdout) == (0, "postgresql://somewhere/else\n")


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        (["serve"], {"SYNCLINE_PROT": "1"}, 2, "did you mean SYNCLINE_PORT?"),
        (["serve", "--port", "http"], {}, 2, "--port (SYNCLINE_PORT)"),
        (["token", "--user", "a\nb"], {}, 2, "not a name"),
        (["token", "--user", "ana", "--role", "king"], {}, 2, "king"),
        (["database-url"], {}, 1, "start it with"),
        (
            ["serve", "--port", "0", "--database-url", "postgresql://nobody@127.0.0.1:9/x"],
            {},
            1,
            "cannot connect to the database",
        ),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], code: int, words: str
) -> None:
    done = syncline(*arguments, SYNCLINE_DATA_DIR=str(tmp_path), SYNCLINE_TOKEN_KEY="k" * 32, **environment)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = syncline("serve", "--port", port, "--data-dir", str(tmp_path))
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_setting_is_a_flag_of_serve() -> None:
    shown = syncline("serve", "--help", COLUMNS="200").stdout
    assert [name for name in Settings.model_fields if f"{flag_name(name)} " not in shown] == []


def test_the_commands_of_the_product_are_there() -> None:
    commands, groups = application().registered_commands, application().registered_groups
    names = {command.name for command in commands} | {group.name for group in groups}
    assert {"serve", "token", "database-url", "replay", "verify", "compact", "info", "user", "device"} <= names
