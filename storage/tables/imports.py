"""Rows of `import_batches`, `import_items` and `import_users`."""

# ruff: noqa: S608 -- the f-strings are built from constants of this module

from __future__ import annotations

from typing import Final

_BATCH: Final = "id, name, source, started_by, started_at, finished_at, undone_at, counts"
_ITEM: Final = "issue_id, seq, digest, action, is_undone"

UNFINISHED: Final = """
SELECT id FROM import_batches
WHERE workspace_id = $1 AND name = $2 AND source = $3 AND started_by = $4 AND finished_at IS NULL AND undone_at IS NULL
ORDER BY started_at DESC LIMIT 1"""
BEGIN: Final = """
INSERT INTO import_batches (workspace_id, id, name, source, started_by, started_at) VALUES ($1, $2, $3, $4, $5, $6)"""
FINISH: Final = """
UPDATE import_batches SET finished_at = $4, counts = $3::jsonb WHERE workspace_id = $1 AND id = $2"""
ONE: Final = f"SELECT {_BATCH} FROM import_batches WHERE workspace_id = $1 AND id = $2"
ALL: Final = f"SELECT {_BATCH} FROM import_batches WHERE workspace_id = $1 ORDER BY started_at DESC, id LIMIT $2"

KNOWN: Final = f"""
SELECT DISTINCT ON (issue_id) {_ITEM} FROM import_items
WHERE workspace_id = $1 AND issue_id = ANY ($2::uuid[]) ORDER BY issue_id, seq DESC"""
RECORD: Final = """
INSERT INTO import_items AS i (workspace_id, batch_id, issue_id, seq, digest, action)
SELECT $1, $2, * FROM unnest($3::uuid[], $4::bigint[], $5::bytea[], $6::text[])
ON CONFLICT (workspace_id, batch_id, issue_id) DO UPDATE SET
    seq = excluded.seq, digest = excluded.digest, is_undone = false,
    action = CASE WHEN i.action = 'created' THEN i.action ELSE excluded.action END"""
ITEMS: Final = f"""
SELECT {_ITEM} FROM import_items
WHERE workspace_id = $1 AND batch_id = $2 AND ($3::uuid IS NULL OR issue_id > $3) ORDER BY issue_id LIMIT $4"""
MARK_UNDONE: Final = """
UPDATE import_items AS i SET is_undone = true, seq = undone.seq
FROM unnest($3::uuid[], $4::bigint[]) AS undone (issue_id, seq)
WHERE i.workspace_id = $1 AND i.batch_id = $2 AND i.issue_id = undone.issue_id"""
END_UNDO: Final = """
UPDATE import_batches SET undone_at = $3, finished_at = coalesce(finished_at, $3) WHERE workspace_id = $1 AND id = $2"""

ADD_USERS: Final = """
WITH added AS (
    INSERT INTO users (workspace_id, id, name, email, created_at, updated_at, last_sync_at, device_id)
    SELECT $1, * FROM unnest(
        $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[], $9::text[])
    ON CONFLICT (workspace_id, id) DO NOTHING RETURNING id
), noted AS (
    INSERT INTO import_users (workspace_id, batch_id, user_id) SELECT $1, $2, id FROM added
    ON CONFLICT DO NOTHING
)
SELECT id FROM added"""
GIVE_ROLE: Final = """
INSERT INTO memberships (workspace_id, user_id, role) SELECT $1, unnest($2::text[]), $3
ON CONFLICT DO NOTHING RETURNING user_id"""
UNKNOWN_USERS: Final = """
SELECT count(*) FROM unnest($2::text[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM users WHERE workspace_id = $1 AND users.id = wanted.id)"""
REMOVE_USERS: Final = """
WITH removed AS (
    DELETE FROM users AS u USING import_users AS i
    WHERE u.workspace_id = $1 AND i.workspace_id = $1 AND i.batch_id = $2 AND i.user_id = u.id
        AND NOT EXISTS (
            SELECT FROM issues WHERE workspace_id = $1 AND deleted_at IS NULL AND u.id IN (user_id, created_by))
        AND NOT EXISTS (
            SELECT FROM comments AS c JOIN issues AS of ON of.workspace_id = $1 AND of.id = c.issue_id
            WHERE c.workspace_id = $1 AND c.author = u.id AND of.deleted_at IS NULL)
    RETURNING u.id
), noted AS (
    DELETE FROM import_users WHERE workspace_id = $1 AND batch_id = $2 AND user_id IN (SELECT id FROM removed)
), dismissed AS (
    DELETE FROM memberships WHERE workspace_id = $1 AND user_id IN (SELECT id FROM removed)
        AND updated_at = created_at AND removed_at IS NULL AND signed_out_at IS NULL
)
SELECT id FROM removed"""
USERS_LEFT: Final = "SELECT count(*) FROM import_users WHERE workspace_id = $1 AND batch_id = $2"
