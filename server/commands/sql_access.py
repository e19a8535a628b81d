"""`syncline sql-access`: logins of Postgres that read the rows of workspaces they were granted, and nothing else."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import quote, urlsplit

import typer

from server.commands.reception import AsJson, DatabaseUrl, DataDir, Reception, WorkspaceName, failed, run, show
from storage import analysts

commands = typer.Typer(no_args_is_help=True, help="Logins that read a workspace's rows with SQL.")

_NOTHING: Final = "nobody reads with SQL"

Login = Annotated[str, typer.Argument(metavar="LOGIN", help="name of the login: small letters, digits and _")]


@commands.command("grant")
def grant_access(
    login: Login,
    workspace: WorkspaceName = "main",
    new_password: Annotated[bool, typer.Option("--new-password", help="also make it another password")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Let a login read a workspace. A new one's password is printed once."""

    async def work(desk: Reception) -> int:
        found = await desk.workspace(workspace)
        connections = desk.settings.analyst_connections
        password = await analysts.grant(
            desk.opened.dsn, found.id, login, new_password=new_password, connections=connections
        )
        await desk.audit(found, "grantSqlAccess", login=login)
        print(f"{login} reads {workspace}")
        if password is not None:
            print(f"password  {password}")
            print(f"psql      '{_address(desk.opened.dsn, login, password)}'")
        return 0

    run(work, database_url, data_dir)


@commands.command("revoke")
def revoke_access(
    login: Login, workspace: WorkspaceName = "main", database_url: DatabaseUrl = None, data_dir: DataDir = None
) -> None:
    """Take a workspace from a login, and with its last one the login itself."""

    async def work(desk: Reception) -> int:
        found = await desk.workspace(workspace)
        if not await analysts.revoke(desk.opened.dsn, found.id, login):
            return failed(f"{login} does not read {workspace}")
        await desk.audit(found, "revokeSqlAccess", login=login)
        print(f"{login} does not read {workspace} any more")
        return 0

    run(work, database_url, data_dir)


@commands.command("list")
def list_access(as_json: AsJson = False, database_url: DatabaseUrl = None, data_dir: DataDir = None) -> None:
    """Every login with every workspace it reads."""

    async def work(desk: Reception) -> int:
        rows = [
            {"login": one.role, "workspace": one.workspace, "since": one.granted_at}
            for one in await analysts.grants(desk.opened.dsn)
        ]
        return show(rows, as_json=as_json, nothing=_NOTHING)

    run(work, database_url, data_dir)


def _address(dsn: str, login: str, password: str) -> str:
    """The DSN with another user."""
    split = urlsplit(dsn)
    where = split.netloc.rpartition("@")[2]
    return split._replace(netloc=f"{login}:{quote(password)}@{where}").geturl()
