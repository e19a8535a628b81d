"""Which server, workspace and local store a command works with: its common options, and where stores lie by default."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from syncline import tokens

DEFAULT_URL: Final = "http://127.0.0.1:8080"

_Url = Annotated[str, typer.Option(envvar="SYNCLINE_URL", help="the server")]
_Token = Annotated[str | None, typer.Option(envvar="SYNCLINE_TOKEN", help="as `syncline token --user you` prints it")]
_Workspace = Annotated[str | None, typer.Option(help="its slug; default: the one the token is for", show_default=False)]
_Store = Annotated[
    Path | None, typer.Option(help="the local store; default: yours, in your data directory", show_default=False)
]
_Wait = Annotated[float, typer.Option(min=0, help="seconds to wait for the server; 0 works on this device alone")]
_Json = Annotated[bool, typer.Option("--json", help="print JSON, an issue a line")]


@dataclass(frozen=True, slots=True)
class Place:
    """What the common options say. `store` is None for the default one."""

    url: str
    token: str
    workspace: str
    store: Path | None
    wait: float
    as_json: bool

    def path(self) -> Path:
        """The file of the local store; the default's directory is made."""
        return self.store or default_store(self.url, self.workspace, tokens.claim(self.token, "sub"), os.environ)


def with_place(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is a `Place` gets the options that make one instead."""

    def run(
        url: str, token: str | None, workspace: str | None, store: Path | None, wait: float, as_json: bool, **own: Any
    ) -> None:
        if not token:
            raise typer.BadParameter(
                'no token; where the server runs: export SYNCLINE_TOKEN="$(syncline token --user you)"'
            )
        named = workspace or tokens.claim(token, "ws") or "main"
        command(Place(url, token, named, store, wait, as_json), **own)

    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    run.__signature__ = inspect.Signature([*own, *_options()])  # type: ignore[attr-defined]
    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    return run


def _options() -> list[inspect.Parameter]:
    common = (
        ("url", _Url, DEFAULT_URL),
        ("token", _Token, None),
        ("workspace", _Workspace, None),
        ("store", _Store, None),
        ("wait", _Wait, 3.0),
        ("as_json", _Json, False),
    )
    kind = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(name, kind, annotation=option, default=default) for name, option, default in common]


def data_directory(environment: Mapping[str, str], platform: str = sys.platform) -> Path:
    """The platform's directory for a person's data, ours in it."""
    if platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "syncline"
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "syncline"
    return Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "syncline"


def default_store(url: str, workspace: str, user: str | None, environment: Mapping[str, str]) -> Path:
    """The store of one user in one workspace of one server; its directory is made, for this person alone."""
    directory = data_directory(environment)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity = "\0".join((url.rstrip("/"), workspace, user or ""))
    name = re.sub(r"[^\w.-]+", "-", f"{urlsplit(url).netloc}-{workspace}-{user or 'anybody'}")[:80]
    return directory / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}.db"
