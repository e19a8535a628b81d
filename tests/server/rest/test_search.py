"""Finding issues by a text, `q`."""

from __future__ import annotations

import math
from urllib.parse import quote
from uuid import UUID

import pytest

from storage.tables.issue_queries import FEW, MOST
from tests.server.rest.conftest import ISSUES, Api


async def written(api: Api, number: int, title: str, **fields: object) -> str:
    issue = str(UUID(int=number))
    assert (await api("POST", "/issues", {"id": issue, "title": title, **fields}))[0] == 201
    return issue


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("search", {"Slow search", "Other"}),
        ("SEARCH slow", {"Slow search"}),
        ("sear", {"Slow search", "Other"}),
        ("s", set()),
        ("room.py", {"Crash in server/room.py"}),
        ("room", {"Crash in server/room.py"}),
        ("größe", {"Other"}),
        ("nothing", set()),
        ("'); DROP TABLE issues; --", set()),
        ("!!!", set()),
        ("a & | ! <-> :*", {"Other"}),
    ],
)
async def test_words_of_title_and_description_are_found_by_their_beginnings(api: Api, q: str, found: set[str]) -> None:
    await written(api, 1, "Slow search")
    await written(api, 2, "Other", description="die Größe of a search")
    await written(api, 3, "Crash in server/room.py")
    await api.project()
    assert set(await api.titles(f"q={quote(q)}")) == found


async def test_what_is_found_follows_edits_and_can_be_filtered(api: Api) -> None:
    issue = await written(api, 1, "Slow search", status="open")
    await written(api, 2, "Slow start", status="done")
    await api.project()
    assert await api.titles("q=slow&status=open") == ["Slow search"]
    await api("PATCH", f"/issues/{issue}", {"title": "Fast search"})
    await api.project()
    assert await api.titles("q=slow") == ["Slow start"]
    assert await api.titles("q=fast&label=none") == []


async def test_what_a_label_is_filtered_by_besides_follows_edits(api: Api) -> None:
    issue = await written(api, 1, "Slow search", status="open", user_id="ana", labels=["bug"])
    await api.project()
    assert await api.titles("label=bug&status=open&user_id=ana") == ["Slow search"]
    await api("PATCH", f"/issues/{issue}", {"status": "done", "user_id": "ben"})
    await api.project()
    assert await api.titles("label=bug&status=open") == []
    assert await api.titles("label=bug&user_id=ana") == []
    assert await api.titles("label=bug&status=done&user_id=ben") == ["Slow search"]


@pytest.mark.parametrize(
    ("estimated", "few", "most"),
    [(4.0, FEW, MOST), (4.0, 1, MOST), (1.0, 0, 1), (math.inf, FEW, MOST)],
    ids=["few", "some", "more than estimated", "many"],
)
async def test_rare_and_broad_texts_find_the_same_pages(
    api: Api, estimated: float, few: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def estimate(*text: object) -> float:
        return estimated

    monkeypatch.setattr("storage.issue_reader.IssueReader._estimated", estimate)
    for bound, number in (("FEW", few), ("MOST", most)):
        monkeypatch.setattr(f"storage.tables.issue_queries.{bound}", number)
    monkeypatch.setattr("storage.issue_reader.MOST", most)
    for number in range(1, 8):
        await api.add(number, number, description="every word" if number % 2 else "")
    await api.read_words()
    assert await api.titles("q=word&limit=2") == ["t7", "t5", "t3", "t1"]
    assert await api.titles("q=word&limit=3&sort=id") == ["t1", "t3", "t5", "t7"]


async def test_a_search_waits_for_the_words_of_what_was_written(api: Api) -> None:
    await api.add(1, description="every word")
    await api.connection.execute("UPDATE cursors SET seq = 1 WHERE workspace_id = $1", api.workspace)
    assert (await api.get(f"{ISSUES}?min_seq=1"))[0] == 200
    status, problem, _ = await api.get(f"{ISSUES}?min_seq=1&q=word")
    assert (status, problem["type"]) == (503, "urn:syncline:problem:not-projected-yet")
    await api.read_words()
    assert len((await api.get(f"{ISSUES}?min_seq=1&q=word"))[1]["issues"]) == 1
