-- What imports brought in, so that one can be repeated, gone on with, and taken back.

CREATE TABLE import_batches (
    workspace_id bigint NOT NULL,
    id           uuid NOT NULL,
    name         text NOT NULL,         -- of the file
    source       text NOT NULL,         -- its format
    started_by   text NOT NULL,
    started_at   timestamptz NOT NULL,
    finished_at  timestamptz,
    undone_at    timestamptz,
    counts       jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (workspace_id, id)
);

CREATE TABLE import_items (
    workspace_id bigint NOT NULL,
    batch_id     uuid NOT NULL,
    issue_id     uuid NOT NULL,
    seq          bigint NOT NULL,       -- the issue's newest delta when the batch was done with it
    digest       bytea NOT NULL,        -- of what the source said
    action       text NOT NULL,         -- created or changed
    is_undone    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (workspace_id, batch_id, issue_id)
);
CREATE INDEX import_items_by_issue ON import_items (workspace_id, issue_id, seq);

CREATE TABLE import_users (
    workspace_id bigint NOT NULL,
    batch_id     uuid NOT NULL,
    user_id      text NOT NULL,
    PRIMARY KEY (workspace_id, batch_id, user_id)
);
