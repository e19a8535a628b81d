"""`syncline token`: print one for a script, list and revoke them, and look after the keys that sign them."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from server import auth
from server.auth import refresh
from server.auth.keys import directory_of, make_key, remove_key
from server.commands.reception import (
    AsJson,
    DatabaseUrl,
    DataDir,
    OfUser,
    Reception,
    WorkspaceName,
    failed,
    reception,
    run,
    settings_of,
    show,
)
from server.config import Settings
from server.opening import database_url as reachable_url
from server.permissions import Identity, Role
from storage.errors import StoreError
from storage.logins import ScriptToken

commands = typer.Typer(invoke_without_command=True, help="Print a signed token; list and revoke tokens; rotate keys.")
keys = typer.Typer(no_args_is_help=True, help="The Ed25519 keys that sign tokens.")
commands.add_typer(keys, name="keys")

TokenKeys = Annotated[Path | None, typer.Option("--token-keys", help=Settings.model_fields["token_keys"].description)]


@commands.callback()
def print_token(
    context: typer.Context,
    user: Annotated[str | None, typer.Option(help="whom the token names")] = None,
    workspace: WorkspaceName = "main",
    role: Annotated[Role, typer.Option(help="what it allows there, at most")] = Role.MEMBER,
    days: Annotated[float, typer.Option(min=0.001, help="how long it is good")] = 30,
    device: Annotated[str | None, typer.Option(help="the only device it is for")] = None,
    acting_for: Annotated[str | None, typer.Option("--for", help="for an agent: the user it works for")] = None,
    as_refresh: Annotated[bool, typer.Option("--refresh", help="print a refresh token instead")] = False,
    token_key: Annotated[str | None, typer.Option(help=Settings.model_fields["token_key"].description)] = None,
    token_keys: TokenKeys = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Print a signed token for a script: it is listed and can be revoked, but not renewed."""
    if context.invoked_subcommand is not None:
        return
    if user is None:
        raise ValueError("--user is missing: whom shall the token name?")
    settings = settings_of(database_url, data_dir, token_key=token_key, token_keys=_path(token_keys))
    if days > settings.max_token_days:
        raise ValueError(f"--days is above max-token-days, {settings.max_token_days:g}")
    now = datetime.now(UTC)
    identity = Identity(
        user,
        workspace,
        role,
        device,
        now + timedelta(days=days),
        acting_for,
        None if as_refresh else secrets.token_hex(8),
    )
    if as_refresh:
        print(asyncio.run(_begin_login(settings, identity, timedelta(days=days))))
        return
    token = auth.issue(auth.keys_of(settings), identity, now)
    asyncio.run(_record(settings, identity, now))
    print(token)


async def _begin_login(settings: Settings, identity: Identity, lasting: timedelta) -> str:
    async with reception(settings) as desk:
        found = await desk.workspace(identity.workspace)
        login = await desk.opened.logins.begin(
            found.id,
            identity.user_id,
            identity.role.value,
            lasting,
            desk.now,
            acting_for=identity.acting_for,
            device_id=identity.device_id,
        )
        await desk.audit(found, "issueRefreshToken", user=identity.user_id, role=identity.role, login=login.id)
    return refresh.written(identity.workspace, login)


async def _record(settings: Settings, identity: Identity, now: datetime) -> None:
    """So that it is listed; without a database, it is from its first use on."""
    assert identity.token_id is not None
    assert identity.expires_at is not None
    who = (identity.user_id, identity.role.value, identity.acting_for, identity.device_id)
    token = ScriptToken(identity.token_id, *who, now, None, identity.expires_at, None)
    if not _has_database(settings):
        return
    async with reception(settings) as desk:
        found = await desk.opened.store.workspace(identity.workspace)
        if found is not None:
            await desk.opened.logins.record_token(found.id, token)
            await desk.audit(found, "issueToken", user=token.user_id, role=token.role, issued=token.id)


def _has_database(settings: Settings) -> bool:
    try:
        reachable_url(settings)
    except StoreError:
        return False
    return True


@commands.command("list")
def list_tokens(
    workspace: WorkspaceName = "main",
    user: OfUser = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Tokens of scripts that have not expired. What they say is nowhere, only their ids."""

    async def work(desk: Reception) -> int:
        found = await desk.workspace(workspace)
        rows = [
            {
                "token": one.id,
                "user": one.user_id,
                "role": one.role,
                "device": one.device_id,
                "created_at": one.created_at,
                "used_at": one.used_at,
                "expires_at": one.expires_at,
                "revoked_at": one.revoked_at,
            }
            for one in await desk.opened.logins.tokens(found.id, user, desk.now)
        ]
        return show(rows, as_json=as_json, nothing="no token is known")

    run(work, database_url, data_dir)


@commands.command("revoke")
def revoke_token(
    token: Annotated[str, typer.Argument(help="its id (jti), as `syncline token list` has it")],
    workspace: WorkspaceName = "main",
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """It is good no more, and its sockets close."""

    async def work(desk: Reception) -> int:
        found = await desk.workspace(workspace)
        if not await desk.opened.logins.revoke_token(found.id, token, desk.now):
            return failed(f"no token {token} is known in {workspace}; `syncline user revoke` ends all of a user's")
        await desk.audit(found, "revokeToken", issued=token)
        print(f"token {token} is revoked")
        return 0

    run(work, database_url, data_dir)


@keys.command("list")
def list_keys(as_json: AsJson = False, token_keys: TokenKeys = None, data_dir: DataDir = None) -> None:
    """The keys, the one that signs last."""
    settings = settings_of(None, data_dir, token_keys=_path(token_keys))
    rows = [
        {"key": key.id, "honoured_until": key.good_until or "it signs"}
        for key in auth.Keys(directory_of(settings), None, settings.max_token_days).all()
    ]
    show(rows, as_json=as_json, nothing="there are no keys")


@keys.command("rotate")
def rotate_keys(token_keys: TokenKeys = None, database_url: DatabaseUrl = None, data_dir: DataDir = None) -> None:
    """Make a key that signs from now on. Servers take it up by themselves; what older ones signed stays good."""
    settings = settings_of(database_url, data_dir, token_keys=_path(token_keys))
    directory, now = directory_of(settings), datetime.now(UTC)
    made = make_key(directory, now)
    print(f"{made} signs from now on")
    for key in auth.Keys(directory, None, settings.max_token_days).all():
        if key.id is not None and key.good_until is not None and key.good_until <= now:
            remove_key(directory, key.id)
            print(f"{key.id} was removed: all it signed has expired")
    asyncio.run(_audit_keys(settings, "rotateTokenKeys", made))


@keys.command("remove")
def remove_one_key(
    key: Annotated[str, typer.Argument(help="its id")],
    token_keys: TokenKeys = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Honour a key no more, as when it was stolen: all tokens it signed are refused at once."""
    settings = settings_of(database_url, data_dir, token_keys=_path(token_keys))
    remove_key(directory_of(settings), key)
    print(f"{key} is removed")
    asyncio.run(_audit_keys(settings, "removeTokenKey", key))


async def _audit_keys(settings: Settings, action: str, key: str) -> None:
    """In every workspace, as all tokens are concerned. Keys are files: they are looked after without a database too,
    and then nothing is written down."""
    if not _has_database(settings):
        return
    async with reception(settings) as desk:
        for workspace in await desk.opened.store.workspaces():
            await desk.audit(workspace, action, key=key)


def _path(token_keys: Path | None) -> str | None:
    return None if token_keys is None else str(token_keys)
