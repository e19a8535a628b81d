"""The past of issues over `/v1`, on a real Postgres: history, diff, blame, revert, activity."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from server.doors.rest.problems import TYPE_PREFIX
from storage.compactor import Compactor
from storage.engine import EngineFailed, EngineUnavailable, IssueKey
from tests.inline_engine import InlineEngine
from tests.server.house import Peer, settle
from tests.server.rest.conftest import Api
from tests.simulation.time import VirtualClock
from tests.storage.compacting import SMALL, Calendar

ID, OTHER = UUID(int=5), UUID(int=6)
ONE = f"/issues/{ID}"


async def write(api: Api, method: str, path: str, body: object = None, device: str = "desk") -> int:
    status, told, _ = await api(method, path, body, x_device_id=device)
    assert status in (200, 201), told
    return int(told["seq"])


async def begun(api: Api, issue: UUID = ID) -> int:
    return await write(api, "POST", "/issues", {"id": str(issue), "title": "Slow search", "status": "open"})


async def written_by_ben(api: Api, text: str) -> Peer:
    """Ben types at the end of the title."""
    ben = Peer("ben", client=77)
    await api.home.join(ben, ID)
    ben.hear()
    ben.write(text)
    await ben_is_answered(ben)
    return ben


async def ben_is_answered(ben: Peer) -> None:
    for _ in range(400):
        if ben.outcomes:
            return
        await settle()
    raise AssertionError("no receipt")


async def told(api: Api, path: str, status: int = 200) -> Any:
    got, content, _ = await api.get(path)
    assert got == status, content
    return content


async def test_the_history_tells_who_changed_what_where_and_when(api: Api) -> None:
    await begun(api)
    await write(api, "PATCH", ONE, {"status": "done", "title": "Slower search"}, device="phone")
    await write(api, "PATCH", ONE, {"add_labels": ["bug"]})
    page = await told(api, f"{ONE}/history")
    labels, patch, begin = page["entries"]
    assert labels["changes"] == [{"kind": "labels", "added": ["bug"], "removed": []}]
    assert patch["changes"] == [
        {"kind": "field", "field": "status", "old": "open", "new": "done"},
        {"kind": "text", "field": "title", "edits": [{"at": 4, "deleted": "", "inserted": "er"}]},
    ]
    assert (patch["actor"], patch["device"], patch["seq"], patch["version"]) == ("ana", "phone", 2, 2)
    assert begin["kinds"][0] == "created"
    assert (page["cursor"], page["floor"]) == (None, 0)


async def test_the_history_is_read_by_pages(api: Api) -> None:
    await begun(api)
    for number in range(5):
        await write(api, "PATCH", ONE, {"status": f"s{number}"}, device=f"d{number}")
    seqs: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await told(api, f"{ONE}/history?limit=2{cursor and '&cursor=' + cursor}")
        seqs += [entry["seq"] for entry in page["entries"]]
        cursor = page["cursor"]
    assert seqs == [6, 5, 4, 3, 2, 1]


async def test_an_issue_is_read_as_it_was(api: Api) -> None:
    seq = await begun(api)
    await write(api, "PATCH", ONE, {"title": "Fast search"})
    assert (await told(api, f"{ONE}?at={seq}"))["title"] == "Slow search"
    assert (await told(api, f"{ONE}?at=2030-01-01&fields=title")) == {"title": "Fast search"}
    assert (await told(api, f"{ONE}?at=2020-01-01", 404))["detail"] == "it did not exist yet"


async def test_two_moments_are_compared(api: Api) -> None:
    first = await begun(api)
    second = await write(api, "PATCH", ONE, {"status": "done"})
    change = {"kind": "field", "field": "status", "old": "open", "new": "done"}
    assert (await told(api, f"{ONE}/diff?from={first}&to={second}"))["changes"] == [change]
    back = await told(api, f"{ONE}/diff?from={second}&to={first}")
    assert back["changes"] == [change | {"old": "done", "new": "open"}]
    since = await told(api, f"{ONE}/diff?from=0&to=2030-01-01")
    assert {"kind": "field", "field": "status", "old": "pending", "new": "done"} in since["changes"]


async def test_blame_tells_who_wrote_which_characters(api: Api) -> None:
    await begun(api)
    await written_by_ben(api, " on Monday")
    page = await told(api, f"{ONE}/blame?field=title")
    assert [(run["text"], run["actor"], run["seq"]) for run in page["runs"]] == [
        ("Slow search", "ana", 1),
        (" on Monday", "ben", 2),
    ]
    assert (page["seq"], page["exact_after"]) == (2, 0)
    assert (await told(api, f"{ONE}/blame"))["runs"] == []


async def test_everything_is_taken_back_to_a_moment(api: Api) -> None:
    seq = await begun(api)
    await write(api, "PATCH", ONE, {"status": "done", "title": "Wrong", "add_labels": ["x"]})
    status, reverted, _ = await api("POST", f"{ONE}/revert", {"to": str(seq)})
    assert (status, reverted["seq"], reverted["left_alone"]) == (200, 3, [])
    now = await api.content(ID)
    assert (now.status, now.title, now.labels) == ("open", "Slow search", ())
    assert {change["kind"] for change in reverted["changes"]} == {"field", "text", "labels"}
    head = await api.head()
    assert (await api("POST", f"{ONE}/revert", {"to": str(seq)}))[1]["changes"] == []
    assert await api.head() == head, "nothing is written when nothing is to be taken back"


async def test_one_actors_work_is_taken_back_while_another_types(api: Api) -> None:
    seq = await begun(api)
    await write(api, "PATCH", ONE, {"title": "Very slow search", "status": "done"})
    ben = await written_by_ben(api, "!")
    await write(api, "PATCH", ONE, {"priority": "high"}, device="phone")
    status, reverted, _ = await api("POST", f"{ONE}/revert", {"since": str(seq), "actor": "ana", "device": "desk"})
    assert (status, reverted["left_alone"]) == (200, [])
    assert ben.shows() == "Slow search!"
    now = await api.content(ID)
    assert (now.title, now.status, now.priority) == ("Slow search!", "open", "high")


async def test_what_another_changed_since_is_left_alone_and_named(api: Api) -> None:
    seq = await begun(api)
    await write(api, "PATCH", ONE, {"status": "done"}, device="phone")
    later = await write(api, "PATCH", ONE, {"status": "closed"}, device="desk")
    _, reverted, _ = await api("POST", f"{ONE}/revert", {"since": str(seq), "device": "phone"})
    assert reverted["left_alone"] == [{"part": "status", "actor": "ana", "seq": later}]
    assert (await api.content(ID)).status == "closed"


async def test_that_an_issue_began_is_not_taken_back(api: Api) -> None:
    await begun(api)
    await write(api, "PATCH", ONE, {"status": "done"}, device="phone")
    status, problem, _ = await api("POST", f"{ONE}/revert", {"to": "2020-01-01"})
    assert (status, problem["errors"][0]["field"]) == (422, "to")
    assert (await api("POST", f"{ONE}/revert", {"since": "0", "actor": "ana"}))[0] == 200
    now = await api.content(ID)
    assert (now.title, now.status) == ("Slow search", "open")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "slug"),
    [
        ("GET", f"/issues/{OTHER}/history", None, 404, "unknown-issue"),
        ("GET", f"/issues/{OTHER}/blame", None, 404, "unknown-issue"),
        ("GET", f"/issues/{OTHER}/diff?from=1&to=2", None, 404, "unknown-issue"),
        ("POST", f"/issues/{OTHER}/revert", {"to": "1"}, 404, "unknown-issue"),
        ("GET", f"{ONE}/history?cursor=abc", None, 422, "invalid"),
        ("GET", f"{ONE}/diff?from=yesterday&to=1", None, 422, "invalid"),
        ("GET", f"{ONE}?at=99999999999999999999", None, 422, "invalid"),
        ("POST", f"{ONE}/revert", {}, 422, "invalid"),
        ("POST", f"{ONE}/revert", {"to": "1", "actor": "ana"}, 422, "invalid"),
        ("POST", f"{ONE}/revert", {"since": "1"}, 422, "invalid"),
        ("GET", "/activity?since=soon", None, 422, "invalid"),
    ],
)
async def test_what_cannot_be_told_says_why(
    api: Api, method: str, path: str, body: object, status: int, slug: str
) -> None:
    await begun(api)
    got, problem, _ = await api(method, path, body)
    assert (got, problem["type"]) == (status, TYPE_PREFIX + slug), problem


async def test_a_viewer_reads_the_history_and_reverts_nothing(api: Api) -> None:
    await begun(api)
    assert (await api.get(f"{ONE}/history", token="viewer"))[0] == 200
    assert (await api("POST", f"{ONE}/revert", {"to": "1"}, token="viewer"))[0] == 403


async def test_below_the_floor_the_past_is_gone(api: Api) -> None:
    await begun(api)
    key = IssueKey(api.workspace, ID)
    compactor = Compactor(api.home.store, InlineEngine(), SMALL, now=Calendar())
    for status in ("s2", "s3", "s4"):
        await write(api, "PATCH", ONE, {"status": status})
        await api.project()
        await compactor.compact(key)
    await api.home.store.trim(api.workspace, ID, 3)
    for path in (f"{ONE}?at=2", f"{ONE}/diff?from=2&to=4"):
        assert (await told(api, path, 410))["type"] == TYPE_PREFIX + "history-trimmed"
    for body in ({"to": "2"}, {"since": "2", "actor": "ana"}):
        got, problem, _ = await api("POST", f"{ONE}/revert", body)
        assert (got, problem["type"]) == (410, TYPE_PREFIX + "history-trimmed")
    page = await told(api, f"{ONE}/history")
    assert ([entry["seq"] for entry in page["entries"]], page["floor"]) == ([4], 3)
    blame = await told(api, f"{ONE}/blame?field=title")
    assert [(run["actor"], run["seq"]) for run in blame["runs"]] == [("ana", None)]
    assert blame["exact_after"] == 3


async def test_an_issue_no_engine_reads_says_so(api: Api) -> None:
    await begun(api)
    key = IssueKey(api.workspace, ID)
    api.home.engine.failing[key] = EngineFailed(key, "crashed")
    for path in (f"{ONE}/history", f"{ONE}/blame", f"{ONE}?at=1"):
        assert (await told(api, path, 422))["type"] == TYPE_PREFIX + "unreadable"
    (entry,) = (await told(api, "/activity"))["entries"]
    assert (entry["seq"], entry["is_readable"], entry["changes"]) == (1, False, [])
    api.home.engine.failing[key] = EngineUnavailable("busy")
    assert (await told(api, f"{ONE}/history", 503))["type"] == TYPE_PREFIX + "unavailable"


async def test_activity_tells_of_all_issues_and_is_filtered(api: Api) -> None:
    await begun(api)
    await begun(api, OTHER)
    await write(api, "PATCH", ONE, {"status": "done"}, device="phone")
    await written_by_ben(api, "!")
    entries = (await told(api, "/activity"))["entries"]
    assert [(entry["seq"], entry["issue"], entry["actor"]) for entry in entries] == [
        (4, str(ID), "ben"),
        (3, str(ID), "ana"),
        (2, str(OTHER), "ana"),
        (1, str(ID), "ana"),
    ]
    for query, seqs in [
        ("actor=ben", [4]),
        (f"issue={OTHER}", [2]),
        ("kind=text", [4, 2, 1]),
        ("kind=created", [2, 1]),
        ("since=2", [4, 3]),
        ("since=2030-01-01", []),
    ]:
        assert [entry["seq"] for entry in (await told(api, f"/activity?{query}"))["entries"]] == seqs, query


async def test_activity_is_read_by_pages(api: Api) -> None:
    for number in range(1, 8):
        await write(api, "POST", "/issues", {"id": str(UUID(int=number)), "title": "t"})
    seqs: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await told(api, f"/activity?limit=3{cursor and '&cursor=' + cursor}")
        assert len(page["entries"]) <= 3
        seqs += [entry["seq"] for entry in page["entries"]]
        cursor = page["cursor"]
    assert seqs == [7, 6, 5, 4, 3, 2, 1]


async def test_of_a_purged_issue_only_that_is_told(api: Api) -> None:
    await begun(api)
    await write(api, "DELETE", ONE)
    await api.project()
    await api.home.store.purge(api.workspace, ID, by="system", at=VirtualClock().now())
    for path in (f"{ONE}/history", f"{ONE}/blame", f"{ONE}/diff?from=1&to=2", f"{ONE}?at=1"):
        assert (await told(api, path, 410))["type"] == TYPE_PREFIX + "purged"
    (entry,) = (await told(api, "/activity"))["entries"]
    assert (entry["kinds"], entry["is_readable"]) == (["purged"], False)
