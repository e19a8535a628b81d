-- What SQL tools read. Rows are computed from documents, may be thrown away, and hold whatever clients wrote: no CHECKs.

CREATE TABLE issues (
    workspace_id   bigint NOT NULL,
    id             uuid NOT NULL,
    seq            bigint NOT NULL,      -- the log is projected through here
    version        bigint NOT NULL,      -- deltas merged into the issue
    title          text NOT NULL,
    description    text NOT NULL,
    status         text NOT NULL DEFAULT 'pending',
    priority       text NOT NULL DEFAULT 'medium',
    user_id        text,                 -- the assignee
    session_id     text,
    claude_task_id text,
    -- An array rather than jsonb: labels are a flat set of strings, and `'bug' = ANY (labels)` is what a person types.
    labels         text[] NOT NULL DEFAULT '{}',
    created_by     text,
    created_at     timestamptz,
    updated_at     timestamptz,
    completed_at   timestamptz,
    deleted_at     timestamptz,
    unreadable     text[] NOT NULL DEFAULT '{}',  -- what fell back to a default, and why
    PRIMARY KEY (workspace_id, id)
);
CREATE INDEX issues_by_status ON issues (workspace_id, status);
CREATE INDEX issues_by_user ON issues (workspace_id, user_id);
CREATE INDEX issues_by_session ON issues (workspace_id, session_id);
CREATE INDEX issues_by_update ON issues (workspace_id, updated_at);

CREATE TABLE comments (
    workspace_id bigint NOT NULL,
    issue_id     uuid NOT NULL,
    id           text NOT NULL,
    author       text,
    body         text NOT NULL,
    created_at   timestamptz,
    edited_at    timestamptz,
    deleted_at   timestamptz,
    PRIMARY KEY (workspace_id, issue_id, id)
);

CREATE TABLE users (
    workspace_id bigint NOT NULL,
    id           text NOT NULL,
    name         text,
    email        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    last_sync_at timestamptz,
    device_id    text,
    PRIMARY KEY (workspace_id, id)
);
