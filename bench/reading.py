"""REST over 100,000 issues: pages by many filters, one issue, and writes."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote
from uuid import UUID, uuid4

import asyncpg

from bench.asking import Asker, Request, spread
from bench.cores import Cores, starting_on
from bench.report import Report, Value
from bench.scale import Scale
from bench.servers import WORKSPACE, ask, cli, syncline
from storage.tables import issue_words

PAGE: Final = 50
TARGET_P95_MS: Final = 10.0
WORDS: Final = 5_000  # different ones; the nth is in every nth text, about
AT_ONCE: Final = 2_000
_CHANCE: Final = 7

# Rows as the projection leaves them, without a log: what is measured reads rows only.
_ISSUES: Final = """
INSERT INTO issues (workspace_id, id, seq, version, title, description, status, priority, user_id, session_id,
    claude_task_id, labels, created_by, created_at, updated_at, deleted_at)
SELECT $1, id, 1, 1, said[1] || ' ' || said[2] || ' ' || said[3], array_to_string(said, ' '),
    (ARRAY['pending', 'in_progress', 'blocked', 'done'])[n % 4 + 1],
    (ARRAY['low', 'medium', 'high', 'urgent'])[n % 7 % 4 + 1], 'user ' || n / 28 % 50, 'session ' || n % 1000,
    'task ' || n, ARRAY['team ' || n / 28 % 10, 'area ' || n / 5 % 200], 'ana', now() - n * interval '2 minutes',
    now() - n * interval '1 minute', CASE WHEN n % 20 = 0 THEN now() END
