"""What a section found: a table for people, the same values as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

Value = str | float | int | None


@dataclass(frozen=True, slots=True)
class Report:
    """One table. Every row has the same keys, which name the columns; None where nothing was measured."""

    title: str
    rows: Sequence[Mapping[str, Value]]
    notes: Sequence[str] = field(default_factory=tuple)

    def print(self, console: Console) -> None:
        """Show it on a terminal."""
        table = Table(title=self.title, title_justify="left", title_style="bold")
        columns = list(self.rows[0]) if self.rows else []
        for name in columns:
            table.add_column(name, justify="left" if self._is_text(name) else "right")
        for row in self.rows:
            table.add_row(*(shown(row[name]) for name in columns))
        console.print(table)
        for note in self.notes:
            console.print(f"  {note}", style="dim", highlight=False)
        console.print()

    def _is_text(self, column: str) -> bool:
        return all(isinstance(row[column], str) for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """Plain values, not rounded."""
        return asdict(self)


def shown(value: Value) -> str:
    """A value with as many digits as a shared machine can be trusted with."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if value != value:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def middle(values: Iterable[float]) -> float:
    """The median of the rounds; NaN for none."""
    found = list(values)
    return median(found) if found else float("nan")
