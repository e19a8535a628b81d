"""How a conflict is decided: an ordinary edit of the field that two people set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from crdt.issue import MAX_SHORT_CHARS
from crdt.shape import FIELD_KEYS, Author, Shape, iso

_MAX_DEPTH: Final = 8
_EXACT_INTEGER: Final = 2**53


@dataclass(frozen=True, slots=True)
class SetField:
    """Set a field to a value as JSON has it, even where it says so already: a decision is a write of its own, so that
    two who decide differently at the same time are seen to.

    `stamp`: whose clock the value has; None: that of who writes it.
    """

    name: str
    value: object
    stamp: Author | None = None

    def check(self) -> None:
        """Raises ValueError for what cannot be written."""
        if self.name not in FIELD_KEYS:
            raise ValueError(f"no field {self.name}")
        _check_value(self.name, self.value, _MAX_DEPTH)

    def make(self, shape: Shape, author: Author) -> None:
        """Write it with its stamp."""
        key, by = FIELD_KEYS[self.name], self.stamp or author
        shape.fields[key] = self.value
        shape.stamps[key] = {"at": iso(by.at), "by": by.user, "device": by.device}


def _check_value(name: str, value: object, depth: int) -> None:
    if depth == 0:
        raise ValueError(f"{name} is nested too deeply")
    match value:
        case None | bool():
            pass
        case str():
            if len(value) > MAX_SHORT_CHARS:
                raise ValueError(f"{name} has {len(value)} characters, at most {MAX_SHORT_CHARS}")
            value.encode()
        case int() | float():
            if not abs(value) <= _EXACT_INTEGER:
                raise ValueError(f"{name} is no number that every client can read")
        case list() | tuple():
            for each in value:
                _check_value(name, each, depth - 1)
        case dict():
            for entry, each in value.items():
                _check_value(name, entry, depth)
                _check_value(name, each, depth - 1)
        case _:
            raise ValueError(f"{name} is no value of JSON")
