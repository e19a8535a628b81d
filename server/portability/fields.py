"""One record of a file, asked for what it should hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from server.portability.dates import moment_of
from server.portability.imported import BadRow


@dataclass(frozen=True, slots=True)
class Fields:
    """Every question names the keys under which the answer may stand, the first that is there counts. What is of
    another type raises `BadRow`, with the key and nothing of the value."""

    record: Mapping[str, Any]

    @classmethod
    def of(cls, value: object) -> Fields:
        """Raises `BadRow` for what is no object."""
        if not isinstance(value, dict):
            raise BadRow("it is not an object")
        return cls(value)

    def value(self, *names: str) -> Any:
        """Whatever stands there, None where nothing does."""
        return next((self.record[name] for name in names if self.record.get(name) is not None), None)

    def text(self, *names: str) -> str:
        """A string, empty where there is none; a number as it is written."""
        value = self.value(*names)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if value is None or isinstance(value, str):
            return value or ""
        raise BadRow(f"{names[0]} is not a text")

    def short(self, *names: str) -> str | None:
        """A string, None where it is empty."""
        return self.text(*names) or None

    def moment(self, *names: str) -> datetime | None:
        """A date."""
        try:
            return moment_of(self.value(*names))
        except BadRow as bad:
            raise BadRow(f"{names[0]}: {bad}") from None

    def items(self, *names: str) -> Sequence[Any]:
        """A list, empty where there is none."""
        value = self.value(*names)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise BadRow(f"{names[0]} is not a list")
        return value

    def texts(self, *names: str) -> tuple[str, ...]:
        """A list of strings, or of objects with a `name`."""
        found: set[str] = set()
        for item in self.items(*names):
            text = item.get("name") if isinstance(item, dict) else item
            if not isinstance(text, str):
                raise BadRow(f"{names[0]} holds something that is no text")
            found.add(text)
        return tuple(sorted(found - {""}))


def labels_of(found: Sequence[str]) -> tuple[str, ...]:
    """Labels that people wrote in one cell: in order, each once, none empty, without the space around them."""
    return tuple(sorted({label.strip() for label in found} - {""}))
