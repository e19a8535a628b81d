-- Who is here, in the order in which they are listed; and the agents that are here for somebody.
CREATE INDEX visits_by_user ON visits (workspace_id, user_id, began_at);
CREATE INDEX visits_by_represented ON visits (workspace_id, acting_for) WHERE acting_for IS NOT NULL;
