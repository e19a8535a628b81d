"""Taking changes back: to a moment, or what one writer did since, beside which the work of all others stays.

What is taken back is written as an ordinary edit: fields get their old values, texts small edits, comments their marks.
A value that somebody else wrote over a writer's own stays as it is, and is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pycrdt import Text

from crdt.changes import Replacement, replacements
from crdt.issue import Comment, IssueContent
from crdt.shape import FIELD_KEYS, Author, FieldValue, Shape, comment_of, iso, set_field, write_edits
from crdt.text_edits import TextEdit, edits_between

ABSENT: Final = "absent"
LIVE: Final = "live"
DELETED: Final = "deleted"

Part: TypeAlias = tuple[str, ...]  # ("status",), ("labels", name), ("comments", id), …
By: TypeAlias = tuple[str | None, int | None]  # an actor, in a seq
TEXTS: Final = ("title", "description")


@dataclass(frozen=True, slots=True)
class Whose:
    """A writer: an actor, a device, or an actor on a device. None is anybody or any."""

    actor_id: str | None
    device_id: str | None

    def did(self, actor_id: str, device_id: str | None) -> bool:
        """Whether a delta is theirs."""
        return self.actor_id in (None, actor_id) and self.device_id in (None, device_id)


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A part that was not taken back, because somebody else changed it later; only just now where there is no seq."""

    part: Part
    actor_id: str | None
    seq: int | None


@dataclass(frozen=True, slots=True)
class Reversal:
    """What to write: values by part, and edits of texts by part, each with what the text reads before them."""

    values: Mapping[Part, FieldValue]
    texts: Mapping[Part, tuple[str, Sequence[TextEdit]]]

    def make(self, shape: Shape, author: Author) -> None:
        """Write it. Raises NotPlain where a text holds more than characters."""
        for part, (now, edits) in self.texts.items():
            text = _text_of(shape, part)
            if text is not None:
                write_edits(text, edits, now)
                if part[0] == "comments":
                    comment_of(shape, part[1])["editedAt"] = iso(author.at)
        for part, value in self.values.items():
            match part:
                case ("labels", name):
                    _set_label(shape, name, is_set=value == LIVE)
                case ("comments", comment_id):
                    comment_of(shape, comment_id)["deletedAt"] = iso(author.at) if value == DELETED else None
                case (name,):
                    set_field(shape, name, value, author)


def to_moment(now: IssueContent, then: IssueContent) -> Reversal:
    """Everything as it was. Comments written since are marked as deleted."""
    now_values, then_values = values_of(now), values_of(then)
    values: dict[Part, FieldValue] = {}
    for part in now_values.keys() | then_values.keys():
        value, wanted = now_values.get(part, ABSENT), _written(part, then_values.get(part, ABSENT))
        if value not in (wanted, ABSENT) or (value == ABSENT and part[0] == "labels" and wanted == LIVE):
            values[part] = wanted
    now_texts, then_texts = texts_of(now), texts_of(then)
    texts = {part: (text, edits_between(text, then_texts.get(part, text))) for part, text in now_texts.items()}
    return Reversal(values, {part: edited for part, edited in texts.items() if edited[1]})


class Undoing:
    """Follows an issue step by step, and knows at the end what one writer's work would be without."""

    def __init__(self, before: IssueContent) -> None:
        self._values: dict[Part, _Value] = {}
        self._texts = {part: _Work.of(text) for part, text in texts_of(before).items()}
        self._edited: dict[Part, By] = {}  # texts that somebody else edited

    def step(self, before: IssueContent, after: IssueContent, who: By, *, is_theirs: bool) -> None:
        """The values that changed."""
        old, new = values_of(before), values_of(after)
        for part in old.keys() | new.keys():
            was, now = old.get(part, ABSENT), new.get(part, ABSENT)
            if was != now:
                self._values.setdefault(part, _Value(was)).write(was, who, is_theirs=is_theirs)

    def edit(self, part: Part, edits: Sequence[Replacement], who: By, *, is_theirs: bool) -> None:
        """A text that changed: each edit is one of the text as the edit before it left it."""
        work = self._texts.setdefault(part, _Work())
        for edit in edits:
            work.replace(edit, is_theirs=is_theirs)
        if edits and not is_theirs:
            self._edited[part] = who

    def end(self, now: IssueContent) -> tuple[Reversal, list[LeftAlone]]:
        """What to write into the issue as it is after the last step, and what stays because others changed it since."""
        standing = values_of(now)
        values: dict[Part, FieldValue] = {}
        left: dict[Part, LeftAlone] = {}
        for part, value in sorted(self._values.items()):
            stands, wanted = standing.get(part, ABSENT), _written(part, value.before)
            if not value.is_touched or wanted == stands or (part[0] == "comments" and stands == ABSENT):
                continue
            if not value.is_theirs:
                left[part] = LeftAlone(part, *value.last)
            elif value.before == ABSENT and part in self._edited:
                left[part] = LeftAlone(part, *self._edited[part])
            else:
                values[part] = wanted
        kept = left.keys() | {part for part, value in values.items() if value == DELETED}
        texts = {part: (work.now, work.taking_back()) for part, work in self._texts.items() if part not in kept}
        return Reversal(values, {part: edited for part, edited in texts.items() if edited[1]}), list(left.values())


