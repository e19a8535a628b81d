"""`syncline device` and `syncline session`: with what people come, who is here now, and ending it."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

import typer

from server.commands.reception import AsJson, DatabaseUrl, DataDir, OfUser, Reception, WorkspaceName, failed, run, show

devices = typer.Typer(no_args_is_help=True, help="Devices, known from their first use on.")
sessions = typer.Typer(no_args_is_help=True, help="Who is connected now, to any node.")

_MOST: Final = 100_000


@devices.command("list")
def list_devices(
    workspace: WorkspaceName = "main",
    user: OfUser = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Every device, with what it said of itself."""

    async def work(desk: Reception) -> int:
        found = await desk.workspace(workspace)
        rows = [
            {
                "user": one.user_id,
                "device": one.id,
                "platform": one.platform,
                "user_agent": one.user_agent,
                "address": one.address,
                "first_seen_at": one.first_seen_at,
                "last_sync_at": one.last_sync_at,
                "revoked_at": one.revoked_at,
            }
            for one in await desk.opened.visitors.devices(found.id, user, _MOST)
        ]
        return show(rows, as_json=as_json, nothing="no device is known")

    run(work, database_url, data_dir)


@devices.command("revoke")
def revoke_device(
    user: Annotated[str, typer.Argument(help="whose device it is")],
    device: Annotated[str, typer.Argument(help="its id")],
    workspace: WorkspaceName = "main",
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Let a device in no more: its sockets close, and the login or token it came with is revoked."""

    async def work(desk: Reception) -> int:
        found = await desk.workspace(workspace)
        if not await desk.opened.people.revoke_device(found.id, user, device, desk.now):
            return failed(f"{user} has no device {device} in {workspace}")
        await desk.audit(found, "revokeDevice", user=user, device=device)
        print(f"the device {device} of {user} is revoked")
        return 0

    run(work, database_url, data_dir)


@devices.command("allow")
def allow_device(
    user: Annotated[str, typer.Argument(help="whose device it is")],
    device: Annotated[str, typer.Argument(help="its id")],
    workspace: WorkspaceName = "main",
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Let a revoked device in again, with a new token."""

    async def work(desk: Reception) -> int:
        found = await desk.workspace(workspace)
        if not await desk.opened.people.allow_device(found.id, user, device):
            return failed(f"{user} has no revoked device {device} in {workspace}")
        await desk.audit(found, "allowDevice", user=user, device=device)
        print(f"the device {device} of {user} may come again")
        return 0

    run(work, database_url, data_dir)


@sessions.command("list")
def list_sessions(
    workspace: WorkspaceName = "main",
    user: OfUser = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Who is connected."""

    async def work(desk: Reception) -> int:
        found = await desk.workspace(workspace)
        rows = [
            {
                "session": one.id,
                "user": one.user_id,
                "role": one.role,
                "for": one.acting_for,
                "device": one.device_id,
                "dialect": one.dialect,
                "address": one.address,
                "since": one.began_at,
            }
            for one in await desk.opened.visitors.visits(found.id, user, _MOST)
        ]
        return show(rows, as_json=as_json, nothing="nobody is connected")

    run(work, database_url, data_dir)


@sessions.command("end")
def end_session(
    session: Annotated[UUID, typer.Argument(help="its id")],
    workspace: WorkspaceName = "main",
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Close a socket, and revoke the login or token it came with."""

    async def work(desk: Reception) -> int:
        found = await desk.workspace(workspace)
        if not await desk.opened.visitors.end_visit(found.id, session, desk.now):
            return failed(f"there is no session {session} in {workspace}")
        await desk.audit(found, "endSession", session=session)
        print(f"session {session} is ended")
        return 0

    run(work, database_url, data_dir)
