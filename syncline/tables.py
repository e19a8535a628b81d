"""The tables of a local store, and how its file is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from syncline.errors import StoreFailed

VERSION: Final = 2  # PRAGMA user_version
BUSY_SECONDS: Final = 10.0  # for another process that writes; ours take milliseconds

_TABLES: Final = """
-- One row: how far we follow the workspace, and who we are.
CREATE TABLE feed (
    only_row      INTEGER PRIMARY KEY CHECK (only_row = 1),
    device_id     TEXT NOT NULL,
    user_id       TEXT,
    epoch         BLOB,
    cursor        INTEGER NOT NULL DEFAULT 0,
    reload_base   INTEGER,                       -- an unfinished reload, see records.ReloadProgress
    reload_since  INTEGER,
    reload_after  BLOB,
    reload_is_new_history INTEGER,
    revision      INTEGER NOT NULL DEFAULT 0,    -- of the newest change in `documents`
    synced_at     TEXT
);

-- The client id of each process that uses this file at the same time.
CREATE TABLE replicas (
    slot       INTEGER PRIMARY KEY,
    client_id  INTEGER NOT NULL,
    file       TEXT NOT NULL                     -- where the file was when the id was drawn: a copy draws its own
);

-- Client ids whose edits of an issue were refused: their clocks are used up there.
CREATE TABLE retired (
    issue_id   BLOB NOT NULL,
    client_id  INTEGER NOT NULL,
    PRIMARY KEY (issue_id, client_id)
);

CREATE TABLE documents (
    issue_id   BLOB PRIMARY KEY,
    base       BLOB NOT NULL,                    -- what is committed, as one update; the outbox comes on top
    folded     INTEGER NOT NULL,                 -- bytes of base when it was last folded
    seq        INTEGER NOT NULL,                 -- the newest delta in base
    revision   INTEGER NOT NULL,
    seen_at    TEXT NOT NULL,
    content    TEXT                              -- JSON of base and outbox; NULL when they changed since
);
CREATE INDEX documents_by_revision ON documents (revision);
CREATE INDEX documents_by_seq ON documents (seq);

-- Edits that are not known to be committed. An id is never used twice: it names the edit to the server.
CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    issue_id   BLOB NOT NULL,
    change     BLOB NOT NULL,
    is_whole   INTEGER NOT NULL DEFAULT 0        -- says all that the issue's earlier entries say: answers a `want`
);
CREATE INDEX outbox_by_issue ON outbox (issue_id, id);

-- How the last entries ended, for other processes that wait for them. code NULL: committed at seq.
CREATE TABLE settled (
    id         INTEGER PRIMARY KEY,
    seq        INTEGER,
    code       TEXT,
    message    TEXT
);

-- Edits that the server refused, kept for whoever wants to look.
CREATE TABLE refused (
    id         INTEGER PRIMARY KEY,
    issue_id   BLOB NOT NULL,
    change     BLOB NOT NULL,
    code       TEXT NOT NULL,
    message    TEXT NOT NULL,
    refused_at TEXT NOT NULL
);
"""

# What version 2 added.
_CONFLICTS: Final = """
-- How far we follow the conflicts of the workspace: the number of the newest change that is in `conflicts`.
CREATE TABLE conflict_feed (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    epoch      BLOB,
    change     INTEGER NOT NULL DEFAULT 0
);
INSERT INTO conflict_feed (only_row) VALUES (1);

-- Those that are open, and the newest that are not.
CREATE TABLE conflicts (
    id         BLOB PRIMARY KEY,
    issue_id   BLOB NOT NULL,
    change     INTEGER NOT NULL,
    is_open    INTEGER NOT NULL,
    content    TEXT NOT NULL                     -- JSON, as the server tells it
);
CREATE INDEX conflicts_by_change ON conflicts (change);
CREATE INDEX conflicts_by_issue ON conflicts (issue_id, change);
"""


def connect(path: str) -> sqlite3.Connection:
    """Open or create a store; ":memory:" keeps nothing. Raises StoreFailed and sqlite3.Error."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: a commit that a power cut takes back would let us write other content under clocks already sent.
        connection.execute("PRAGMA synchronous = FULL")
        with transaction(connection):
            _create(connection)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction that has the write lock from its beginning, so that what it reads cannot change under it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _create(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise StoreFailed(f"the store is of version {version}, this program knows {VERSION}")
    for number, statements in enumerate((_TABLES, _CONFLICTS), start=1):
        if version < number:
            for statement in statements.split(";\n"):
                connection.execute(statement)
    if version < VERSION:
        connection.execute(f"PRAGMA user_version = {VERSION}")
