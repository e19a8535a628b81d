"""Commands that look after what is stored: they open the store beside a running server, or without one."""

import typer

from server.commands import (
    compact,
    devices,
    export,
    imports,
    info,
    people,
    purge,
    quarantine,
    replay,
    sql_access,
    tokens,
    verify,
)


def register(app: typer.Typer) -> None:
    """Add them to the program."""
    app.command("replay")(replay.command)
    app.command("verify")(verify.command)
    app.command("compact")(compact.command)
    app.command("export")(export.command)
    app.command("purge")(purge.command)
    app.command("info")(info.command)
    app.add_typer(imports.commands, name="import")
    app.add_typer(quarantine.commands, name="quarantine")
    app.add_typer(people.workspaces, name="workspace")
    app.add_typer(people.users, name="user")
    app.add_typer(people.members, name="member")
    app.add_typer(tokens.commands, name="token")
    app.add_typer(devices.devices, name="device")
    app.add_typer(devices.sessions, name="session")
    app.add_typer(sql_access.commands, name="sql-access")
