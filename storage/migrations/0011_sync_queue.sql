-- Operations that clients queued as records and sent to POST …/sync: what became of each, so that one sent again is not
-- made again.

CREATE TABLE sync_queue (
    workspace_id  bigint NOT NULL,
    user_id       text NOT NULL,
    device_id     text NOT NULL,        -- an operation's id is its device's own
    id            text NOT NULL,
    table_name    text NOT NULL,
    record_id     text NOT NULL,
    issue_id      uuid NOT NULL,        -- the record, or what it is a part of
    operation     text NOT NULL,
    outcome       text,                 -- applied, merged, conflict or rejected; null: not known yet
    error         text,                 -- why it was rejected
    field         text,                 -- what of it
    retries       integer NOT NULL DEFAULT 0,
    seq           bigint,               -- of the delta that holds it
    version       bigint,               -- of the record then
    update        bytea,                -- what it is to be, from before it is committed until that is known
    becomes       text,                 -- the outcome then
    claimed_until timestamptz NOT NULL, -- whoever it was sent to works on it until then
    at            timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, user_id, device_id, id)
);
CREATE INDEX sync_queue_by_age ON sync_queue (workspace_id, at);
CREATE INDEX sync_queue_begun ON sync_queue (workspace_id, user_id, device_id, issue_id)
    WHERE outcome IS NULL AND update IS NOT NULL;

SELECT syncline_isolate('sync_queue');
