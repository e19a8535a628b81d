"""What one turn of a room accepted, on its way to the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from server.session import Outcome, Overtaken, Receipt, Session
from storage.conflicts import NewConflict
from storage.engine import IssueKey
from storage.store import NewDelta


class Batch:
    """What one turn accepted. `authors[i]` wrote `updates[i]`, and each is causally closed with those before it.

    `at`: when its deltas came, in their rows · `weight` counts the bytes of what was submitted · `stuck`: sessions that
    wait for what other nodes committed · `conflicts`: by number of the update they were found in · `is_overtaken`:
    nothing of it is kept.
    """

    __slots__ = ("at", "authors", "conflicts", "is_overtaken", "receipts", "stuck", "updates", "weight")

    def __init__(self, at: datetime) -> None:
        self.at = at
        self.conflicts: dict[int, list[NewConflict]] = {}
        self.authors: list[Session] = []
        self.updates: list[bytes] = []
        self.receipts: list[tuple[Receipt, Callable[[int], Outcome]]] = []
        self.stuck: list[Session] = []
        self.weight = 0
        self.is_overtaken = False

    def note(self, found: Sequence[NewConflict]) -> None:
        """Conflicts in what is accepted next. A loser whose author replaces it in the same turn has lost nothing, and
        what it made up for, its replacement does."""
        replaced = {(conflict.field, conflict.supersedes) for conflict in found}
        made_up_for: dict[tuple[str, str | None], str | None] = {}
        for number, earlier in self.conflicts.items():
            kept: list[NewConflict] = []
            for conflict in earlier:
                loser = (conflict.field, conflict.losing.key)
                if loser in replaced:
                    made_up_for[loser] = conflict.supersedes
                else:
                    kept.append(conflict)
            self.conflicts[number] = kept
        self.conflicts.setdefault(len(self.updates), []).extend(
            replace(one, supersedes=made_up_for.get((one.field, one.supersedes), one.supersedes)) for one in found
        )

    def deltas(self, key: IssueKey, after: int | None) -> list[NewDelta]:
        """What goes into the log. `after`: see `NewDelta`, of a batch of one update."""
        deltas: list[NewDelta] = []
        for place, author in enumerate(self.authors):
            who = author.identity
            columns = (
                key.workspace_id,
                key.issue_id,
                self.updates[place],
                who.user_id,
                who.device_id,
                self.at,
                self.conflicts.get(place, ()),
                after,
                author.mark,
            )
            deltas.append(tuple.__new__(NewDelta, columns))  # what calling it does, in a third of the time
        return deltas

    def call_receipts(self, seq: int) -> None:
        """Tell everybody in here what became of their updates; `seq` is the newest of the issue."""
        for receipt, outcome in self.receipts:
            receipt(Overtaken() if self.is_overtaken else outcome(seq))
