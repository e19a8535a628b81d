"""Somebody who works with the SDK at random: words that are never written twice, so that whatever is lost or doubled
shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from random import Random
from uuid import UUID

from crdt.issue import IssueContent
from syncline import Client, Issue, IssueNotFound, Receipt
from syncline.document import Document

STATUSES = ("open", "in_progress", "done")
LABELS = ("bug", "slow", "later")


class Editor:
    """One device. `make` gives a client on its store whenever it starts, with the chance that is the device's own.

    `words`: by issue, in the order in which they were written · `receipts`: of every write, with its word or "".
    """

    def __init__(self, name: str, seed: int, make: Callable[[Random], Client]) -> None:
        self.name = name
        self.is_offline = False
        self.words: dict[UUID, list[str]] = {}
        self.receipts: list[tuple[str, Receipt]] = []
        self._make = make
        self._random = Random(f"{seed} {name}")
        self._open: Document | None = None
        self.client: Client

    async def start(self) -> None:
        """The program begins; what it wrote before is in its store."""
        self.client = self._make(self._random)
        await self.client.__aenter__()

    async def stop(self) -> None:
        """The program ends. Receipts of what is not committed by now end with it."""
        self._open = None
        await self.client.close()
        self.receipts = [(word, receipt) for word, receipt in self.receipts if receipt.is_committed]

    async def edit(self, issue: UUID) -> None:
        """Something a user does, online or not."""
        try:
            await self._edit(issue)
        except IssueNotFound:
            # The same beginning everywhere: it is one issue, however many devices begin it.
            self._keep("", await self.client.issues.create(id=issue, title=f"Issue {issue.int}"))

    async def _edit(self, issue: UUID) -> None:
        issues = self.client.issues
        match self._random.randrange(8):
            case 0 | 1:
                word = self._next_word()
                self._keep(word, await issues.comment(issue, word, comment_id=word))
            case 2 | 3 | 4:
                word = self._next_word()
                seen = await issues.get(issue)
                self._keep(word, await issues.update(issue, description=f"{seen.description}{word} ", seen=seen))
            case 5:
                self._keep("", await issues.update(issue, status=self._random.choice(STATUSES)))
            case 6:
                self._keep("", await issues.update(issue, add_labels=[self._random.choice(LABELS)]))
            case _:
                await self._type(issue)

    async def _type(self, issue: UUID) -> None:
        """In an open document, which stays open for a while."""
        if self._open is not None:
            document, self._open = self._open, None
            await document.close()
            return
        await self.client.issues.get(issue)
        document = self._open = await self.client.open(issue)
        word = self._next_word()
        document.description.insert(0, f"{word} ")
        receipt = document.save()
        await receipt.durable
        self._keep(word, receipt)

    def _next_word(self) -> str:
        return f"{self.name}.{sum(map(len, self.words.values()))}"

    def _keep(self, word: str, receipt: Receipt) -> None:
        self.receipts.append((word, receipt))
        if word:
            self.words.setdefault(receipt.id, []).append(word)


def lost_or_doubled(editors: Iterable[Editor], contents: Mapping[UUID, IssueContent | Issue]) -> list[str]:
    """Words that are not in their issue exactly once, by how the issues read at the end."""
    written = Counter(word for editor in editors for words in editor.words.values() for word in words)
    said = Counter(
        word
        for content in contents.values()
        for word in [*content.description.split(), *(comment.body for comment in content.comments)]
    )
    return sorted((written - said) + (said - written))
