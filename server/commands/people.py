"""`syncline workspace`, `syncline user` and `syncline member`: who there is, and what they may."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from server.commands.reception import AsJson, DatabaseUrl, DataDir, Reception, WorkspaceName, failed, run, show
from server.permissions import Role
from storage.slugs import check_slug

workspaces = typer.Typer(no_args_is_help=True, help="Workspaces: each has its own issues, users and log.")
users = typer.Typer(no_args_is_help=True, help="Users of a workspace: who they are, and signing them out.")
members = typer.Typer(no_args_is_help=True, help="Roles in a workspace: they cap what a token says.")

_ALL: Final = 1_000_000

User = Annotated[str, typer.Argument(help="the user's id, as tokens have it")]
NewRole = Annotated[Role, typer.Option("--role", help="what they may")]


@workspaces.command("list")
def list_workspaces(as_json: AsJson = False, database_url: DatabaseUrl = None, data_dir: DataDir = None) -> None:
    """Every workspace."""

    async def work(desk: Reception) -> int:
        rows = [{"slug": one.slug, "name": one.name, "head": one.head} for one in await desk.opened.store.workspaces()]
        return show(rows, as_json=as_json, nothing="there is no workspace")

    run(work, database_url, data_dir)


@workspaces.command("create")
def create_workspace(
    slug: Annotated[str, typer.Argument(help="its name in addresses")],
    name: Annotated[str | None, typer.Option(help="its name for people")] = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """A new workspace."""

    async def work(desk: Reception) -> int:
        check_slug(slug)
        if await desk.opened.store.workspace(slug) is not None:
            return failed(f"there is a workspace {slug} already")
        made = await desk.opened.store.create_workspace(slug, name or slug)
        await desk.audit(made, "createWorkspace", slug=slug)
        print(f"workspace {slug} is there")
        return 0

    run(work, database_url, data_dir)


@users.command("list")
def list_users(
    workspace: WorkspaceName = "main",
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Everybody who was here or was given a role."""
    _list(workspace, database_url, data_dir, as_json=as_json, only_members=False)


@users.command("add")
def add_user(
    user: User,
    name: Annotated[str | None, typer.Option(help="for people")] = None,
    email: Annotated[str | None, typer.Option(help="for people")] = None,
    role: Annotated[Role | None, typer.Option(help="what they may; default: what their token says")] = None,
    workspace: WorkspaceName = "main",
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """A user, or other words for one."""

    async def work(desk: Reception) -> int:
        found = await desk.workspace(workspace)
        await desk.opened.people.introduce(found.id, user, name, email)
        if role is not None:
            await desk.opened.people.set_role(found.id, user, role.value)
            await desk.audit(found, "putMember", user=user, role=role)
        print(f"{user} is a {role} of {workspace}" if role else f"{user} is known in {workspace}")
        return 0

    run(work, database_url, data_dir)


@users.command("revoke")
def sign_out(
    user: User, workspace: WorkspaceName = "main", database_url: DatabaseUrl = None, data_dir: DataDir = None
) -> None:
    """Sign a user out: their tokens and logins are worth nothing from now on, their sockets close."""

    async def work(desk: Reception) -> int:
        found = await desk.workspace(workspace)
        await desk.opened.people.sign_out(found.id, user, desk.now)
        await desk.audit(found, "signOutMember", user=user)
        print(f"{user} is signed out of {workspace}; `syncline member remove` keeps them out")
        return 0

    run(work, database_url, data_dir)


@members.command("list")
def list_members(
    workspace: WorkspaceName = "main",
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Everybody who was given a role."""
    _list(workspace, database_url, data_dir, as_json=as_json, only_members=True)


@members.command("set")
def set_role(
    user: User,
    role: NewRole,
    workspace: WorkspaceName = "main",
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Give somebody a role, or another one. It counts at once, for open sockets too."""

    async def work(desk: Reception) -> int:
        found = await desk.workspace(workspace)
        await desk.opened.people.set_role(found.id, user, role.value)
        await desk.audit(found, "putMember", user=user, role=role)
        print(f"{user} is a {role} of {workspace}")
        return 0

    run(work, database_url, data_dir)


@members.command("remove")
def remove_member(
    user: User, workspace: WorkspaceName = "main", database_url: DatabaseUrl = None, data_dir: DataDir = None
) -> None:
    """Take somebody out: what they have is worth nothing from now on, their sockets close."""

    async def work(desk: Reception) -> int:
        found = await desk.workspace(workspace)
        await desk.opened.people.remove(found.id, user, desk.now)
        await desk.audit(found, "removeMember", user=user)
        print(f"{user} is no member of {workspace}")
        return 0

    run(work, database_url, data_dir)


def _list(slug: str, database_url: str | None, data_dir: DataDir, *, as_json: bool, only_members: bool) -> None:
    async def work(desk: Reception) -> int:
        found = await desk.workspace(slug)
        listed = [
            {
                "user": one.id,
                "role": one.role,
                "name": one.name,
                "email": one.email,
                "last_sync_at": one.last_sync_at,
                "device": one.device_id,
                "removed": "yes" if one.is_removed else None,
            }
            for one in await desk.opened.people.members(found.id, "", _ALL)
            if one.role is not None or not only_members
        ]
        return show(listed, as_json=as_json, nothing=f"nobody was given a role in {slug}")

    run(work, database_url, data_dir)
