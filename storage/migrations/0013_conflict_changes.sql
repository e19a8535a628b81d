-- Every change of a conflict has a number, so that whoever follows them with a cursor misses none. The counter's row is
-- locked from the moment a number is taken until COMMIT: the order of the numbers is the order of the commits. Numbers
-- grow, and may skip some. Who takes one takes it before any row of `conflicts` is locked, and after the workspace's row.
CREATE TABLE conflict_counters (
    workspace_id bigint PRIMARY KEY,
    changes      bigint NOT NULL     -- the newest number
);
ALTER TABLE conflicts ADD COLUMN change bigint;
SELECT set_config('syncline.workspace', 'maintenance', true);
UPDATE conflicts SET change = numbered.change FROM (
    SELECT workspace_id, id, row_number() OVER (PARTITION BY workspace_id ORDER BY seq, id) AS change FROM conflicts
) AS numbered
WHERE conflicts.workspace_id = numbered.workspace_id AND conflicts.id = numbered.id;
INSERT INTO conflict_counters SELECT workspace_id, max(change) FROM conflicts GROUP BY workspace_id;
ALTER TABLE conflicts ALTER COLUMN change SET NOT NULL;
CREATE UNIQUE INDEX conflicts_by_change ON conflicts (workspace_id, change);
CREATE INDEX conflicts_open_by_change ON conflicts (workspace_id, change) WHERE state = 'open';

-- That an issue's conflicts went with it is a change as well. NULL: it had none.
ALTER TABLE tombstones ADD COLUMN conflict_change bigint;
CREATE UNIQUE INDEX tombstones_by_conflict_change ON tombstones (workspace_id, conflict_change)
    WHERE conflict_change IS NOT NULL;

SELECT set_config('syncline.workspace', '', true);
SELECT syncline_isolate('conflict_counters');
