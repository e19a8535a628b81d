-- Analysts read the audit log of the workspaces they were granted.

SELECT syncline_isolate('audit_log', is_published => true);
