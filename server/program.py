"""The server's side of the `syncline` command: `serve`, tokens, and what looks after the store."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic.fields import FieldInfo
from rich.console import Console

from server import bounds, config, logs
from server.app import Ready, serve
from server.commands import register
from server.config import BadSettings, Settings
from server.listener import AddressUnavailable
from server.opening import database_url
from server.restraint import Restraint
from server.settings_table import shown_default
from storage.data_directory import DirectoryInUse
from storage.database import redacted
from storage.errors import StoreError

NAME = "syncline"
EXIT_FAILED = 1
EXIT_MISUSED = 2

_AS_IT_IS = {"ignore_unknown_options": True, "allow_extra_args": True}

DataDir = Annotated[Path | None, typer.Option(help=Settings.model_fields["data_dir"].description)]


def application() -> typer.Typer:
    """All commands."""
    app = typer.Typer(
        name=NAME,
        help="A CRDT replication server for issue tracking.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.command("serve")(_serve_command())
    app.command("database-url")(print_database_url)
    register(app)
    app.command("issues", add_help_option=False, context_settings=_AS_IT_IS)(issues)
    for command in app.registered_commands:  # in the list of them, lines would end where those of the source do
        told = " ".join((inspect.getdoc(command.callback) or "").split())
        command.short_help = told.partition(". ")[0].removesuffix(".") + "."
    return app


def main(arguments: Sequence[str]) -> None:
    """Run one command. What goes wrong for a known reason ends in one line, not in a traceback."""
    try:
        application()(arguments, prog_name=NAME)
    except (BadSettings, AddressUnavailable, DirectoryInUse, ValueError) as error:
        _complain(str(error))
        sys.exit(EXIT_MISUSED)
    except (StoreError, OSError) as error:
        _complain(str(error))
        sys.exit(EXIT_FAILED)


def issues(context: typer.Context) -> None:
    """List, show, create, edit and watch issues, online or not."""
    from syncline.commands import main as client  # its modules are not the server's to load

    client(context.args)


def print_database_url(data_dir: DataDir = None) -> None:
    """Print the DSN, for `psql "$(syncline database-url)"`."""
    print(database_url(config.load({"data_dir": _text(data_dir)}, os.environ)))


def _serve_command() -> Callable[..., None]:
    """`serve`, with one flag for each setting."""

    def command(**flags: str | None) -> None:
        """Run the server until Ctrl-C."""
        settings = config.load(flags, os.environ)
        restraint = Restraint(bounds.of_log(settings))
        logs.configure(settings.log_level, settings.log_format, restraint)
        with asyncio.Runner(loop_factory=_loop_factory(settings)) as runner:
            runner.run(serve(settings, _announce, restraint))

    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                str | None,
                typer.Option(
                    config.flag_name(name),
                    help=_help(field),
                    metavar="VALUE",
                    show_default=False,
                    rich_help_panel=group.heading(),
                ),
            ],
        )
        for group in config.GROUPS
        for name, field in group.model_fields.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command


def _help(field: FieldInfo) -> str:
    default = shown_default(field)
    return f"{field.description} [{default}]" if default else str(field.description)


def _loop_factory(settings: Settings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if settings.event_loop == "asyncio":
        return None
    try:
        import uvloop  # only where it is wanted: it does not exist for every platform
    except ImportError:
        if settings.event_loop == "uvloop":
            raise BadSettings("uvloop is not installed; choose --event-loop asyncio") from None
        return None
    return uvloop.new_event_loop


def _announce(ready: Ready) -> None:
    """What a person needs, on stdout; the log goes to stderr."""
    console = Console(highlight=False, soft_wrap=True)
    host = f"[{ready.host}]" if ":" in ready.host else ready.host
    address = f"{host}:{ready.port}"
    s = "s" if ready.is_secure else ""
    for name, value in (
        ("Syncline", f"http{s}://{address}"),
        ("token", ready.token or "`syncline token --user ana --role owner` prints one"),
        ("y-websocket", f"ws{s}://{address}/yjs/{ready.workspace}    room: an issue's UUID, params: {{ token }}"),
        ("database", redacted(ready.database_url)),
    ):
        console.print(f"{name:>12}  ", style="bold", end="", markup=False)
        console.print(value, markup=False)
    console.print(f"{'':>12}  Ctrl-C stops it", style="dim", markup=False)


def _complain(message: str) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("syncline: ", style="bold red", end="", markup=False)
    console.print(message, markup=False)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
