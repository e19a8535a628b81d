"""`syncline issues`: a small issue tracker on a terminal. It works on this device and sends as soon as it can."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from syncline import conflict_commands, screen
from syncline.client import Client
from syncline.issue import Issue
from syncline.issues import UNCHANGED
from syncline.places import Place, with_place
from syncline.receipts import Receipt
from syncline.running import FAILED, TROUBLE, complain, run, where_it_stands, within

_Id = Annotated[str, typer.Argument(metavar="ID", help="the issue's id, or its beginning")]
_Title = Annotated[str | None, typer.Option(help="new title")]
_Markdown = Annotated[str | None, typer.Option(help="Markdown; - reads standard input")]
_Status = Annotated[str | None, typer.Option(help="such as open, in_progress, done")]
_Priority = Annotated[str | None, typer.Option(help="such as low, medium, high")]
_For = Annotated[str | None, typer.Option("--for", help="whose it is; an empty name: nobody's")]
_Labels = Annotated[list[str] | None, typer.Option("--label", help="may be repeated")]


@with_place
def list_issues(
    place: Place,
    status: _Status = None,
    priority: _Priority = None,
    assignee: _For = None,
    label: Annotated[str | None, typer.Option(help="has this label")] = None,
    text: Annotated[str | None, typer.Option(help="in title or description")] = None,
    include_deleted: Annotated[bool, typer.Option("--deleted", help="deleted ones, too")] = False,
) -> None:
    """List issues, the newest last."""

    async def work(client: Client) -> None:
        found = await client.issues.list(
            status=status, priority=priority, user_id=assignee, label=label, text=text, include_deleted=include_deleted
        )
        if place.as_json:
            _print_json(*found)
            return
        console = screen.console()
        if found:
            console.print(screen.issue_table(found, _now()))
        screen.console(stderr=True).print(screen.status_line(client.status.now, len(found), _now()), soft_wrap=True)

    run(place, work)


@with_place
def show(place: Place, issue: _Id) -> None:
    """Show one issue, whole."""
    from syncline.issue_page import issue_page  # reading Markdown is not for every command to wait for

    async def work(client: Client) -> None:
        found = await _find(client, issue)
        if place.as_json:
            _print_json(found)
        else:
            screen.console().print(issue_page(found, _now()))

    run(place, work)


@with_place
def create(
    place: Place,
    title: Annotated[str, typer.Argument(help="in one line")],
    description: _Markdown = None,
    status: _Status = None,
    priority: _Priority = None,
    assignee: _For = None,
    labels: _Labels = None,
) -> None:
    """Create an issue."""
    text = _text(description)

    async def work(client: Client) -> None:
        receipt = await client.issues.create(
            title=title,
            description=text or "",
            status=status,
            priority=priority,
            user_id=assignee or None,
            labels=labels or (),
        )
        await _report(place, client, receipt)

    run(place, work, needs_the_server=False)


@with_place
def edit(
    place: Place,
    issue: _Id,
    title: _Title = None,
    description: _Markdown = None,
    status: _Status = None,
    priority: _Priority = None,
    assignee: _For = None,
    labels: _Labels = None,
    unlabels: Annotated[list[str] | None, typer.Option("--unlabel", help="may be repeated")] = None,
    comment: Annotated[str | None, typer.Option(help="add a comment; - reads standard input")] = None,
    in_editor: Annotated[bool, typer.Option("--editor", "-e", help="edit the description in $EDITOR")] = False,
    delete: Annotated[bool | None, typer.Option("--delete/--restore", help="mark as deleted, or not")] = None,
) -> None:
    """Edit an issue. Others may be editing it at the same time: only what you change is changed."""
    given = (title, description, status, priority, assignee, labels, unlabels, comment, in_editor or None, delete)
    if all(one is None for one in given):
        raise typer.BadParameter("nothing to change; --help shows what can be")
    text, said = _text(description), _text(comment)

    async def work(client: Client) -> None:
        found = await _find(client, issue)
        written = await asyncio.to_thread(_edited, found.description) if in_editor else text
        receipt = await client.issues.update(
            found.id,
            title=title,
            description=written,
            status=status,
            priority=priority,
            user_id=UNCHANGED if assignee is None else assignee or None,
            add_labels=labels or (),
            remove_labels=unlabels or (),
            seen=found if in_editor else None,
        )
        if said is not None:
            receipt = await client.issues.comment(found.id, said)
        if delete is not None:
            receipt = await (client.issues.delete(found.id) if delete else client.issues.restore(found.id))
        await _report(place, client, receipt)

    run(place, work)


@with_place
def watch(
    place: Place,
    status: _Status = None,
    assignee: _For = None,
    label: Annotated[str | None, typer.Option(help="has this label")] = None,
) -> None:
    """Watch issues change, until Ctrl-C."""
    from syncline.watching import watch as watch_issues

    def is_wanted(issue: Issue) -> bool:
        return (
            status in (None, issue.status)
            and assignee in (None, issue.user_id or "")
            and (label is None or label in issue.labels)
        )

    async def work(client: Client) -> None:
        await watch_issues(client, is_wanted, as_json=place.as_json)

    with suppress(KeyboardInterrupt):
        run(place, work, needs_the_server=False)


def main(arguments: Sequence[str]) -> None:
    """Run one command. What goes wrong for a known reason ends in one line, not in a traceback."""
    try:
        application()(arguments, prog_name="syncline issues")
    except OSError as error:
        complain(str(error))
        sys.exit(FAILED)


def application() -> typer.Typer:
    """The commands."""
    app = typer.Typer(
        help="List, show, create, edit and watch issues, online or not.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.command("list")(list_issues)
    for command in (show, create, edit, watch):
        app.command(command.__name__)(command)
    app.add_typer(conflict_commands.application(), name="conflicts")
    return app


async def _find(client: Client, beginning: str) -> Issue:
    found = await client.issues.find(beginning)
    if len(found) == 1:
        return found[0]
    if not found:
        raise ValueError(f"no issue on this device has an id that begins with {beginning!r}{where_it_stands(client)}")
    raise ValueError(f"the ids of {len(found)} issues begin with {beginning!r}")


async def _report(place: Place, client: Client, receipt: Receipt) -> None:
    """Wait for the commit as long as that may take; what is not committed by then is safe here."""
    seq = await within(_first(receipt, client), place.wait)
    issue = await client.issues.get(receipt.id)
    if place.as_json:
        _print_json(issue)
        return
    done = f"committed at seq {seq}" if seq is not None else f"kept on this device{where_it_stands(client)}"
    screen.console().print(f"{issue.id}  {screen.plain(issue.title)}  ({done})", soft_wrap=True)


async def _first(receipt: Receipt, client: Client) -> int | None:
    """The seq; None as soon as it is clear that it will take long."""
    answer = asyncio.ensure_future(receipt.committed)
    trouble = asyncio.ensure_future(client.status.until(*TROUBLE))
    try:
        await asyncio.wait((answer, trouble), return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        answer.cancel()
        trouble.cancel()


def _text(given: str | None) -> str | None:
    return sys.stdin.read() if given == "-" else given


def _edited(text: str) -> str:
    """What the person makes of it. Raises ValueError when the editor fails."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="syncline-") as directory:
        file = Path(directory) / "description.md"
        file.write_text(text, encoding="utf-8")
        if subprocess.run([*shlex.split(editor), str(file)], check=False).returncode:  # noqa: S603 - their editor
            raise ValueError(f"{editor} failed; nothing was changed")
        written = file.read_text(encoding="utf-8")
    # Editors end a file with a line break of their own.
    return written if text.endswith("\n") else written.removesuffix("\n")


def _print_json(*issues: Issue) -> None:
    for issue in issues:
        print(json.dumps(issue.to_json()))


def _now() -> datetime:
    return datetime.now(UTC)
