-- Row-level security: what a connection sees is decided here, not by the WHERE of whoever asks. See docs/isolation.md.
--
-- `syncline.workspace` is a workspace's id, or 'directory' (names and counters of all workspaces, and appending to their
-- logs), or 'maintenance' (everything; only for the owner of the tables). Anything else, and nothing, shows no rows.
-- A later migration that makes a table ends with `SELECT syncline_isolate('its name')`.

CREATE TABLE isolated_tables (
    name         text PRIMARY KEY,
    kind         text NOT NULL CHECK (kind IN ('content', 'appended', 'directory')),
    is_published boolean NOT NULL
);

-- Which workspaces an analyst's role reads; see `syncline sql-access`.
CREATE TABLE sql_access (
    workspace_id bigint NOT NULL,
    role         text NOT NULL,
    granted_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, role)
);

-- Without a regular expression, which would take longer than the rest of a small statement's policies.
CREATE FUNCTION syncline_workspace() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN current_setting('syncline.workspace', true) <> ''
    AND translate(current_setting('syncline.workspace', true), '0123456789', '') = ''
    AND length(current_setting('syncline.workspace', true)) <= 18
    THEN current_setting('syncline.workspace', true)::bigint END;

CREATE FUNCTION syncline_scope_is(wanted text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(current_setting('syncline.workspace', true) = wanted, false);

-- Isolate a table; again, whenever its kind changes or roles have come into being. `kind`:
--   content    rows are seen and written only under their own workspace;
--   appended   like content, and rows of any workspace may be inserted (not read) under 'directory';
--   directory  rows of any workspace may be seen and written under 'directory': no content may be in them.
-- `is_published`: analysts read the rows of workspaces they were granted.
--
-- The functions stand in sub-selects so that they are called once a statement, not once a row.
CREATE FUNCTION syncline_isolate(name text, kind text DEFAULT 'content', is_published boolean DEFAULT false)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    owner text := (SELECT relowner::regrole::text FROM pg_class WHERE oid = quote_ident(name)::regclass);
    serving text := owner || CASE WHEN to_regrole('syncline_server') IS NULL THEN '' ELSE ', syncline_server' END;
    key text := CASE name WHEN 'workspaces' THEN 'id' ELSE 'workspace_id' END;
    own text := key || ' = (SELECT syncline_workspace())';
    policy text;
BEGIN
    INSERT INTO isolated_tables VALUES (name, kind, is_published)
    ON CONFLICT ON CONSTRAINT isolated_tables_pkey
    DO UPDATE SET kind = excluded.kind, is_published = excluded.is_published;
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    FOR policy IN SELECT polname FROM pg_policy
        WHERE polrelid = quote_ident(name)::regclass AND polname IN ('workspace', 'appending', 'maintenance', 'analysts')
    LOOP
        EXECUTE format('DROP POLICY %I ON %I', policy, name);
    END LOOP;
    IF kind = 'directory' THEN
        own := own || ' OR (SELECT syncline_scope_is(''directory''))';
    END IF;
    EXECUTE format('CREATE POLICY workspace ON %I TO %s USING (%s)', name, serving, own);
    IF kind = 'appended' THEN
        EXECUTE format('CREATE POLICY appending ON %I FOR INSERT TO %s
            WITH CHECK ((SELECT syncline_scope_is(''directory'')))', name, serving);
    END IF;
    EXECUTE format('CREATE POLICY maintenance ON %I TO %s
        USING ((SELECT syncline_scope_is(''maintenance'')))', name, owner);
    IF is_published AND to_regrole('syncline_analyst') IS NOT NULL THEN
        EXECUTE format('CREATE POLICY analysts ON %I FOR SELECT TO syncline_analyst
            USING (%I = ANY (ARRAY(SELECT workspace_id FROM sql_access WHERE role = current_user)))', name, key);
        EXECUTE format('GRANT SELECT ON %I TO syncline_analyst', name);
    END IF;
END $$;

-- Workers look for work in all workspaces. These two read everything for them, and say no more than ids.
CREATE FUNCTION syncline_undecided_workspaces() RETURNS SETOF bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT AS $$
DECLARE
    scope text := coalesce(current_setting('syncline.workspace', true), '');
BEGIN
    PERFORM set_config('syncline.workspace', 'maintenance', true);
    RETURN QUERY SELECT DISTINCT workspace_id FROM conflicts WHERE state = 'open' AND strategy = 'last_write_wins';
    PERFORM set_config('syncline.workspace', scope, true);
END $$;

-- Deleted, and untouched since: the times in a document are its writers', those of the log are ours.
CREATE FUNCTION syncline_issues_to_purge(since timestamptz, most bigint)
RETURNS TABLE (workspace_id bigint, issue_id uuid) LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    scope text := coalesce(current_setting('syncline.workspace', true), '');
BEGIN
    PERFORM set_config('syncline.workspace', 'maintenance', true);
    RETURN QUERY SELECT d.workspace_id, d.issue_id
        FROM issues AS i JOIN documents AS d ON d.workspace_id = i.workspace_id AND d.issue_id = i.id
        WHERE i.deleted_at < since AND d.updated_at < since AND d.quarantined_at IS NULL
        ORDER BY i.deleted_at, d.workspace_id, d.issue_id LIMIT most;
    PERFORM set_config('syncline.workspace', scope, true);
END $$;

REVOKE EXECUTE ON FUNCTION syncline_undecided_workspaces, syncline_issues_to_purge FROM PUBLIC;

SELECT syncline_isolate('workspaces', 'directory', true);
SELECT syncline_isolate('cursors', 'directory');
SELECT syncline_isolate('documents', 'directory');
SELECT syncline_isolate('tombstones', 'directory');
SELECT syncline_isolate('sql_access', 'directory');
SELECT syncline_isolate('deltas', 'appended');
SELECT syncline_isolate('snapshots');
SELECT syncline_isolate('issues', is_published => true);
SELECT syncline_isolate('comments', is_published => true);
SELECT syncline_isolate('conflicts', is_published => true);
SELECT syncline_isolate('conflict_policies');
SELECT syncline_isolate('users', is_published => true);
SELECT syncline_isolate('import_batches');
SELECT syncline_isolate('import_items');
SELECT syncline_isolate('import_users');
SELECT syncline_isolate('issue_labels');
SELECT syncline_isolate('issue_words');
SELECT syncline_isolate('issue_words_due', 'directory');
SELECT syncline_isolate('memberships');
SELECT syncline_isolate('devices');
SELECT syncline_isolate('logins');
SELECT syncline_isolate('tokens');
SELECT syncline_isolate('visits');
SELECT syncline_isolate('standing_changes', 'directory');
