-- Who did what that concerns security: sign-ins, refusals, roles, tokens, exports, deletions. No content of documents.
-- What repeats within a moment is one row with a count, so that whoever knocks all the time does not fill the disk.

CREATE TABLE audit_log (
    workspace_id bigint NOT NULL,
    id           bigint GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL,
    action       text NOT NULL,
    is_refused   boolean NOT NULL,
    via          text NOT NULL,        -- http, command, server, or the dialect of a socket
    user_id      text,                 -- null: nobody knows
    acting_for   text,
    device_id    text,
    address      text,
    count        bigint NOT NULL,
    detail       jsonb NOT NULL,
    PRIMARY KEY (workspace_id, id)
);
CREATE INDEX audit_log_by_time ON audit_log (workspace_id, at);

SELECT syncline_isolate('audit_log');
