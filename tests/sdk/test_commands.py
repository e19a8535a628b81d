"""`syncline issues` on this device alone: no server, one store, one command after another."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from server import config
from syncline import Client
from syncline.commands import application
from syncline.places import data_directory, default_store
from syncline.screen import plain
from syncline.tokens import claim, expiry
from syncline.watching import watch
from tests.peers.server_process import CHECKOUT, plain_environment
from tests.sdk.server import faked

# {"sub": "ana", "ws": "main"}, unsigned: nobody here believes it.
TOKEN = "e30.eyJzdWIiOiAiYW5hIiwgIndzIjogIm1haW4ifQ.x"
NOWHERE = "http://127.0.0.1:9"


class Shell:
    """Runs commands on one store."""

    def __init__(self, store: Path) -> None:
        self._common = ["--url", NOWHERE, "--token", TOKEN, "--store", str(store), "--wait", "0"]

    def run(self, *arguments: str, given: str | None = None) -> Result:
        return CliRunner().invoke(application(), [*arguments, *self._common], input=given)

    def json(self, *arguments: str) -> list[dict[str, Any]]:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "local.db")


def test_an_issue_is_created_listed_and_shown(shell: Shell) -> None:
    (made,) = shell.json("create", "Search is slow", "--label", "bug", "--priority", "high", "--for", "ben")
    assert (made["title"], made["labels"], made["priority"], made["pending"]) == ("Search is slow", ["bug"], "high", 1)
    assert made["created_by"] == "ana"
    assert [issue["id"] for issue in shell.json("list", "--label", "bug")] == [made["id"]]
    assert shell.json("list", "--label", "other") == []
    shown = shell.run("show", made["id"][:8])
    assert shown.exit_code == 0
    assert "Search is slow" in shown.output


def test_an_edit_changes_what_is_given(shell: Shell) -> None:
    (made,) = shell.json("create", "Search", "--description", "It is slow")
    shell.run("edit", made["id"], "--comment", "-", given="Me too")
    (edited,) = shell.json("edit", made["id"], "--status", "open", "--label", "a", "--for", "ben")
    assert (edited["title"], edited["description"], edited["status"]) == ("Search", "It is slow", "open")
    assert [comment["body"] for comment in edited["comments"]] == ["Me too"]
    (edited,) = shell.json("edit", made["id"], "--unlabel", "a", "--for", "", "--delete")
    assert (edited["labels"], edited["user_id"], edited["deleted_at"] is None) == ([], None, False)


def test_who_does_not_wait_for_the_server_is_told_of_no_failure(tmp_path: Path) -> None:
    options = ["--url", NOWHERE, "--token", TOKEN, "--store", str(tmp_path / "local.db"), "--wait", "0"]
    command = [sys.executable, "-c", "from server.cli import main; main()", "issues", "create", "Search", *options]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert "kept on this device" in done.stdout
    assert done.stderr == ""


def test_the_description_can_be_edited_in_an_editor(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "more\\n" >> "$1"\n')
    editor.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(editor))
    (made,) = shell.json("create", "Search", "--description", "slow\n")
    (edited,) = shell.json("edit", made["id"], "--editor")
    assert edited["description"] == "slow\nmore\n"


async def test_an_editor_keeps_what_others_wrote_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "local.db"
    async with Client(NOWHERE, token=TOKEN, path=store) as client:
        issue_id = (await client.issues.create(title="Search", description="It is slow.\n")).id
        edit = f"{sys.executable} -m tests.sdk.slow_editor {store} {issue_id}"
        monkeypatch.setenv("VISUAL", edit)
        result = await asyncio.to_thread(Shell(store).run, "edit", str(issue_id), "--editor")
        assert result.exit_code == 0, result.output
        assert (await client.issues.get(issue_id)).description == "Since Tuesday: It is slow.\nSays who?\n"


def test_an_editor_that_fails_changes_nothing(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "false")
    (made,) = shell.json("create", "Search", "--description", "slow")
    result = shell.run("edit", made["id"], "--editor", "--status", "open")
    assert result.exit_code == 2
    assert shell.json("list")[0]["status"] == "pending"


def test_what_is_forgotten_is_said_in_a_line(shell: Shell) -> None:
    (made,) = shell.json("create", "Search")
    nothing = shell.run("edit", made["id"])
    assert (nothing.exit_code, "nothing to change" in nothing.output) == (2, True)
    untold = CliRunner(env={"SYNCLINE_TOKEN": None, "COLUMNS": "200"}).invoke(application(), ["list"])
    assert (untold.exit_code, "syncline token --user you" in untold.output) == (2, True)


def test_columns_that_are_empty_take_no_room(shell: Shell) -> None:
    shell.json("create", "Search")
    assert "labels" not in shell.run("list").stdout
    shell.json("create", "Login", "--label", "bug")
    assert "labels" in shell.run("list").stdout
    assert "2 issues  2 edits to be sent" in shell.run("list").stderr


def test_an_edit_is_one_edit(shell: Shell) -> None:
    (made,) = shell.json("create", "Search")
    (edited,) = shell.json(
        "edit", made["id"], "--status", "open", "--for", "ben", "--label", "bug", "--title", "Search!"
    )
    assert (edited["pending"], edited["user_id"], edited["title"]) == (2, "ben", "Search!")


def test_an_unknown_id_and_an_ambiguous_one_are_said_in_a_line(shell: Shell) -> None:
    assert shell.run("show", "nope").exit_code == 2
    for title in ("one", "two"):
        shell.json("create", title)
    assert shell.run("show", "").exit_code == 2


def test_a_bad_address_is_said_in_a_line(tmp_path: Path) -> None:
    arguments = ["list", "--url", "nowhere", "--token", TOKEN, "--store", str(tmp_path / "local.db")]
    result = CliRunner().invoke(application(), arguments)
    assert result.exit_code == 2
    assert "nowhere" in result.output


def test_the_clients_commands_load_nothing_of_the_server(tmp_path: Path) -> None:
    options = ["--token", TOKEN, "--store", str(tmp_path / "local.db"), "--wait", "0"]
    command = [sys.executable, "-X", "importtime", "-c", "from server.cli import main; main()", "issues", "list"]
    done = subprocess.run([*command, *options], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "syncline.client" in loaded
    assert {name for name in loaded if name.split(".")[0] in ("server", "storage")} == {"server", "server.cli"}
    assert not loaded & {"asyncpg", "uvicorn", "picows", "rich.markdown"}


def test_what_would_steer_a_terminal_is_shown_as_a_mark() -> None:
    assert plain("a\x1b[31mb\x07\u202ec\nd") == "a\ufffd[31mb\ufffd\ufffdc\nd"


def test_claims_are_read_from_tokens_and_nothing_else() -> None:
    assert claim(TOKEN, "sub") == "ana"
    assert [claim(bad, "sub") for bad in ("", "a.b.c", "e30.e30.x", "e30.W10.x", "..")] == [None] * 5
    assert expiry("e30.eyJleHAiOiAxMi41fQ.x") == 12.5
    assert [expiry(bad) for bad in ("", TOKEN, "e30.eyJleHAiOiB0cnVlfQ.x")] == [None] * 3


def test_stores_lie_in_the_platforms_place_one_for_each_user_workspace_and_server(tmp_path: Path) -> None:
    environment = {"XDG_DATA_HOME": str(tmp_path)}
    places = {
        default_store(url, workspace, user, environment)
        for url in ("http://a", "http://b")
        for workspace in ("main", "other")
        for user in ("ana", "../ben", None)
    }
    assert len(places) == 12
    assert {place.parent for place in places} == {data_directory(environment, "linux")}
    assert default_store("http://a/", "main", "ana", environment) in places


def test_the_clients_variables_are_none_of_the_servers() -> None:
    assert config.load({}, {"SYNCLINE_URL": NOWHERE, "SYNCLINE_TOKEN": TOKEN}) == config.load({}, {})


IN_A_TERMINAL = "import pty; pty.spawn(['bash', '--norc', '-i'])"
TABLE = b"\x1b[?1049h"  # the terminal's other screen


@pytest.mark.long
async def test_watching_draws_a_table_on_a_terminal_and_nothing_over_what_others_do_there(tmp_path: Path) -> None:
    environment = plain_environment() | {"TERM": "xterm"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    terminal = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", IN_A_TERMINAL), cwd=tmp_path, env=environment, stdin=PIPE, stdout=PIPE
    )
    assert terminal.stdin is not None
    assert terminal.stdout is not None
    said = b""
    command = b"syncline issues watch --url http://127.0.0.1:9 --token x --store a.db"
    try:
        terminal.stdin.write(command + b" &\n")
        while b"offline" not in said:
            said += await terminal.stdout.read(1_000)
        assert TABLE not in said
        terminal.stdin.write(b"kill %1\n" + command + b"\n")
        while TABLE not in said:
            said += await terminal.stdout.read(1_000)
        terminal.stdin.write(b"\x03exit\n")
        while await terminal.stdout.read(1_000):
            pass
    finally:
        if terminal.returncode is None:
            terminal.kill()
        await terminal.wait()


async def test_watching_prints_a_line_for_each_change(capsys: pytest.CaptureFixture[str]) -> None:
    async with faked() as server, Client(server.url, token="ana") as client:
        watching = asyncio.create_task(watch(client, lambda issue: True, as_json=False))
        receipt = await client.issues.create(title="Search is slow")
        await receipt.committed
        await receipt.committed
        await client.issues.update(receipt.id, status="open", add_labels=["bug"], user_id="ben")
        await client.sent()
        await anext(client.changes(since=1))
        out = ""
        while "seq 2" not in out and "open  medium  Search is slow  bug  for ben  (committed)" not in out:
            await asyncio.sleep(0)
            out += capsys.readouterr().out
        watching.cancel()
    lines = out.splitlines()
    assert all("Search is slow" in line for line in lines)
    assert len(lines) == len(set(lines)), "a line says something new"
