"""Honest authors and what they write, as deltas."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pycrdt import Doc, Map, Text

from storage.store import NewDelta, Store

START = datetime(2026, 1, 1, tzinfo=UTC)


class Author:
    """One replica of one issue. `write` methods return the delta of that edit."""

    def __init__(self, workspace_id: int, issue_id: UUID, client_id: int = 7) -> None:
        self.workspace_id = workspace_id
        self.issue_id = issue_id
        self.doc: Doc[Any] = Doc(client_id=client_id)
        self.at = START

    def types(self, text: str, root: str = "title") -> NewDelta:
        """Append to a text."""
        shared = self.doc.get(root, type=Text)
        return self._edit(lambda: shared.insert(len(str(shared).encode()), text))

    def sets(self, field: str, value: object) -> NewDelta:
        """Set a field."""
        fields = self.doc.get("fields", type=Map)
        return self._edit(lambda: fields.__setitem__(field, value))

    def delta(self, update: bytes) -> NewDelta:
        """Any bytes, as a delta of this issue."""
        self.at += timedelta(seconds=1)
        return NewDelta(self.workspace_id, self.issue_id, update, "ana", None, self.at)

    def _edit(self, change: Any) -> NewDelta:
        before = self.doc.get_state()
        change()
        return self.delta(self.doc.get_update(before))


async def typed(store: Store, author: Author, text: str) -> list[int]:
    """A delta a character, in one batch; their seqs."""
    return await store.append([author.types(character) for character in text])
