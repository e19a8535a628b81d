"""A commenter writes comments of their own and nothing else, whatever bytes they send."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pycrdt import Array, Map, Text, XmlFragment

from crdt.errors import FORBIDDEN
from crdt.gate import check
from crdt.update import merge
from tests.crdt.writers import LIMITS, Issue, Writer


class Scene:
    """An issue by the member ana, with a comment of hers (`hers`) and one of the commenter ben (`his`)."""

    def __init__(self) -> None:
        self.issue = Issue()
        self.ana = self.issue.writer("ana", 11)
        self.ben = self.issue.writer("ben", 22, comments_only=True)
        assert self.ana.writes(self._begin) == ""
        assert self.ana.says("hers", "by ana") == ""
        assert self.ben.says("his", "by ben 😀") == ""

    def _begin(self) -> None:
        self.ana.text("title").insert(0, "title")
        self.ana.map("fields")["status"] = "open"
        self.ana.map("labels")["bug"] = True


@pytest.fixture
def scene() -> Scene:
    return Scene()


def body(writer: Writer, key: str) -> Text:
    found = writer.comment(key)["body"]
    assert isinstance(found, Text)
    return found


Act = Callable[[Writer], object]

OWN: dict[str, Act] = {
    "text": lambda ben: body(ben, "his").insert(0, "well, "),
    "formatting": lambda ben: body(ben, "his").format(0, 2, {"bold": True}),
    "an embed": lambda ben: body(ben, "his").insert_embed(0, {"image": "x"}),
    "deleting text": lambda ben: body(ben, "his").clear(),
    "editedAt": lambda ben: ben.comment("his").update({"editedAt": "2026-01-02"}),
    "deletedAt": lambda ben: ben.comment("his").update({"deletedAt": "2026-01-02"}),
    "a key nobody knows": lambda ben: ben.comment("his").update({"mood": Map({"is": Array(["fine"])})}),
    "another body": lambda ben: ben.comment("his").update({"body": Text("anew")}),
    "taking it away": lambda ben: ben.map("comments").pop("his"),
    "a second one": lambda ben: ben.map("comments").update({"more": Map({"author": "ben", "body": Text("more")})}),
    "one that names nobody": lambda ben: ben.map("comments").update({"more": Map({"author": None})}),
}

NOT_THEIRS: dict[str, Act] = {
    "the title": lambda ben: ben.text("title").insert(0, "x"),
    "deleting in the title": lambda ben: ben.text("title").clear(),
    "a field": lambda ben: ben.map("fields").update({"status": "done"}),
    "a new field": lambda ben: ben.map("fields").update({"mine": 1}),
    "deleting a field": lambda ben: ben.map("fields").pop("status"),
    "a label": lambda ben: ben.map("labels").update({"urgent": True}),
    "deleting a label": lambda ben: ben.map("labels").pop("bug"),
    "a stamp": lambda ben: ben.map("stamps").update({"status": {"by": "ben"}}),
    "a root of their own": lambda ben: ben.text("notes").insert(0, "x"),
    "an XML root": lambda ben: ben.doc.get("page", type=XmlFragment).children.append("x"),
    "the comments as a list": lambda ben: ben.doc.get("comments", type=Array).append("x"),
    "a comment that is no map": lambda ben: ben.map("comments").update({"odd": "text"}),
    "a comment that is a text": lambda ben: ben.map("comments").update({"odd": Text("text")}),
    "text in another's": lambda ben: body(ben, "hers").insert(0, "x"),
    "deleting another's text": lambda ben: body(ben, "hers").clear(),
    "formatting another's": lambda ben: body(ben, "hers").format(0, 2, {"bold": True}),
    "deletedAt of another's": lambda ben: ben.comment("hers").update({"deletedAt": "2026-01-02"}),
    "a new key of another's": lambda ben: ben.comment("hers").update({"mood": "bad"}),
    "another body for another's": lambda ben: ben.comment("hers").update({"body": Text("anew")}),
    "taking another's away": lambda ben: ben.map("comments").pop("hers"),
    "overwriting another's": lambda ben: ben.map("comments").update({"hers": Map({"author": "ben"})}),
    "signing another's": lambda ben: ben.comment("hers").update({"author": "ben"}),
    "unsigning another's": lambda ben: ben.comment("hers").pop("author"),
    "giving one's own away": lambda ben: ben.comment("his").update({"author": "ana"}),
    "a comment in another's name": lambda ben: ben.map("comments").update({"odd": Map({"author": "ana"})}),
    "own and other together": lambda ben: [act(ben) for act in (OWN["text"], NOT_THEIRS["a field"])],
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("reloaded", [False, True])
def test_a_commenter_may(scene: Scene, name: str, reloaded: bool) -> None:
    if reloaded:
        scene.issue.reload()
    assert scene.ben.writes(lambda: OWN[name](scene.ben)) == ""


@pytest.mark.parametrize("name", NOT_THEIRS)
@pytest.mark.parametrize("reloaded", [False, True])
def test_a_commenter_may_not(scene: Scene, name: str, reloaded: bool) -> None:
    if reloaded:
        scene.issue.reload()
    assert scene.ben.writes(lambda: NOT_THEIRS[name](scene.ben)) == FORBIDDEN
    assert scene.ana.says("later", "goes on") == ""


@pytest.mark.parametrize("name", [*OWN, *NOT_THEIRS])
def test_a_member_may_all_of_it_but_sign_for_others(scene: Scene, name: str) -> None:
    """Whatever is forbidden above is so because of the role, and not because the gate takes nothing of the kind."""
    cai = scene.issue.writer("cai", 33)
    signs = {"signing another's", "giving one's own away", "a comment in another's name"}
    names_ben = {"a second one", "a stamp", "overwriting another's"}
    act = (OWN | NOT_THEIRS)[name]
    assert cai.writes(lambda: act(cai)) == (FORBIDDEN if name in signs | names_ben else "")


def test_what_is_known_may_be_repeated_by_anybody(scene: Scene) -> None:
    assert scene.issue.take(scene.ben.doc.get_update(), scene.ben) == ""
    assert scene.issue.take(merge(scene.issue.log), scene.ben) == ""


def test_values_that_lost_may_be_deleted_again(scene: Scene) -> None:
    """Every replica deletes the loser of two concurrent values for itself, and says so when asked for all it has."""
    cai = scene.issue.writer("cai", 33)
    first = cai.made(lambda: cai.map("fields").update({"status": "one"}))
    second = scene.ana.made(lambda: scene.ana.map("fields").update({"status": "two"}))
    assert scene.issue.take(first, cai) == ""
    assert scene.issue.take(second, scene.ana) == ""
    assert scene.issue.take(scene.ben.doc.get_update(), scene.ben) == ""


def test_a_comment_made_and_deleted_offline_arrives_as_garbage(scene: Scene) -> None:
    before = scene.ben.doc.get_state()
    scene.ben.map("comments")["gone"] = Map({"author": "ben", "body": Text("never mind")})
    scene.ben.map("comments").pop("gone")
    assert scene.issue.take(scene.ben.doc.get_update(before), scene.ben) == ""


def test_a_comment_in_several_steps(scene: Scene) -> None:
    ben = scene.ben
    assert ben.writes(lambda: ben.map("comments").update({"slow": Map()})) == ""
    assert ben.writes(lambda: ben.comment("slow").update({"author": "ben"})) == ""
    assert ben.writes(lambda: ben.comment("slow").update({"body": Text()})) == ""
    assert ben.writes(lambda: body(ben, "slow").insert(0, "here")) == ""


def test_a_comment_that_names_nobody_is_its_makers(scene: Scene) -> None:
    assert scene.ana.says("nameless", "by ana", author=None) == ""
    assert scene.ben.writes(lambda: scene.ben.comment("nameless").update({"author": "ben"})) == FORBIDDEN


def test_an_imported_comment_is_its_authors(scene: Scene) -> None:
    admin = scene.issue.writer("root", 44, may_attribute=True)
    assert admin.says("old", "written elsewhere", author="ben") == ""
    assert scene.ben.writes(lambda: body(scene.ben, "old").insert(0, "still mine: ")) == ""


def test_typing_takes_the_long_way_for_a_commenter(scene: Scene) -> None:
    """Strokes behind a known character are judged by where they land, as everything is."""
    cai = scene.issue.writer("cai", 55)
    assert cai.writes(lambda: cai.text("title").insert(0, "a")) == ""
    cai.mandate = scene.ben.mandate  # the role is taken away; the client id is known, and its author goes on typing
    stroke = cai.made(lambda: cai.text("title").insert(1, "b"))
    assert scene.issue.take(stroke, cai) == FORBIDDEN
    verdict = check(scene.issue.index, stroke, "cai", LIMITS)
    assert verdict.update == stroke
