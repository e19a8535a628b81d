-- Lists of what a text or a label finds: what they are filtered and sorted by stands beside the id, so that rows, each on
-- a page of its own, are fetched for the page that is shown and not for all that was found.
-- An update of a row changes every index of it anyway, for the time of its last change is in most of them. Not more
-- columns: an index row has at most 2,704 bytes, and each of these texts may have 800.

ALTER TABLE issue_labels DROP CONSTRAINT issue_labels_workspace_id_issue_id_fkey;
ALTER TABLE issue_words DROP CONSTRAINT issue_words_workspace_id_issue_id_fkey;
ALTER TABLE issues DROP CONSTRAINT issues_pkey;
ALTER TABLE issues ADD CONSTRAINT issues_pkey PRIMARY KEY (workspace_id, id)
    INCLUDE (status, priority, user_id, created_at, updated_at, completed_at, deleted_at);
ALTER TABLE issue_labels ADD FOREIGN KEY (workspace_id, issue_id) REFERENCES issues ON DELETE CASCADE;
ALTER TABLE issue_words ADD FOREIGN KEY (workspace_id, issue_id) REFERENCES issues ON DELETE CASCADE;
