-- A client that comes back below the floor is sent the issues changed since: found by this, however many there are.
CREATE INDEX documents_by_last_seq ON documents (workspace_id, last_seq);
