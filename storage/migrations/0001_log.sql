-- The log and what is folded from it. Every key leads with workspace_id, so that the tables can be distributed or
-- partitioned by it. No foreign keys: `append` proves that the workspace exists by locking its row, and a trigger a row
-- would cost more than the whole statement.

CREATE TABLE workspaces (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug       text NOT NULL UNIQUE,
    name       text NOT NULL,
    head       bigint NOT NULL DEFAULT 0 CHECK (head >= 0),  -- newest seq; bumped by every append, under the row's lock
    floor      bigint NOT NULL DEFAULT 0 CHECK (floor >= 0), -- highest trimmed seq
    epoch      uuid NOT NULL DEFAULT gen_random_uuid(),      -- changes when history is replaced
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);  -- the row is rewritten at every commit: room on the page keeps the rewrites HOT

CREATE TABLE deltas (
    workspace_id bigint NOT NULL,
    seq          bigint NOT NULL,
    issue_id     uuid NOT NULL,
    created_at   timestamptz NOT NULL,
    checksum     bigint NOT NULL,   -- CRC-32 of the issue id and the update
    actor_id     text NOT NULL,
    device_id    text,
    update       bytea NOT NULL,
    PRIMARY KEY (workspace_id, seq)
);
-- What the gate finds beside the update (concurrent overwrites) will travel in the append statement into a table of its
-- own, keyed (workspace_id, seq, …): it is rare, and a column here would widen every row.

CREATE INDEX deltas_by_issue ON deltas (workspace_id, issue_id, seq);
-- Big updates (a first upload) are not compressed: they would be while every other writer of the workspace waits.
ALTER TABLE deltas ALTER COLUMN update SET STORAGE EXTERNAL;

CREATE TABLE snapshots (
    workspace_id bigint NOT NULL,
    issue_id     uuid NOT NULL,
    seq          bigint NOT NULL,   -- valid through here
    version      bigint NOT NULL,   -- deltas merged
    created_at   timestamptz NOT NULL,
    checksum     bigint NOT NULL,   -- CRC-32 of issue id, seq, version, state and index
    state        bytea NOT NULL,
    index        bytea NOT NULL,
    PRIMARY KEY (workspace_id, issue_id, seq)
);

CREATE TABLE documents (
    workspace_id      bigint NOT NULL,
    issue_id          uuid NOT NULL,
    version           bigint NOT NULL DEFAULT 0,   -- counted by the projection, like the five below
    last_seq          bigint NOT NULL DEFAULT 0,
    tail_updates      bigint NOT NULL DEFAULT 0,
    tail_bytes        bigint NOT NULL DEFAULT 0,
    created_at        timestamptz,                 -- time of the first delta
    updated_at        timestamptz,                 -- time of the last one
    snapshot_seq      bigint NOT NULL DEFAULT 0,   -- the newest one
    floor             bigint NOT NULL DEFAULT 0,   -- the issue's deltas are trimmed through here; a snapshot stands there
    quarantined_at    timestamptz,
    quarantine_reason text,
    PRIMARY KEY (workspace_id, issue_id)
);
-- One compactor looks for work in all workspaces at once, so these two lead with the measure.
CREATE INDEX documents_by_tail_updates ON documents (tail_updates) WHERE quarantined_at IS NULL;
CREATE INDEX documents_by_tail_bytes ON documents (tail_bytes) WHERE quarantined_at IS NULL;
CREATE INDEX documents_quarantined ON documents (workspace_id, issue_id) WHERE quarantined_at IS NOT NULL;

CREATE TABLE cursors (
    workspace_id bigint NOT NULL,
    reader       text NOT NULL,
    seq          bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (workspace_id, reader)
);

-- Written by the readiness check: the only honest way to learn whether commits are possible.
CREATE TABLE probes (
    id         int PRIMARY KEY CHECK (id = 1),
    written_at timestamptz NOT NULL
) WITH (fillfactor = 10);
