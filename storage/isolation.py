"""Which rows a connection sees: row-level security decides, by the role it has and by one setting, its scope: a
workspace's id, `DIRECTORY` or `MAINTENANCE`. The policies are in `migrations/0009_isolation.sql`, their words in
`docs/isolation.md`.
"""

# ruff: noqa: S608 -- the statements are built from constants of this module

from __future__ import annotations

from typing import Any, Final, TypeAlias

import asyncpg

from storage.errors import StoreError

SERVER: Final = "syncline_server"
ANALYST: Final = "syncline_analyst"

TRIGRAMS: Final = "issue_words_by_trigram"  # the index of parts of words, where this Postgres has pg_trgm
# What looking at one row's words costs beside looking at a number, for Postgres' planner: it does not reckon with words
# that stand outside their row, and would read all those of a small workspace instead of an index.
MATCH_COST: Final = 100
SETTING: Final = "syncline.workspace"
DIRECTORY: Final = "directory"  # names and counters of every workspace, and appending to their logs; no content
MAINTENANCE: Final = "maintenance"  # everything, for who owns the tables

# In quotes, because at run time these classes take no parameters; only the stubs know them.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

# From Postgres 16 on, who makes a role is a member of it that may not become it, until they say so themselves.
_MAY_BECOME: Final = "CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END"

# `LOGIN` without a password lets nobody in, except by the socket of the embedded Postgres. Another node, or another
# database of the same server, may make them at the same moment.
CREATE_ROLES: Final = f"""
DO $$ DECLARE wanted text; BEGIN
    FOR wanted IN VALUES ('{SERVER}'), ('{ANALYST}') LOOP
        BEGIN
            IF to_regrole(wanted) IS NULL THEN
                EXECUTE format('CREATE ROLE %I NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE', wanted);
            END IF;
            IF NOT pg_has_role(wanted, {_MAY_BECOME}) THEN
                EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
            END IF;
        EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation OR undefined_object THEN NULL;
        END;
    END LOOP;
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        ALTER ROLE {SERVER} LOGIN;
    END IF;
END $$"""

# What migrations cannot do once and for all, because a role may come later than they: policies that name it, grants.
# Operators that look into texts and arrays cannot use an index under a policy unless they are known to tell nobody what
# they looked at, and only a superuser may say so.
EQUIP_ROLES: Final = f"""
DO $$ DECLARE isolated record; found text; BEGIN
    IF to_regclass('isolated_tables') IS NULL THEN RETURN; END IF;
    FOR isolated IN SELECT t.* FROM isolated_tables AS t WHERE
        (to_regrole('{SERVER}') IS NOT NULL AND NOT EXISTS (
            SELECT FROM pg_policy WHERE polrelid = quote_ident(t.name)::regclass AND polname = 'workspace'
            AND to_regrole('{SERVER}') = ANY (polroles)))
        OR (t.is_published AND to_regrole('{ANALYST}') IS NOT NULL AND NOT EXISTS (
            SELECT FROM pg_policy WHERE polrelid = quote_ident(t.name)::regclass AND polname = 'analysts'))
    LOOP
        PERFORM syncline_isolate(isolated.name, isolated.kind, isolated.is_published);
    END LOOP;
    IF to_regrole('{SERVER}') IS NOT NULL THEN
        FOR found IN SELECT quote_ident(relname) FROM pg_class
            WHERE relkind IN ('r', 'p') AND relnamespace = current_schema::regnamespace
            AND relname NOT IN ('migrations', 'isolated_tables')
            AND NOT has_table_privilege('{SERVER}', oid, 'INSERT')
        LOOP
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO {SERVER}', found);
        END LOOP;
        FOR found IN SELECT oid::regprocedure::text FROM pg_proc
            WHERE pronamespace = current_schema::regnamespace AND prosecdef
            AND NOT has_function_privilege('{SERVER}', oid, 'EXECUTE')
        LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO {SERVER}', found);
        END LOOP;
    END IF;
    IF to_regrole('{ANALYST}') IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_policy WHERE polrelid = 'sql_access'::regclass AND polname = 'own')
    THEN
        CREATE POLICY own ON sql_access FOR SELECT TO {ANALYST} USING (role = current_user);
        GRANT SELECT ON sql_access TO {ANALYST};
    END IF;
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        FOR found IN SELECT oid::regprocedure::text FROM pg_proc WHERE NOT proleakproof AND oid IN (
            'ts_match_vq(tsvector,tsquery)'::regprocedure, 'arraycontains(anyarray,anyarray)'::regprocedure,
            'arrayoverlap(anyarray,anyarray)'::regprocedure,
            CASE WHEN to_regclass('{TRIGRAMS}') IS NOT NULL THEN 'textlike(text,text)'::regprocedure END,
            to_regprocedure('word_similarity_op(text,text)'))
        LOOP
            EXECUTE format('ALTER FUNCTION %s LEAKPROOF', found);
        END LOOP;
        IF (SELECT procost FROM pg_proc WHERE oid = 'ts_match_vq(tsvector,tsquery)'::regprocedure) < {MATCH_COST} THEN
            ALTER FUNCTION ts_match_vq(tsvector, tsquery) COST {MATCH_COST};
        END IF;
    END IF;
END $$"""

