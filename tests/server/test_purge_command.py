"""`syncline purge`, run as a person runs it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import structlog

from storage.errors import UnknownWorkspace
from storage.postgres import PostgresStore
from tests.server.test_commands import Desk
from tests.storage.authors import Author
from tests.storage.compacting import project

OLD, FRESH, KEPT = UUID(int=1), UUID(int=2), UUID(int=3)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def desk(dsn: str) -> Desk:
    """One issue that was deleted long ago, one that was deleted just now, and one that was not."""
    desk = Desk(dsn)

    async def fill(store: PostgresStore) -> None:
        workspace = await store.create_workspace("main", "Main")
        now = datetime.now(UTC)
        for issue, age in ((OLD, 40), (FRESH, 0), (KEPT, 40)):
            author = Author(workspace.id, issue, client_id=issue.int)
            author.at = now - timedelta(days=age, minutes=1)
            await store.append([author.types("text")])
            if issue != KEPT:
                await store.append([author.sets("deletedAt", author.at.isoformat())])
        await project(store)

    desk.do(fill)
    return desk


def test_what_is_due_is_told_then_purged_and_the_store_is_sound(desk: Desk) -> None:
    assert desk("purge", "--dry-run").stdout == f"{OLD}\n"
    assert desk("purge").stdout == "1 issues purged\n"
    assert desk("purge").stdout == "0 issues purged\n"
    verified = desk("verify")
    assert verified.exit_code == 0, verified.output
    assert "0 mismatches" in verified.stdout


def test_one_deleted_issue_goes_at_once_and_another_stays(desk: Desk) -> None:
    assert desk("purge", "--issue", str(FRESH), "--dry-run").exit_code == 0
    assert desk("purge", "--issue", str(FRESH)).stdout == f"issue {FRESH} is purged, tombstone at seq 6\n"
    for issue, reason in ((KEPT, "it is not deleted"), (FRESH, "was purged")):
        result = desk("purge", "--issue", str(issue))
        assert result.exit_code == 1
        assert reason in result.stderr
    assert isinstance(desk("purge", "--issue", str(OLD), "--workspace", "x").exception, UnknownWorkspace)
