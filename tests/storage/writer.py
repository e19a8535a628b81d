"""A process of its own that appends batches to two workspaces and prints what was acknowledged of the first.

Arguments: DSN, the writer's number, how many batches, the two workspaces' ids.
"""

from __future__ import annotations

import asyncio
import sys

from storage.database import DatabaseLimits, open_database
from storage.postgres import PostgresStore
from tests.storage.rows import new_delta


async def write(dsn: str, writer: int, batches: int, workspace: int, other: int) -> None:
    store = PostgresStore(await open_database(dsn, DatabaseLimits(connections_max=1)))
    for number in range(batches):
        updates = [b"%d/%d/%d" % (writer, number, place) for place in range(1 + number % 4)]
        # Half the writers name the workspaces in the other order.
        order = (workspace, other) if writer % 2 else (other, workspace)
        batch = [new_delta(w, update=update) for update in updates for w in order]
        seqs = await store.append(batch)
        for delta, seq in zip(batch, seqs, strict=True):
            if delta.workspace_id == workspace:
                print(seq, delta.update.decode())
    await store.close()


if __name__ == "__main__":
    dsn, writer, batches, workspace, other = sys.argv[1:]
    asyncio.run(write(dsn, int(writer), int(batches), int(workspace), int(other)))
