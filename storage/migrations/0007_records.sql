-- Reading records: pages of issues by filter, order, label and text. The first page of any one filter is one range of one
-- index, newest first, whether it finds many issues or none.

-- The usual priorities in their order; what else clients write has no rank.
CREATE FUNCTION priority_rank(priority text) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE priority WHEN 'critical' THEN 4 WHEN 'urgent' THEN 4 WHEN 'high' THEN 3 WHEN 'medium' THEN 2
        WHEN 'low' THEN 1 ELSE 0 END
$$;

DROP INDEX issues_by_status, issues_by_user, issues_by_session, issues_by_update;
CREATE INDEX issues_by_update ON issues (workspace_id, updated_at, id);
CREATE INDEX issues_by_creation ON issues (workspace_id, created_at, id);
CREATE INDEX issues_by_status ON issues (workspace_id, status, updated_at, id);
CREATE INDEX issues_by_priority ON issues (workspace_id, priority_rank(priority), updated_at, id);
CREATE INDEX issues_by_status_and_priority ON issues (workspace_id, status, priority_rank(priority), updated_at, id);
CREATE INDEX issues_by_user ON issues (workspace_id, user_id, updated_at, id);
CREATE INDEX issues_by_session ON issues (workspace_id, session_id, updated_at, id) WHERE session_id IS NOT NULL;
CREATE INDEX issues_by_task ON issues (workspace_id, claude_task_id, updated_at, id) WHERE claude_task_id IS NOT NULL;
CREATE INDEX issues_deleted_by_update ON issues (workspace_id, updated_at, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX comments_by_creation ON comments (workspace_id, issue_id, created_at, id);

-- A row a label of an issue, with what its pages are sorted by: an index of an array has neither order nor workspace.
CREATE TABLE issue_labels (
    workspace_id bigint NOT NULL,
    issue_id     uuid NOT NULL,
    label        text NOT NULL,
    is_deleted   boolean NOT NULL,
    updated_at   timestamptz,
    PRIMARY KEY (workspace_id, issue_id, label),
    FOREIGN KEY (workspace_id, issue_id) REFERENCES issues ON DELETE CASCADE
);
CREATE INDEX issue_labels_by_update ON issue_labels (workspace_id, label, is_deleted, updated_at, issue_id);

INSERT INTO issue_labels
SELECT workspace_id, id, label, deleted_at IS NOT NULL, updated_at FROM issues, unnest(labels) AS label;

-- The words of a text, each with its workspace in front, so that nobody's search walks through the words of others.
CREATE FUNCTION search_words(of_workspace bigint, said text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(of_workspace || ':' || word), '{}')
    FROM unnest(tsvector_to_array(to_tsvector('simple', regexp_replace(said, '[^[:alnum:]]+', ' ', 'g')))) AS word
    WHERE octet_length(word) <= 200
$$;

-- All words of a text; those of three characters or more may go on. NULL where there are none.
CREATE FUNCTION search_query(of_workspace bigint, wanted text) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT string_agg(
        quote_literal(word) || CASE WHEN length(split_part(word, ':', 2)) >= 3 THEN ':*' ELSE '' END, ' & ')::tsquery
    FROM unnest(search_words(of_workspace, wanted)) AS word
$$;

-- What issues are found by, as of `seq`. `said` is there only where pg_trgm is, for what is no beginning of a word.
CREATE TABLE issue_words (
    workspace_id bigint NOT NULL,
    issue_id     uuid NOT NULL,
    seq          bigint NOT NULL,
    words        tsvector NOT NULL,
    said         text,
    PRIMARY KEY (workspace_id, issue_id),
    FOREIGN KEY (workspace_id, issue_id) REFERENCES issues ON DELETE CASCADE
);
CREATE INDEX issue_words_by_word ON issue_words USING gin (words);

-- Rows of `issues` whose words are to be read: taking words out of a text costs more than writing it, so that happens
-- beside the projection, once for all edits of a while.
CREATE TABLE issue_words_due (
    workspace_id bigint NOT NULL,
    seq          bigint NOT NULL,
    issue_id     uuid NOT NULL,
    PRIMARY KEY (workspace_id, seq, issue_id)
);
INSERT INTO issue_words_due SELECT workspace_id, seq, id FROM issues;