_TAKE_ROLE: Final = f"""
SELECT me.rolsuper OR me.rolbypassrls AS bypasses, server.rolsuper OR server.rolbypassrls AS server_bypasses,
    CASE WHEN pg_has_role(me.oid, server.oid, {_MAY_BECOME}) THEN set_config('role', server.rolname, false) END AS role
FROM pg_roles AS me LEFT JOIN pg_roles AS server ON server.rolname = '{SERVER}' WHERE me.rolname = current_user"""

_AS_ADMINISTRATOR: Final = (
    f"as an administrator of that Postgres run: CREATE ROLE {SERVER} NOBYPASSRLS; CREATE ROLE {ANALYST}; "
    f"GRANT {SERVER}, {ANALYST} TO <the user of the database URL>; then start again"
)


class IsolationError(StoreError):
    """The database cannot keep workspaces apart as it is set up; the message says what to do."""


class ScopedConnection(asyncpg.Connection):
    """A connection that knows what it is set to, and whether its borrower left it in the middle of something."""

    scope = ""
    is_left = False

    async def enter(self, scope: str) -> None:
        """See what that scope shows from now on. Costs a round trip only when it is another one than before."""
        if self.scope != scope:
            self.scope = ""  # unknown, until the answer is here
            await self.execute(f"SELECT set_config('{SETTING}', $1, false)", scope)
            self.scope = scope

    def leave(self) -> None:
        """Its borrower was cancelled, or failed."""
        self.is_left = True

    async def settle(self) -> None:
        """End what was left. asyncpg rolls back the transactions that it knows; where it prepared a statement and was
        cancelled before running it there is one more, for the Sync that ends it comes with the run."""
        if self.is_left:
            await self.execute("SELECT")
            self.is_left = False


async def turn_to(connection: Connection, workspace_id: int) -> None:
    """Show this workspace and nothing else until the transaction ends, which must have begun."""
    await connection.execute(f"SELECT set_config('{SETTING}', $1, true)", str(workspace_id))


async def take_role(connection: Connection) -> None:
    """Become the role that serves, or stay who one is if policies hold for that one too. Raises `IsolationError`."""
    found: Any = await connection.fetchrow(_TAKE_ROLE)
    if found["role"] is None and found["bypasses"]:
        raise IsolationError(
            f"the database's user bypasses row-level security, and is no {SERVER}: {_AS_ADMINISTRATOR}"
        )
    if found["role"] is not None and found["server_bypasses"]:
        raise IsolationError(f"{SERVER} bypasses row-level security: ALTER ROLE {SERVER} NOSUPERUSER NOBYPASSRLS")