@dataclass(slots=True)
class _Value:
    """One part's story: what it was before the writer's last row of changes, and who changed it last."""

    before: FieldValue
    last: By = (None, None)
    is_theirs: bool = False
    is_touched: bool = False

    def write(self, was: FieldValue, who: By, *, is_theirs: bool) -> None:
        if is_theirs and not self.is_theirs:
            self.before = was
        self.last, self.is_theirs = who, is_theirs
        self.is_touched = self.is_touched or is_theirs


@dataclass(slots=True)
class _Stretch:
    """Some characters: whether the text has them now, and whether it would without the writer's work."""

    text: str
    is_now: bool = True
    is_without: bool = True


@dataclass(slots=True)
class _Work:
    """A text with all it ever held since the first step."""

    stretches: list[_Stretch] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> _Work:
        return cls([_Stretch(text)] if text else [])

    def replace(self, edit: Replacement, *, is_theirs: bool) -> None:
        """One edit of the text as it is now."""
        at = self._split(edit.at)
        left = len(edit.deleted)
        end = self._split(edit.at + left) if left else at
        for stretch in self.stretches[at:end]:
            if stretch.is_now:
                stretch.is_now = False
                stretch.is_without = stretch.is_without and is_theirs
        if edit.inserted:
            self.stretches.insert(at, _Stretch(edit.inserted, True, not is_theirs))

    @property
    def now(self) -> str:
        """The text as it is."""
        return "".join(stretch.text for stretch in self.stretches if stretch.is_now)

    def taking_back(self) -> list[TextEdit]:
        """Edits that take the writer's work out of it, last place first."""
        edits: list[TextEdit] = []
        position = 0
        for stretch in self.stretches:
            if stretch.is_without and not stretch.is_now:
                edits.append(TextEdit(position, 0, stretch.text))
            elif stretch.is_now:
                if not stretch.is_without:
                    edits.append(TextEdit(position, len(stretch.text), ""))
                position += len(stretch.text)
        return edits[::-1]

    def _split(self, position: int) -> int:
        """The number of the stretch that begins right behind the first `position` characters of now."""
        if position == 0:
            return 0
        for number, stretch in enumerate(self.stretches):
            if not stretch.is_now:
                continue
            size = len(stretch.text)
            if position < size:
                rest = _Stretch(stretch.text[position:], stretch.is_now, stretch.is_without)
                stretch.text = stretch.text[:position]
                self.stretches.insert(number + 1, rest)
            if position <= size:
                return number + 1
            position -= size
        raise AssertionError("an edit behind the end of its text")


def exact_edits(old: str, operations: Sequence[Mapping[str, Any]], new: str) -> list[Replacement]:
    """What made `new` of `old`, as the engine tells it (`Document.apply_telling`); else, where that counts what is no
    character, by comparing. In the order in which they are made."""
    written, at, position = old.encode(), 0, 0
    edits: list[Replacement] = []
    try:
        for operation in operations:
            if "insert" in operation:
                edits.append(Replacement(position, "", operation["insert"]))
                position += len(operation["insert"])
                continue
            size = operation.get("retain") or operation["delete"]
            passed = written[at : at + size].decode()
            at += size
            if "retain" in operation:
                position += len(passed)
            else:
                edits.append(Replacement(position, passed, ""))
    except (UnicodeDecodeError, TypeError):
        return compared_edits(old, new)
    return edits if _made(old, edits) == new else compared_edits(old, new)


def compared_edits(old: str, new: str) -> list[Replacement]:
    """What makes `new` of `old`, in an order in which they can be made."""
    return replacements(old, new)[::-1]


def _made(text: str, edits: Iterable[Replacement]) -> str:
    for edit in edits:
        text = text[: edit.at] + edit.inserted + text[edit.at + len(edit.deleted) :]
    return text


def values_of(issue: IssueContent) -> dict[Part, FieldValue]:
    """Everything of an issue that has one value at a time; labels and comments that are not there are missing."""
    return {
        **{(name,): getattr(issue, name) for name in FIELD_KEYS},
        **{("labels", label): LIVE for label in issue.labels},
        **{("comments", comment.id): _state(comment) for comment in issue.comments},
    }


def texts_of(issue: IssueContent) -> dict[Part, str]:
    """Its texts."""
    bodies: Iterable[tuple[Part, str]] = ((("comments", comment.id), comment.body) for comment in issue.comments)
    return {("title",): issue.title, ("description",): issue.description, **dict(bodies)}


def _state(comment: Comment) -> str:
    return LIVE if comment.deleted_at is None else DELETED


def _written(part: Part, value: FieldValue) -> FieldValue:
    """A comment that was not there yet can only be marked."""
    return DELETED if part[0] == "comments" and value == ABSENT else value


def _text_of(shape: Shape, part: Part) -> Text | None:
    if part[0] in TEXTS:
        return shape.title if part == ("title",) else shape.description
    body = comment_of(shape, part[1]).get("body")
    return body if isinstance(body, Text) else None


def _set_label(shape: Shape, name: str, *, is_set: bool) -> None:
    if is_set:
        shape.labels[name] = True
    elif name in shape.labels:
        del shape.labels[name]
