-- What lists of a label are filtered by besides stands beside it: of a label of many issues those of one user were looked
-- for in all rows of the label, each on a page of its own. Not more columns: an index row has at most 2,704 bytes, and
-- each of these texts, the label too, may have 800.

ALTER TABLE issue_labels ADD COLUMN status text, ADD COLUMN user_id text;
UPDATE issue_labels AS l SET status = i.status, user_id = i.user_id FROM issues AS i
WHERE i.workspace_id = l.workspace_id AND i.id = l.issue_id;
DROP INDEX issue_labels_by_update;
CREATE INDEX issue_labels_by_update ON issue_labels (workspace_id, label, is_deleted, updated_at, issue_id)
    INCLUDE (status, user_id);
