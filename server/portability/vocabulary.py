"""Words of other trackers for status and priority, as ours; and an account of what became what."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, TypeVar

from crdt.issue import MAX_SHORT_CHARS, IssueContent

Word = TypeVar("Word", bound=tuple[str, ...])

MAX_WORDS: Final = 1_000  # of a report for people
STATUS: Final = "status"
PRIORITY: Final = "priority"

_WORDS: Final[Mapping[str, Mapping[str, Iterable[str]]]] = {
    STATUS: {
        "pending": ("backlog", "todo", "to do", "unstarted", "triage", "new", "selected for development", "planned"),
        "open": ("reopened",),
        "in_progress": (
            "in progress",
            "in-progress",
            "started",
            "doing",
            "in development",
            "in review",
            "review",
            "testing",
        ),
        "blocked": ("on hold", "waiting", "impediment"),
        "done": ("completed", "complete", "closed", "resolved", "fixed", "merged", "released", "shipped"),
        "cancelled": ("canceled", "won't do", "won't fix", "wontfix", "duplicate", "rejected", "abandoned", "archived"),
    },
    PRIORITY: {
        "urgent": ("critical", "blocker", "highest", "p0"),
        "high": ("major", "p1"),
        "medium": ("normal", "no priority", "none", "p2"),
        "low": ("minor", "lowest", "trivial", "p3", "p4"),
    },
}
_OURS: Final = MappingProxyType(
    {kind: {word: ours for ours, words in each.items() for word in (ours, *words)} for kind, each in _WORDS.items()}
)
_RULE: Final = re.compile(r"(status|priority):(.+)=([^=]*)", re.DOTALL)


@dataclass
class Vocabulary:
    """`rules`: what was asked for, by kind and word. `is_ours`: the file has our own words, only rules change them.
    Of what became what, and of what is unknown, the first `MAX_WORDS` are told."""

    rules: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    is_ours: bool = False
    mapped: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # kind, their word, ours
    unknown: Counter[tuple[str, str]] = field(default_factory=Counter)  # kind, word: kept as it is

    def translated(self, content: IssueContent) -> IssueContent:
        """The issue in our words."""
        status, priority = self._ours(STATUS, content.status), self._ours(PRIORITY, content.priority)
        if (status, priority) == (content.status, content.priority):
            return content
        return replace(content, status=status, priority=priority)

    def _ours(self, kind: str, word: str) -> str:
        rules, known = self.rules.get(kind, {}), {} if self.is_ours else _OURS[kind]
        plain = word.strip().lower()
        ours = rules.get(word) or rules.get(plain) or known.get(plain)
        if ours is None:
            if not self.is_ours:
                _count(self.unknown, (kind, word[:MAX_SHORT_CHARS]))
            return word
        if ours != word:
            _count(self.mapped, (kind, word[:MAX_SHORT_CHARS], ours))
        return ours


def _count(words: Counter[Word], word: Word) -> None:
    if word in words or len(words) < MAX_WORDS:
        words[word] += 1


def rules_of(written: Iterable[str]) -> dict[str, dict[str, str]]:
    """Rules such as `status:In Review=in_progress`; the word may stand in quotes. Raises ValueError."""
    rules: dict[str, dict[str, str]] = {}
    for rule in written:
        found = _RULE.fullmatch(rule)
        if found is None or not found[3].strip():
            raise ValueError(f'{rule!r} is no rule; write status:"In Review"=in_progress or priority:P1=high')
        kind, word = found[1], found[2].strip().strip("\"'")
        rules.setdefault(kind, {}).update({word: found[3].strip(), word.lower(): found[3].strip()})
    return rules
