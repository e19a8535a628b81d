"""Edits of somebody who saw an issue as it was and did not hear what others have done since: what of an edit is theirs,
and where it meets what others did.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from crdt.edits import AddComment, Begin, Delete, Edit, EditComment
from crdt.issue import IssueContent
from crdt.jobs_history import Since, Touch
from crdt.shape import FIELD_KEYS, Changes, FieldValue, iso
from crdt.touches import Path

FIELDS: Final = ("status", "priority", "user_id", "session_id", "claude_task_id", "completed_at", "deleted_at")
DELETED: Final = "deleted_at"
COMMENTS: Final = "comments"
_TEXTS: Final = ("title", "description")
_MAX_TOLD_CHARS: Final = 4_096  # of a text, in what is told of an edit

ClashKind: TypeAlias = Literal["update_update", "update_delete", "create_create"]
View = dict[str, Any]  # column → what somebody saw there; labels as a set, comments as texts by id


@dataclass(frozen=True, slots=True)
class Clash:
    """What an edit says meets what somebody else said. `field`: None for the whole issue · `is_ours`: the edit stands,
    not `theirs` · values are as JSON has them · actor, device and time are of `theirs`, as far as they are known."""

    kind: ClashKind
    field: str | None
    is_ours: bool
    ours: object
    theirs: object
    actor: str | None = None
    device: str | None = None
    seq: int = 0
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is left of an edit, and what it meets."""

    edit: Edit
    clashes: Sequence[Clash] = ()


def view_of(content: IssueContent) -> View:
    """What somebody saw who saw this."""
    columns = {name: getattr(content, name) for name in (*_TEXTS, *FIELDS)}
    comments = {comment.id: comment.body for comment in content.comments}
    return columns | {"labels": frozenset(content.labels), COMMENTS: comments}


def seen_after(view: View, edit: Edit, at: datetime) -> View:
    """What its author saw once they had made an edit."""
    after = dict(view)
    if isinstance(edit, Delete):
        after[DELETED] = view[DELETED] or at
    if isinstance(edit, AddComment | EditComment):
        after[COMMENTS] = view[COMMENTS] | {edit.comment_id: edit.body}
    if isinstance(edit, Begin | Changes):
        after |= {name: getattr(edit, name) for name in _TEXTS if getattr(edit, name) is not None}
        after |= edit.fields or {}
        if edit.labels is not None:
            after["labels"] = frozenset(edit.labels)
    if isinstance(edit, Changes):
        after["labels"] = (after["labels"] - set(edit.remove_labels)) | set(edit.add_labels)
    return after


def plan(
    edit: Edit,
    at: datetime,
    view: View,
    now: IssueContent,
    touches: Collection[Touch],
    clocks: Mapping[str, datetime],
    settled: Collection[str],
) -> Plan:
    """What an edit of what was seen in `view` is to an issue that reads `now`. `touches`: what others did since ·
    `clocks`: field → the clock of what stands there · `settled`: fields their author has written since."""
    theirs = {touch.path: touch for touch in touches}
    if isinstance(edit, Delete):
        return Plan(edit, _deleting(view, now, touches))
    if isinstance(edit, EditComment):
        return Plan(replace(edit, seen_body=view[COMMENTS].get(edit.comment_id)))
    if not isinstance(edit, Changes):
        return Plan(edit)
    left = _changed(edit, view)
    fields: dict[str, FieldValue] = {}
    clashes: list[Clash] = []
    for name, value in (left.fields or {}).items():
        touch = theirs.get(("fields", FIELD_KEYS[name]))
        standing = getattr(now, name)
        if touch is None or name in settled or _is_same(name, value, standing):
            fields[name] = value
            continue
        is_ours = name not in clocks or at > clocks[name]
        if is_ours:
            fields[name] = value
        clashes.append(
            _clash("update_update", name, touch, is_ours=is_ours, ours=in_json(value), theirs=in_json(standing))
        )
    deletion = theirs.get(("fields", FIELD_KEYS[DELETED]))
    if now.deleted_at and not view[DELETED] and deletion and DELETED not in settled and _says_something(left):
        told = {name: in_json(value) for name, value in (left.fields or {}).items()} | _told_texts(left)
        gone = in_json(now.deleted_at)
        clashes.append(_clash("update_delete", DELETED, deletion, is_ours=False, ours=told, theirs=gone))
    return Plan(replace(left, fields=fields), clashes)


def others(since: Since, actor: str, device: str) -> list[Touch]:
    """What everybody else did, the newest of each path last."""
    return [touch for touch in since.touches if (touch.actor_id, touch.device_id) != (actor, device)]


def unanswered(since: Since, actor: str, device: str) -> list[Touch]:
    """Those of them where the author has not written themselves since."""
    mine: dict[Path, int] = {}
    for touch in since.touches:
        if (touch.actor_id, touch.device_id) == (actor, device):
            mine[touch.path] = touch.seq
    return [touch for touch in others(since, actor, device) if touch.seq > mine.get(touch.path, 0)]


def _changed(edit: Changes, view: View) -> Changes:
    """What the edit changes in what was seen: a row that is sent whole says mostly what its author read."""
    texts = {name: getattr(edit, name) for name in _TEXTS}
    changed = {name: text if text != view[name] else None for name, text in texts.items()}
    wanted = view["labels"] if edit.labels is None else set(edit.labels)
    return Changes(
        title=changed["title"],
        description=changed["description"],
        fields={name: value for name, value in (edit.fields or {}).items() if not _is_same(name, value, view[name])},
        seen_title=view["title"],
        seen_description=view["description"],
        add_labels=tuple(sorted((wanted - view["labels"]) | set(edit.add_labels))),
        remove_labels=tuple(sorted((view["labels"] - wanted) | set(edit.remove_labels))),
    )


def _deleting(view: View, now: IssueContent, touches: Collection[Touch]) -> list[Clash]:
    """A deletion stands above what others did without knowing of it."""
    if now.deleted_at or view[DELETED]:
        return []
    changed = {name: value for name, value in view_of(now).items() if name != COMMENTS and value != view[name]}
    newest = max(touches, key=lambda touch: touch.seq, default=None)
    if newest is None or not changed:
        return []
    told = {name: in_json(value) for name, value in changed.items()}
    return [_clash("update_delete", DELETED, newest, is_ours=True, ours=None, theirs=told)]


def _clash(kind: ClashKind, field: str, by: Touch, *, is_ours: bool, ours: object, theirs: object) -> Clash:
    return Clash(kind, field, is_ours, ours, theirs, by.actor_id, by.device_id, by.seq, by.created_at)


def _is_same(name: str, one: object, other: object) -> bool:
    if name == DELETED:  # two who delete an issue agree
        return bool(one) == bool(other)
    return one == other or (not one and not other)


def _says_something(changes: Changes) -> bool:
    texts = changes.title is not None or changes.description is not None
    return texts or bool(changes.fields or changes.add_labels or changes.remove_labels)


def in_json(value: object) -> object:
    """A value as the ledger has it."""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, frozenset):
        return sorted(value)
    return value[:_MAX_TOLD_CHARS] if isinstance(value, str) else value


def _told_texts(changes: Changes) -> dict[str, object]:
    told = {"title": changes.title, "description": changes.description}
    labels = {"add_labels": list(changes.add_labels), "remove_labels": list(changes.remove_labels)}
    return {name: in_json(value) for name, value in (told | labels).items() if value}
