"""The issues of a workspace as a program uses them: read from this device, written to this device, sent from here."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Final, Literal, TypeAlias
from uuid import UUID, uuid4

from crdt import shape
from crdt.shape import Author, Changes, FieldValue, Shape
from syncline.disk import Disk
from syncline.issue import Issue
from syncline.local_store import Beginning, LocalStore, Write
from syncline.pulse import Pulse
from syncline.receipts import Receipt

_PAGE: Final = 500


class _Unchanged(Enum):
    """Tells "leave it" from None, which empties a field."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = _Unchanged.UNCHANGED
_Optional: TypeAlias = str | Literal[_Unchanged.UNCHANGED] | None
_OptionalDate: TypeAlias = datetime | Literal[_Unchanged.UNCHANGED] | None


class Issues:
    """All issues of a client's workspace. Reads need no connection; a write returns when it is durable here.

    Writes raise ValueError for values that cannot be written, IssueNotFound, and StoreFailed.
    """

    def __init__(
        self,
        disk: Disk,
        moved: Pulse,
        create: Callable[[UUID, Beginning, Write], Awaitable[Receipt]],
        write: Callable[[UUID, Write], Awaitable[Receipt]],
    ) -> None:
        self._disk = disk
        self._moved = moved
        self._create = create
        self._write = write

    async def get(self, issue_id: UUID) -> Issue:
        """One issue, as this device knows it. Raises IssueNotFound."""
        return await self._disk.call(LocalStore.read, issue_id)

    async def list(
        self,
        *,
        status: str | None = None,
        priority: str | None = None,
        user_id: str | None = None,
        label: str | None = None,
        text: str | None = None,
        include_deleted: bool = False,
    ) -> list[Issue]:
        """Issues that fit everything asked for, oldest first. `user_id`: "" for nobody's · `text`: in title or
        description, whatever its case.
        """
        sought = None if text is None else text.casefold()
        found = [
            issue
            for issue in await self._disk.call(LocalStore.read_all)
            if (include_deleted or not issue.is_deleted)
            and status in (None, issue.status)
            and priority in (None, issue.priority)
            and user_id in (None, issue.user_id or "")
            and (label is None or label in issue.labels)
            and (sought is None or sought in issue.title.casefold() or sought in issue.description.casefold())
        ]
        return sorted(found, key=_age)

    async def find(self, beginning: str) -> builtins.list[Issue]:
        """Issues whose id begins so: nobody types 36 characters."""
        sought = beginning.lower()
        return [issue for issue in await self._disk.call(LocalStore.read_all) if str(issue.id).startswith(sought)]

    async def create(
        self,
        *,
        title: str,
        description: str = "",
        id: UUID | None = None,
        status: str | None = None,
        priority: str | None = None,
        user_id: str | None = None,
        session_id: str | None = None,
        claude_task_id: str | None = None,
        labels: Iterable[str] = (),
        created_at: datetime | None = None,
    ) -> Receipt:
        """A new issue. With an `id` that exists and began with the same text and labels, nothing happens: an import may
        be repeated, here or on another device. Raises IssueExists where it began with something else.
        """
        beginning = (title, description, tuple(sorted(set(labels))))
        Changes(title=title, description=description, add_labels=beginning[2]).check()
        given = {
            "status": status,
            "priority": priority,
            "user_id": user_id,
            "session_id": session_id,
            "claude_task_id": claude_task_id,
        }
        fields: dict[str, FieldValue] = {name: value for name, value in given.items() if value is not None}
        Changes(fields=fields).check()
        return await self._create(id or uuid4(), beginning, partial(_begin, fields, created_at))

    async def update(
        self,
        issue_id: UUID,
        *,
        title: str | None = None,
        description: str | None = None,
        status: str | None = None,
        priority: str | None = None,
        user_id: _Optional = UNCHANGED,
        session_id: _Optional = UNCHANGED,
        claude_task_id: _Optional = UNCHANGED,
        completed_at: _OptionalDate = UNCHANGED,
        labels: Iterable[str] | None = None,
        add_labels: Iterable[str] = (),
        remove_labels: Iterable[str] = (),
        seen: Issue | None = None,
    ) -> Receipt:
        """Change what is given. Texts are changed by small edits, so that what others type beside them survives.

        `seen`: the issue as it was when the new texts were written over its own; what came since then stays. Without it
        a text reads exactly as given afterwards.
        """
        fields: dict[str, FieldValue] = {
            name: value for name, value in (("status", status), ("priority", priority)) if value is not None
        }
        clearable = {
            "user_id": user_id,
            "session_id": session_id,
            "claude_task_id": claude_task_id,
            "completed_at": completed_at,
        }
        fields |= {name: value for name, value in clearable.items() if not isinstance(value, _Unchanged)}
        return await self._change(
            issue_id,
            Changes(
                title,
                description,
                fields,
                labels=None if labels is None else frozenset(labels),
                add_labels=tuple(add_labels),
                remove_labels=tuple(remove_labels),
                seen_title=None if seen is None else seen.title,
                seen_description=None if seen is None else seen.description,
            ),
        )

    async def delete(self, issue_id: UUID) -> Receipt:
        """Mark as deleted; it can be restored."""
        return await self._write(issue_id, _delete)

    async def restore(self, issue_id: UUID) -> Receipt:
        """Undo `delete`."""
        return await self._change(issue_id, Changes(fields={"deleted_at": None}))

    async def comment(self, issue_id: UUID, body: str, *, comment_id: str | None = None) -> Receipt:
        """Add a comment, Markdown. `comment_id`: a UUID of our own if not given."""
        shape.check_comment(body)
        chosen = comment_id or str(uuid4())
        return await self._write(issue_id, lambda roots, author: shape.add_comment(roots, chosen, body, author))

    async def edit_comment(self, issue_id: UUID, comment_id: str, body: str) -> Receipt:
        """Make a comment read `body`. Raises CommentNotFound."""
        shape.check_comment(body)
        return await self._write(issue_id, lambda roots, author: shape.edit_comment(roots, comment_id, body, author))

    async def delete_comment(self, issue_id: UUID, comment_id: str) -> Receipt:
        """Mark a comment as deleted. Raises CommentNotFound."""
        return await self._write(issue_id, lambda roots, author: shape.delete_comment(roots, comment_id, author))

    async def watch(self, since: int = 0) -> AsyncIterator[Issue]:
        """Every issue, then each one whenever anything of it changes on this device, edits not committed yet and their
        commits included. `since`: a `revision` to go on from. Ends when the client is closed.

        For screens. To follow what is committed, use `Client.changes`.
        """
        async for _ in self._moved.beats():
            while page := await self._disk.page(LocalStore.revised_after, since, _PAGE):
                for issue in page:
                    since = issue.revision
                    yield issue

    async def _change(self, issue_id: UUID, changes: Changes) -> Receipt:
        changes.check()
        return await self._write(issue_id, changes.make)


def _begin(fields: dict[str, FieldValue], created_at: datetime | None, roots: Shape, author: Author) -> None:
    beginning: dict[str, FieldValue] = {"created_at": created_at or author.at, "created_by": author.user}
    Changes(fields=beginning | fields).make(roots, author)


def _delete(roots: Shape, author: Author) -> None:
    if roots.fields.get(shape.FIELD_KEYS["deleted_at"]) is None:
        shape.set_field(roots, "deleted_at", author.at, author)


def _age(issue: Issue) -> tuple[bool, datetime | None, UUID]:
    return issue.created_at is not None, issue.created_at, issue.id
