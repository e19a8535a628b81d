-- Orders that texts are looked for along: whether an issue is deleted stands in the index too, so that rows are fetched
-- for the page that is shown and not for all that was passed on the way.

DROP INDEX issues_by_update, issues_by_status;
CREATE INDEX issues_by_update ON issues (workspace_id, updated_at, id) INCLUDE (deleted_at);
CREATE INDEX issues_by_status ON issues (workspace_id, status, updated_at, id) INCLUDE (deleted_at);
