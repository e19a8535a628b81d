"""How far a command is, how fast, and what it found: the same for all that go through issues."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from storage.replay import Mismatch


class Report(AbstractContextManager["Report"]):
    """A progress bar over issues and a list of mismatches, printed as they are found."""

    def __init__(self, console: Console, doing: str, total: int | None = None) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._progress.add_task(doing, total=total, rates="")
        self.issues = 0
        self.updates = 0
        self.mismatches: list[Mismatch] = []

    def __enter__(self) -> Report:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._progress.tasks[0].elapsed or 1e-9

    @property
    def rates(self) -> str:
        """How fast, for people."""
        return f"{self.issues / self.seconds:,.0f} issues/s  {self.updates / self.seconds:,.0f} updates/s"

    def advance(self, *, issues: int, updates: int, mismatches: Iterable[Mismatch]) -> None:
        """Count what was done and show what was found."""
        self.issues += issues
        self.updates += updates
        for mismatch in mismatches:
            self.mismatches.append(mismatch)
            self._console.print(described(mismatch), markup=False, style="red")
        self._progress.update(self._task, advance=issues, rates=self.rates)


def described(mismatch: Mismatch) -> str:
    """One line: where, and what."""
    issue = f" issue {mismatch.issue_id}" if mismatch.issue_id is not None else ""
    return f"{mismatch.workspace}{issue} seq {mismatch.seq}: {mismatch.what}"
