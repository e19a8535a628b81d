"""Logins that read a workspace's rows with SQL and nothing else: made, given workspaces, and taken away again.

Only who owns the tables may; what such a login sees is decided by policies, see `docs/isolation.md`.
"""

# ruff: noqa: S608 -- names of roles are quoted by Postgres itself

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from storage.database import connect, translated
from storage.errors import StoreError
from storage.isolation import ANALYST, SERVER, Connection

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_TAKEN: Final = (ANALYST, SERVER, "public", "none")
_ITERATIONS: Final = 4096  # Postgres' own default
# Defaults of its sessions; who may read may also change them, so they protect against oversights only.
_SESSION_SETTINGS: Final = (
    ("default_transaction_read_only", "on"),
    ("statement_timeout", "5min"),
    ("idle_in_transaction_session_timeout", "1min"),
)

_FIND: Final = f"""
SELECT r.rolcanlogin AND r.rolname <> current_user AND NOT r.rolsuper AND NOT r.rolbypassrls AND NOT r.rolcreaterole
    AND EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid AND roleid = '{ANALYST}'::regrole)
    AND NOT EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid AND roleid <> '{ANALYST}'::regrole)
    AND NOT EXISTS (SELECT FROM pg_class WHERE relowner = r.oid)
FROM pg_roles AS r WHERE r.rolname = $1"""


class AnalystError(StoreError):
    """No such login can be made or changed; the message says why."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A login and a workspace it reads."""

    role: str
    workspace: str
    granted_at: datetime


async def grant(
    dsn: str, workspace_id: int, role: str, *, new_password: bool = False, connections: int = 5
) -> str | None:
    """Let that login read a workspace, over so many connections at a time; make it if there is none. Returns its
    password if it has a new one, which is stored nowhere. Raises `AnalystError`."""
    if not _NAME.fullmatch(role) or role.startswith("pg_") or role in _TAKEN:
        raise AnalystError(f"{role!r} cannot be the name of a login: take small letters, digits and _, at most 63")
    async with _as_owner(dsn) as owner:
        if await owner.fetchval("SELECT to_regrole($1)", ANALYST) is None:
            raise AnalystError(f"there is no role {ANALYST}: an administrator runs the lines in docs/isolation.md")
        is_analyst = await owner.fetchval(_FIND, role)
        if is_analyst is False:
            raise AnalystError(f"{role} is a role of this Postgres for something else; take another name")
        password = secrets.token_urlsafe(24) if new_password or is_analyst is None else None
        if is_analyst is None:
            await _create(owner, role)
        await owner.execute(f'ALTER ROLE "{role}" CONNECTION LIMIT {connections:d}')
        if password is not None:
            await owner.execute(f"ALTER ROLE \"{role}\" PASSWORD '{verifier(password)}'")
        # Beyond what everybody may it changes nothing, but with it no other database's revoke drops the role.
        await owner.execute(f'GRANT CONNECT ON DATABASE {await _database(owner)} TO "{role}"')
        await owner.execute(
            "INSERT INTO sql_access (workspace_id, role) VALUES ($1, $2) ON CONFLICT DO NOTHING", workspace_id, role
        )
    return password


async def revoke(dsn: str, workspace_id: int, role: str) -> bool:
    """Take a workspace from a login, as of its next statement; with its last one, the login too. Whether it had it."""
    async with _as_owner(dsn) as owner:
        found = await owner.fetchval(
            "DELETE FROM sql_access WHERE workspace_id = $1 AND role = $2 RETURNING role", workspace_id, role
        )
        if found is not None and not await owner.fetchval(
            "SELECT EXISTS (SELECT FROM sql_access WHERE role = $1)", role
        ):
            await _drop(owner, role)
    return found is not None


async def grants(dsn: str) -> list[Grant]:
    """Every login with every workspace it reads."""
    async with _as_owner(dsn) as owner:
        rows = await owner.fetch(
            """SELECT a.role, w.slug, a.granted_at FROM sql_access AS a JOIN workspaces AS w ON w.id = a.workspace_id
               ORDER BY a.role, w.slug"""
        )
    return [Grant(*row) for row in rows]


def verifier(password: str) -> str:
    """What Postgres keeps of a password (SCRAM-SHA-256, RFC 5803). Made here, so that no statement holds the password,
    and with the statement no log."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    shown = [b64encode(value).decode() for value in (salt, stored, server)]
    return f"SCRAM-SHA-256${_ITERATIONS}:{shown[0]}${shown[1]}:{shown[2]}"


async def _create(owner: Connection, role: str) -> None:
    await owner.execute(f'CREATE ROLE "{role}" LOGIN IN ROLE {ANALYST}')
    for name, value in _SESSION_SETTINGS:
        await owner.execute(f"ALTER ROLE \"{role}\" SET {name} = '{value}'")


async def _drop(owner: Connection, role: str) -> None:
    if not await owner.fetchval(_FIND, role):
        return
    await owner.execute(f'REVOKE CONNECT ON DATABASE {await _database(owner)} FROM "{role}"')
    try:
        async with owner.transaction():
            await owner.execute(f'DROP ROLE "{role}"')
    except asyncpg.DependentObjectsStillExistError:
        pass  # another database of this Postgres has it too


async def _database(owner: Connection) -> str:
    return str(await owner.fetchval("SELECT quote_ident(current_database())"))


@asynccontextmanager
async def _as_owner(dsn: str) -> AsyncIterator[Connection]:
    connection = await connect(dsn)
    try:
        with translated("change who reads with SQL"):
            async with connection.transaction():
                yield connection
    except asyncpg.InsufficientPrivilegeError as error:
        raise AnalystError(f"the user of the database URL may not make logins ({error}): it needs CREATEROLE") from None
    finally:
        await connection.close(timeout=5)
