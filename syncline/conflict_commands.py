"""`syncline issues conflicts`: what merging lost of what somebody wrote, and who is to have it back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from syncline import screen
from syncline.client import Client
from syncline.conflict import Conflict, Side
from syncline.places import Place, with_place
from syncline.running import run, where_it_stands

_Id = Annotated[str, typer.Argument(metavar="ID", help="the conflict's id, or its beginning")]


@with_place
def list_conflicts(
    place: Place,
    issue: Annotated[str | None, typer.Option(help="of this issue alone: its id, or its beginning")] = None,
    every: Annotated[bool, typer.Option("--all", help="those that are decided, too")] = False,
) -> None:
    """List conflicts that somebody has to decide, the oldest first."""

    async def work(client: Client) -> None:
        found = await client.conflicts.list(is_open=None if every else True)
        wanted = [each for each in found if issue is None or str(each.issue_id).startswith(issue.lower())]
        if place.as_json:
            _print_json(*wanted)
            return
        if wanted:
            screen.console().print(_table(wanted))
        count = f"{screen.counted(len(wanted), 'conflict')}{where_it_stands(client)}"
        screen.console(stderr=True).print(count, soft_wrap=True)

    run(place, work)


@with_place
def show(place: Place, conflict: _Id) -> None:
    """Show both values, who wrote them and when."""

    async def work(client: Client) -> None:
        found = await _find(client, conflict)
        if place.as_json:
            _print_json(found)
        else:
            screen.console().print(_facts(found))

    run(place, work)


@with_place
def resolve(
    place: Place,
    conflict: _Id,
    keep: Annotated[
        Literal["standing", "losing"] | None, typer.Option(help="what stands, or what lost and is given back")
    ] = None,
    value: Annotated[str | None, typer.Option(help="another text in the place of both")] = None,
) -> None:
    """Decide a conflict. It needs the server."""
    if (keep is None) == (value is None):
        raise typer.BadParameter("either --keep standing, --keep losing or --value TEXT")

    async def work(client: Client) -> None:
        found = await _find(client, conflict)
        resolved = await client.conflicts.resolve(found.id, keep or "value", value)
        if place.as_json:
            _print_json(resolved)
            return
        kept = {"standing": found.standing.value, "losing": found.losing.value, "value": value}[keep or "value"]
        line = f"{found.id}  {found.field or found.kind}: {_shown(kept)}  (kept)"
        screen.console().print(line, soft_wrap=True)

    run(place, work)


def application() -> typer.Typer:
    """The commands."""
    app = typer.Typer(help="What two people wrote at once: see it, give it back.", no_args_is_help=True)
    app.command("list")(list_conflicts)
    app.command("show")(show)
    app.command("resolve")(resolve)
    return app


async def _find(client: Client, beginning: str) -> Conflict:
    found = [
        each for each in await client.conflicts.list(is_open=None) if str(each.id).startswith(beginning.strip().lower())
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        told = where_it_stands(client)
        raise ValueError(f"no conflict on this device has an id that begins with {beginning!r}{told}")
    raise ValueError(f"the ids of {len(found)} conflicts begin with {beginning!r}")


def _table(conflicts: list[Conflict]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    table.add_column("id", no_wrap=True, width=screen.ID_CHARS)
    table.add_column("issue", no_wrap=True, width=screen.ID_CHARS)
    table.add_column("field", no_wrap=True)
    table.add_column("stands", ratio=1, no_wrap=True)
    table.add_column("lost", ratio=1, no_wrap=True)
    table.add_column("state", no_wrap=True)
    now = datetime.now(UTC)
    for each in conflicts:
        cells = (
            str(each.id)[: screen.ID_CHARS],
            str(each.issue_id)[: screen.ID_CHARS],
            each.field or each.kind,
            _said(each.standing),
            _said(each.losing),
            each.state if each.is_open else f"{each.resolution} {screen.since(each.resolved_at, now)}",
        )
        table.add_row(*(Text(screen.plain(cell)) for cell in cells))
    return table


def _facts(conflict: Conflict) -> Table:
    facts = Table(box=None, show_header=False, pad_edge=False)
    rows = [
        ("id", str(conflict.id)),
        ("issue", str(conflict.issue_id)),
        ("kind", conflict.kind),
        ("field", conflict.field or ""),
        ("stands", _said_in_full(conflict.standing)),
        ("lost", _said_in_full(conflict.losing)),
        ("strategy", conflict.strategy),
        ("state", conflict.state),
        ("resolution", conflict.resolution or ""),
        ("by", conflict.resolved_by or ""),
    ]
    for name, value in rows:
        if value:
            facts.add_row(Text(name, style="dim"), Text(screen.plain(value)))
    return facts


def _said(side: Side) -> str:
    return f"{_shown(side.value)}, {side.actor_id or 'somebody'}".replace("\n", " ")


def _said_in_full(side: Side) -> str:
    device = f" on {side.device_id}" if side.device_id else ""
    at = f" at {side.at.isoformat(timespec='seconds')}" if side.at else ""
    return f"{_shown(side.value)}  ({side.actor_id or 'somebody'}{device}{at})"


def _shown(value: Any) -> str:
    return screen.plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _print_json(*conflicts: Conflict) -> None:
    for conflict in conflicts:
        print(json.dumps(conflict.to_json()))
