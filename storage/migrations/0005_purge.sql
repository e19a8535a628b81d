-- Issues that are gone for good. The log keeps one row of each, with an empty update: so whoever reads the log hears of it.

-- How many were purged. An append compares what its statement saw with what it finds under the row's lock: where the two
-- differ, it cannot have seen the newest tombstone, and is made again.
ALTER TABLE workspaces ADD COLUMN purges bigint NOT NULL DEFAULT 0;

CREATE TABLE tombstones (
    workspace_id bigint NOT NULL,
    issue_id     uuid NOT NULL,
    seq          bigint NOT NULL,      -- of the log row that says so
    purged_at    timestamptz NOT NULL,
    purged_by    text NOT NULL,
    seqs         bigint[] NOT NULL,    -- holes this left in the log above the workspace's floor of then, ascending
    PRIMARY KEY (workspace_id, issue_id)
);
CREATE INDEX tombstones_by_seq ON tombstones (workspace_id, seq);

-- One worker looks for what is due in all workspaces at once, so this one leads with the time.
CREATE INDEX issues_deleted ON issues (deleted_at) WHERE deleted_at IS NOT NULL;
