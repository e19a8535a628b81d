"""Rows of a CSV file, by the names of their columns. A name may stand over several columns, as Jira has it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from typing import IO, Final

from server.portability.imported import BadRow, NotReadable
from server.portability.lines import lines_of

# Of the format, for programs that write it have lower ones: Excel ends at 32,767 characters and 16,384 columns.
MAX_FIELD_CHARS: Final = 16 * 1024 * 1024
_MAX_COLUMNS: Final = 10_000
_DELIMITER: Final = re.compile(r'"?sep=([,;\t])"?', re.IGNORECASE)


class Row:
    """One row. `place`: where it begins."""

    def __init__(self, place: str, columns: dict[str, list[int]], cells: Sequence[str]) -> None:
        self.place = place
        self._columns = columns
        self.cells = cells

    def all(self, *names: str) -> list[str]:
        """The cells under these names that say something."""
        places = [at for name in names for at in self._columns.get(name.lower(), ())]
        return [self.cells[at].strip() for at in places if at < len(self.cells) and self.cells[at].strip()]

    def text(self, *names: str) -> str:
        """The first cell under these names that says something, as it is, else empty."""
        places = [at for name in names for at in self._columns.get(name.lower(), ())]
        return next((self.cells[at] for at in places if at < len(self.cells) and self.cells[at]), "")

    def short(self, *names: str) -> str | None:
        """The same without the space around it, else None."""
        return self.text(*names).strip() or None

    def exact(self, *names: str) -> str | None:
        """The same as it is."""
        return self.text(*names) or None

    def check(self) -> None:
        """Raises `BadRow` for what no table can hold, and for more cells than there are columns."""
        if any("\0" in cell for cell in self.cells):
            raise BadRow("it holds a NUL character; is this a binary file?")
        if len(self.cells) > sum(map(len, self._columns.values())):
            raise BadRow(f"{len(self.cells)} cells in it, more than there are columns")


class Table:
    """A CSV file whose first row names the columns. Delimiters are commas, or what the first row has more of, or what
    a line before it says, which Excel wants to have there."""

    def __init__(self, file: IO[bytes]) -> None:
        """Raises `NotReadable`."""
        lines = lines_of(file)
        number, first = next(lines, (0, ""))
        named = _DELIMITER.fullmatch(first.strip("\r\n "))
        if named is not None:
            number, first = next(lines, (0, ""))
        if not first.strip("\r\n\ufeff "):
            raise NotReadable("the file is empty")
        csv.field_size_limit(MAX_FIELD_CHARS)
        delimiter = max(",;\t", key=first.count) if named is None else named[1]
        self._reader = csv.reader(
            (line for _, line in _chained((number, first), lines)), delimiter=delimiter, strict=True
        )
        self.names = self._next() or []
        if len(self.names) > _MAX_COLUMNS:
            raise NotReadable(f"{len(self.names)} columns, at most {_MAX_COLUMNS}")
        self._columns: dict[str, list[int]] = {}
        for at, name in enumerate(self.names):
            self._columns.setdefault(name.strip().lower(), []).append(at)

    def expect(self, *names: str) -> None:
        """Raises `NotReadable` unless there are such columns."""
        missing = [name for name in names if name.lower() not in self._columns]
        if missing:
            raise NotReadable(f"there is no column {', '.join(missing)}; the first row must name the columns")

    def rows(self) -> Iterator[Row]:
        """All that are not empty. Raises `NotReadable`."""
        while True:
            place = f"line {self._reader.line_num + 1}"
            cells = self._next()
            if cells is None:
                return
            if any(cells):
                yield Row(place, self._columns, cells)

    def _next(self) -> list[str] | None:
        began = self._reader.line_num + 1
        try:
            return next(self._reader, None)
        except csv.Error as error:
            raise NotReadable(f"the row that begins in line {began}: {error}; is a quote missing?") from None


def _chained(first: tuple[int, str], rest: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from rest
