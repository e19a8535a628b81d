"""`If-Match` and `If-None-Match`: what is written at a version, and what is not sent again."""

from __future__ import annotations

from uuid import UUID

import pytest

from server.doors.rest.tags import Tags, read_tags, tag_of
from tests.server.rest.conftest import Api

ID = UUID(int=5)
COMMENT = f"/issues/{ID}/comments/c"


@pytest.fixture
async def begun(api: Api) -> Api:
    """An issue at version 2, with a comment."""
    assert (await api("POST", "/issues", {"id": str(ID), "title": "Slow search"}))[0] == 201
    assert (await api("POST", f"/issues/{ID}/comments", {"id": "c", "body": "Seen"}))[0] == 201
    await api.project()
    return api


WRITES = [
    ("PATCH", f"/issues/{ID}", {"status": "done"}),
    ("DELETE", f"/issues/{ID}", None),
    ("POST", f"/issues/{ID}/restore", None),
    ("POST", f"/issues/{ID}/revert", {"to": "1"}),
    ("POST", f"/issues/{ID}/comments", {"body": "Me too"}),
    ("PATCH", COMMENT, {"body": "Seen twice"}),
    ("DELETE", COMMENT, None),
    ("PUT", f"/issues/{ID}/labels/bug", None),
    ("DELETE", f"/issues/{ID}/labels/bug", None),
]


async def test_every_write_of_an_issue_is_made_at_its_version_only(begun: Api) -> None:
    version = 2
    for method, path, body in WRITES:
        head = await begun.head()
        status, problem, _ = await begun(method, path, body, if_match=f'"{version - 1}"')
        assert (status, problem["type"]) == (412, "urn:syncline:problem:precondition-failed")
        assert await begun.head() == head
        status, _, headers = await begun(method, path, body, if_match=f'"{version}"')
        assert status in (200, 201)
        version += await begun.head() - head
        assert headers.get("etag") in (f'"{version}"', None), path


async def test_the_tag_that_was_read_is_the_one_to_write_at_and_the_answer_names_the_next(begun: Api) -> None:
    _, _, read = await begun.get(f"/issues/{ID}?fields=status")
    status, told, written = await begun("PATCH", f"/issues/{ID}", {"status": "open"}, if_match=read["etag"])
    assert (status, written["etag"]) == (200, '"3"')
    await begun.project()
    assert (await begun.get(f"/issues/{ID}?min_seq={told['seq']}"))[2]["etag"] == written["etag"]
    assert (await begun("PATCH", f"/issues/{ID}", {"status": "done"}, if_match=written["etag"]))[0] == 200
    assert (await begun("PATCH", f"/issues/{ID}", {"status": "open"}, if_match=written["etag"]))[0] == 412


async def test_without_a_condition_no_version_is_told(begun: Api) -> None:
    assert "etag" not in (await begun("PATCH", f"/issues/{ID}", {"status": "open"}))[2]


async def test_a_condition_is_read_as_the_standard_has_it(begun: Api) -> None:
    for sent, status in [
        ('W/"2"', 412),  # strong comparison: a weak tag is none that may be written at
        ('"22"', 412),
        ('""', 412),
        ("2", 422),
        ('"2', 422),
        ('"2" "3"', 422),
        ('"2", *', 422),
        ("", 422),
        (", ".join(['"2"'] * 21), 422),
        ('"1","2.c0ffee00"', 200),  # the first that writes
    ]:
        assert (await begun("PATCH", f"/issues/{ID}", {"status": "done"}, if_match=sent))[0] == status, sent


async def test_what_is_not_there_is_unknown_whatever_the_condition(begun: Api) -> None:
    for condition in ("*", '"0"', '"1"'):
        assert (await begun("PATCH", f"/issues/{UUID(int=9)}", {"status": "done"}, if_match=condition))[0] == 404


async def test_where_a_condition_is_not_looked_at_nothing_is_written(begun: Api) -> None:
    head = await begun.head()
    for header in ("if_match", "if_none_match"):
        status, problem, _ = await begun("POST", "/issues", {"title": "new"}, **{header: "*"})
        assert (status, problem["errors"][0]["message"]) == (422, "is not looked at here")
    assert await begun.head() == head


async def test_what_the_caller_has_is_not_sent_again_and_other_fields_are(begun: Api) -> None:
    _, _, whole = await begun.get(f"/issues/{ID}")
    _, _, part = await begun.get(f"/issues/{ID}?fields=title,status")
    assert whole["etag"] == '"2"' != part["etag"]
    for path, tag, status in [
        ("", '"2"', 304),
        ("", f'"1", W/{whole["etag"]}', 304),
        ("", '"2-gzip"', 304),
        ("", part["etag"], 200),
        ("?fields=title,status", part["etag"], 304),
        ("?fields=title", part["etag"], 200),
        ("?fields=title", '"2"', 200),
        ("", "*", 304),
        ("", "nonsense", 200),
    ]:
        got, _, headers = await begun.get(f"/issues/{ID}{path}", if_none_match=tag)
        assert got == status, (path, tag)
        if status == 304:
            assert headers["etag"] == (whole if not path else part)["etag"]


def test_tags_of_versions_that_begin_alike_are_different() -> None:
    assert not read_tags(tag_of(12)).hold_of(1)
    assert not Tags(strong=("1",)).hold_of(12)
    assert read_tags(tag_of(12, "title")).hold_of(12)
    assert read_tags("*").hold_of(1)
    assert read_tags('"1", "2"').hold_of(2)
    assert read_tags('"2-gzip"').hold_of(2)
