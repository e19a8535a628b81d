-- Who may come into a workspace, with what, and who is there. All of it is kept per workspace, so that an admin of one
-- has no say in another.

-- How a user stands in a workspace. No row: what their token says counts.
CREATE TABLE memberships (
    workspace_id  bigint NOT NULL,
    user_id       text NOT NULL,
    role          text CHECK (role IN ('viewer', 'commenter', 'agent', 'member', 'admin', 'owner')),  -- null: the token's
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    removed_at    timestamptz,
    signed_out_at timestamptz,   -- what was issued before is worth nothing
    PRIMARY KEY (workspace_id, user_id)
);

-- Registered at first use, with what the client says of itself.
CREATE TABLE devices (
    workspace_id  bigint NOT NULL,
    user_id       text NOT NULL,
    id            text NOT NULL,
    platform      text,
    user_agent    text,
    public_key    text,
    address       text NOT NULL,
    token_id      text,          -- what it came with last, revoked together with it
    login_id      uuid,
    first_seen_at timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    last_sync_at  timestamptz,
    revoked_at    timestamptz,
    PRIMARY KEY (workspace_id, user_id, id)
);

-- A family of refresh tokens. Only the hash of the newest is kept: any other one is an old one.
CREATE TABLE logins (
    workspace_id bigint NOT NULL,
    id           uuid NOT NULL,
    user_id      text NOT NULL,
    role         text,             -- at most; null: whatever the workspace gives them
    acting_for   text,
    device_id    text,
    secret       bytea NOT NULL,   -- SHA-256
    created_at   timestamptz NOT NULL,
    used_at      timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    end_reason   text,
    PRIMARY KEY (workspace_id, id)
);
CREATE INDEX logins_by_user ON logins (workspace_id, user_id);

-- Tokens that were printed for a script: those of a login are not here.
CREATE TABLE tokens (
    workspace_id bigint NOT NULL,
    id           text NOT NULL,
    user_id      text NOT NULL,
    role         text NOT NULL,
    acting_for   text,
    device_id    text,
    expires_at   timestamptz NOT NULL,
    created_at   timestamptz NOT NULL,   -- or first seen, when it was issued elsewhere
    used_at      timestamptz,
    revoked_at   timestamptz,
    PRIMARY KEY (workspace_id, id)
);
CREATE INDEX tokens_by_user ON tokens (workspace_id, user_id);

-- Live sockets of all nodes, a second old. Not worth a write-ahead log: a node that starts anew writes them anew.
CREATE UNLOGGED TABLE visits (
    workspace_id bigint NOT NULL,
    id           uuid NOT NULL,
    node_id      uuid NOT NULL,
    user_id      text NOT NULL,
    role         text NOT NULL,
    acting_for   text,
    device_id    text,
    dialect      text NOT NULL,
    address      text NOT NULL,
    user_agent   text,
    token_id     text,
    login_id     uuid,
    began_at     timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, id)
);
CREATE UNLOGGED TABLE nodes (
    id      uuid PRIMARY KEY,
    seen_at timestamptz NOT NULL
);

-- Whose standing has changed, in the order of commits: every node reads it all the time and looks again.
CREATE TABLE standing_changes (
    workspace_id bigint NOT NULL,
    id           bigint GENERATED ALWAYS AS IDENTITY,
    user_id      text NOT NULL,
    visit_id     uuid,            -- only this one ends
    at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, id)
);
CREATE INDEX standing_changes_in_order ON standing_changes (id);