FROM unnest($2::bigint[], $3::uuid[], $4::text[]) AS given(n, id, text), string_to_array(text, ' ') AS said"""
_LABELS: Final = """
INSERT INTO issue_labels SELECT workspace_id, id, label, deleted_at IS NOT NULL, updated_at, status, user_id
FROM issues, unnest(labels) AS label WHERE workspace_id = $1"""


def measure(cores: Cores, scale: Scale) -> Iterator[Report]:
    """A server whose tables are full. Yields one table."""
    with tempfile.TemporaryDirectory(prefix="syncline-bench-") as folder, syncline(cores, Path(folder)) as server:
        dsn = ask(*cli("database-url", Path(folder)))
        ids = asyncio.run(filled(dsn, scale.rest_issues))
        token = ask(*cli("token", Path(folder)), "--workspace", WORKSPACE, "--user", "bench", "--role", "member")
        with closing(Asker(server.http, WORKSPACE, token)) as asker, starting_on(cores.load):
            rows = [*_reads(asker, ids, scale), *_writes(asker, scale)]
    yield Report(
        f"REST: pages of {PAGE} out of {scale.rest_issues:,} issues, one issue, writes",
        rows,
        (
            f"one client, a request at a time, {scale.rest_requests} of each kind; client, JSON and connection are part"
            " of it. Every request of a kind asks for something else where there is a choice.",
            "a write is answered after its commit, and is of an issue that was not open.",
        ),
    )


async def filled(dsn: str, count: int) -> list[UUID]:
    """Put rows there; their ids."""
    chance = random.Random(_CHANCE)
    connection = await asyncpg.connect(dsn)
    try:
        workspace = await connection.fetchval("SELECT id FROM workspaces WHERE slug = $1", WORKSPACE)
        ids = [UUID(int=chance.getrandbits(128), version=4) for _ in range(count)]
        for start in range(0, count, AT_ONCE):
            some = ids[start : start + AT_ONCE]
            texts = [text(chance) for _ in some]
            numbers = list(range(start, start + len(some)))
            await connection.execute(_ISSUES, workspace, numbers, some, texts, timeout=60)
            await connection.execute(issue_words.READ, workspace, some, False, timeout=60)
        await connection.execute(_LABELS, workspace, timeout=120)
        await connection.execute("ANALYZE")
        for table in ("issue_words", "issues"):  # as autovacuum does within a minute
            await connection.execute(f"VACUUM {table}", timeout=120)
    finally:
        await connection.close()
    return ids


def text(chance: random.Random) -> str:
    """About 600 letters of words, of which few are in many texts and many in few."""
    return " ".join(word(int(WORDS ** chance.random())) for _ in range(80))


def word(rank: int) -> str:
    """The word of that rank, the commonest first."""
    return f"word{rank}x"


def _reads(asker: Asker, ids: list[UUID], scale: Scale) -> Iterator[dict[str, Value]]:
    chance = random.Random(_CHANCE + 1)
    filters: dict[str, Callable[[], str]] = {
        "none": str,
        "status": lambda: f"status={chance.choice(('pending', 'in_progress', 'blocked', 'done'))}",
        "status, priority": lambda: f"status=blocked&priority={chance.choice(('low', 'medium', 'high'))}",
        "priority, most urgent first": lambda: "sort=-priority,-updated_at",
        "user": lambda: f"user_id=user {chance.randrange(50)}",
        "label of a tenth": lambda: f"label=team {chance.randrange(10)}",
        "label of 500": lambda: f"label=area {chance.randrange(200)}",
        "label, status": lambda: f"label=team {chance.randrange(10)}&status=done",
        "label, status, user": lambda: f"label=area {chance.randrange(200)}&status=done&user_id=user 3",
        "label, status, and no such user": lambda: f"label=team {chance.randrange(10)}&status=done&user_id=nobody",
        "label, and a user who never has it": lambda: f"label=team {chance.randrange(4)}&user_id=user 4",
        "deleted": lambda: "deleted=true",
        "q, a rare word": lambda: f"q={word(chance.randrange(2_000, WORDS))}",
        "q, a common word": lambda: f"q={word(chance.randrange(1, 20))}",
        "q, two words": lambda: f"q={word(chance.randrange(100, 300))} {word(chance.randrange(20, 100))}",
        "q, status": lambda: f"q={word(chance.randrange(100, 1_000))}&status=done",
    }
    for name, made in filters.items():
        paths = [f"/issues?limit={PAGE}&{quote(made(), safe='=&')}" for _ in range(scale.rest_requests)]
        yield _row(f"page: {name}", asker.time(Request("GET", path) for path in paths), TARGET_P95_MS)
    _, page = asker.ask(Request("GET", f"/issues?limit={PAGE}"))
    for _ in range(20):
        _, page = asker.ask(Request("GET", f"/issues?limit={PAGE}&cursor={page['cursor']}"))
    deep = Request("GET", f"/issues?limit={PAGE}&cursor={page['cursor']}")
    yield _row("page: none, the 22nd", asker.time([deep] * scale.rest_requests), TARGET_P95_MS)
    some = [Request("GET", f"/issues/{chance.choice(ids)}") for _ in range(scale.rest_requests)]
    yield _row("read one", asker.time(some))


def _writes(asker: Asker, scale: Scale) -> Iterator[dict[str, Value]]:
    ids = [uuid4() for _ in range(scale.rest_requests)]
    made = [Request("POST", "/issues", {"id": str(one), "title": "New", "labels": ["bug"]}) for one in ids]
    yield _row("create", asker.time(made))
    edits = [Request("PATCH", f"/issues/{one}", {"status": "done"}) for one in ids]
    yield _row("patch", asker.time(edits))
    many = {"issues": [{"title": f"New {number}"} for number in range(scale.outbox_batch)]}
    yield _row(f"create {scale.outbox_batch:,} in one request", asker.time([Request("POST", "/issues/bulk", many)] * 3))


def _row(what: str, seconds: list[float], target_p95_ms: float | None = None) -> dict[str, Value]:
    found = spread(seconds)
    p95 = found["p95 ms"]
    assert isinstance(p95, float)
    met = None if target_p95_ms is None else "yes" if p95 < target_p95_ms else "NO"
    return {"what": what, **found, "p95 at most": target_p95_ms, "met": met}
