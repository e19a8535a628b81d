-- Requests of /v1 that came with an Idempotency-Key: who is at one, and what it was answered.

CREATE TABLE keyed_requests (
    workspace_id  bigint NOT NULL,
    user_id       text NOT NULL,
    key           text NOT NULL,
    fingerprint   bytea NOT NULL,       -- of what was asked
    issue_id      uuid,                 -- that the path names
    at            timestamptz NOT NULL, -- of the first one with this key
    claimed_until timestamptz NOT NULL, -- whoever it was sent to works on it until then
    status        integer,              -- of the answer; null: there is none yet
    headers       text,
    body          bytea,
    PRIMARY KEY (workspace_id, user_id, key)
);
CREATE INDEX keyed_requests_by_age ON keyed_requests (workspace_id, at);

-- What of such a request is committed: a row an issue, written in the transaction of its delta.
CREATE TABLE keyed_edits (
    workspace_id  bigint NOT NULL,
    user_id       text NOT NULL,
    key           text NOT NULL,
    issue_id      uuid NOT NULL,
    seq           bigint NOT NULL,      -- of the delta
    outcomes      text NOT NULL,        -- of the edits in it, with commas between them
    PRIMARY KEY (workspace_id, user_id, key, issue_id)
);

SELECT syncline_isolate('keyed_requests');
SELECT syncline_isolate('keyed_edits');
