"""Settings: where it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from server.settings.group import Group, setting


class Place(Group):
    """Where it runs."""

    host: str = setting("127.0.0.1", "address to listen on", min_length=1)
    port: int = setting(8080, "port to listen on; 0 takes a free one", ge=0, le=65535)
    tls_cert: Path | None = setting(
        None,
        "certificate (PEM, with its chain): https and wss instead of http and ws; a renewed one counts from a restart",
    )
    tls_key: Path | None = setting(None, "private key of that certificate (PEM, without a password)")
    data_dir: Path = setting(Path(".syncline"), "where the embedded Postgres and the token key live")
    database_url: SecretStr | None = setting(None, "a Postgres (15 or newer) to use instead of the embedded one")
    max_database_connections: int = setting(
        8, "connections this node opens to Postgres, besides the one that appends", ge=4
    )
    analyst_connections: int = setting(
        5, "connections to Postgres of a login that `syncline sql-access grant` makes or grants more", ge=1, le=1_000
    )
    websocket: Literal["picows", "asgi"] = setting("picows", "what carries WebSocket frames; asgi is the slow fallback")
    event_loop: Literal["auto", "uvloop", "asyncio"] = setting("auto", "auto is uvloop where it is installed")
    shutdown_timeout_seconds: float = setting(
        8.0, "for open commits and sockets when the server is told to stop", gt=0, le=9
    )
    log_format: Literal["auto", "console", "json"] = setting("auto", "auto is console on a terminal and json elsewhere")
    log_lines: float = setting(
        100.0, "lines of one kind at once; further ones are counted, as are those that repeat one within a minute", ge=1
    )
    log_lines_per_minute: float = setting(20.0, "of them in the long run; 0 for any", ge=0)
    log_level: Literal["debug", "info", "warning", "error"] = setting("info", "least severe line that is logged")
