"""Rows of `issue_labels`: the labels of `issues.labels`, one a row, to list issues by."""

from __future__ import annotations

from typing import Final

# Of issues that are not deleted; the index has them in this order.
COUNTS: Final = """
SELECT label, count(*) AS issues FROM issue_labels WHERE workspace_id = $1 AND NOT is_deleted AND label > $2
GROUP BY label ORDER BY label LIMIT $3"""

DELETE: Final = """
DELETE FROM issue_labels AS l USING issues AS i
WHERE l.workspace_id = $1 AND l.issue_id = ANY ($2::uuid[]) AND i.workspace_id = l.workspace_id AND i.id = l.issue_id
    AND NOT l.label = ANY (i.labels)"""

UPSERT: Final = """
INSERT INTO issue_labels (workspace_id, issue_id, label, is_deleted, updated_at, status, user_id)
SELECT i.workspace_id, i.id, label, i.deleted_at IS NOT NULL, i.updated_at, i.status, i.user_id
FROM issues AS i, unnest(i.labels) AS label
WHERE i.workspace_id = $1 AND i.id = ANY ($2::uuid[])
ON CONFLICT (workspace_id, issue_id, label) DO UPDATE SET
    is_deleted = excluded.is_deleted, updated_at = excluded.updated_at, status = excluded.status,
    user_id = excluded.user_id"""
