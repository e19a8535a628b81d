-- What merging lost of what somebody wrote, kept until nobody wants it back. A row is written in the transaction of the
-- delta that made the conflict, so it outlives whatever compaction does to the document. `id` is derived from what lost,
-- so that a resent edit, another node and a second look at the log find the same row.

CREATE TABLE conflicts (
    workspace_id    bigint NOT NULL,
    id              uuid NOT NULL,
    issue_id        uuid NOT NULL,
    seq             bigint NOT NULL,     -- of the delta it was found with
    kind            text NOT NULL CHECK (kind IN ('update_update', 'update_delete', 'create_create')),
    field           text NOT NULL,       -- as a record names it; '' where a whole issue is meant
    standing_key    text NOT NULL,       -- which write it is: "client:clock" of its struct, or what the writer calls it
    standing_value  json,                -- json, not jsonb: what somebody wrote may hold NUL
    standing_actor  text NOT NULL,
    standing_device text,
    standing_at     timestamptz,         -- the writer's own clock where it gave one, else when it was received
    losing_key      text NOT NULL,
    losing_value    json,
    losing_actor    text NOT NULL,
    losing_device   text,
    losing_at       timestamptz,
    strategy        text NOT NULL CHECK (strategy IN ('last_write_wins', 'merge_fields', 'user_decision')),
    state           text NOT NULL CHECK (state IN ('open', 'resolved')),
    resolution      text CHECK (resolution IN ('standing', 'losing', 'value', 'superseded')),
    resolved_value  json,
    resolved_by     text,
    resolved_at     timestamptz,
    created_at      timestamptz NOT NULL,
    claimed_until   timestamptz,         -- somebody decides it just now
    PRIMARY KEY (workspace_id, id),
    CHECK ((state = 'resolved') = (resolution IS NOT NULL AND resolved_by IS NOT NULL AND resolved_at IS NOT NULL))
);
CREATE INDEX conflicts_by_seq ON conflicts (workspace_id, seq, id);
CREATE INDEX conflicts_by_issue ON conflicts (workspace_id, issue_id, seq, id);
CREATE INDEX conflicts_open ON conflicts (workspace_id, seq, id) WHERE state = 'open';
-- The node that decides looks for work in all workspaces at once.
CREATE INDEX conflicts_undecided ON conflicts (workspace_id, seq, id)
    WHERE state = 'open' AND strategy = 'last_write_wins';

-- How conflicts are decided, by field; '*' is every field without a row of its own.
CREATE TABLE conflict_policies (
    workspace_id bigint NOT NULL,
    field        text NOT NULL,
    strategy     text NOT NULL CHECK (strategy IN ('last_write_wins', 'merge_fields', 'user_decision')),
    PRIMARY KEY (workspace_id, field)
);
