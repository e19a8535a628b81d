"""What is asked of exports and imports over HTTP, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

from server.doors.rest.operations import Query
from server.doors.rest.paths import InWorkspace
from server.doors.rest.problems import UNKNOWN_IMPORT
from server.import_report import ImportReport
from server.import_undo import UndoReport
from server.permissions import Role
from server.portability import Format
from server.portability.readers import Source
from server.portability.vocabulary import Vocabulary, rules_of
from storage.import_ledger import ImportBatch


class ExportQuery(Query):
    """`with_state`: also what no import restores: seqs, versions, times of the last change."""

    format: Format = Field(Format.NDJSON, description="What to write.")
    with_state: bool = Field(
        False, description="Also what no import restores: seqs, versions, times of the last change."
    )


class ImportQuery(Query):
    """How to read the body, and what to do with it."""

    format: Source | None = Field(None, description="Of the body; default: what it looks like.")
    name: str = Field("upload", max_length=200, description="Of the file: an import that was cut off goes on under it.")
    source: str | None = Field(
        None, max_length=200, description="Tells ids of one place from those of another; default: the format."
    )
    map: str = Field(
        "", max_length=4_000, description="Rules for words, such as `status:In Review=in_progress;priority:P1=high`."
    )
    dry_run: bool = Field(False, description="Only say what would be done.")
    overwrite: bool = Field(False, description="Also change issues that were edited here since they were imported.")

    role: Role | None = Field(
        None, description="Of users it adds; default: none, so that they wait to be invited. Only an owner adds owners."
    )

    @field_validator("map")
    @classmethod
    def _are_rules(cls, value: str) -> str:
        try:
            rules_of(_rules(value))
        except ValueError:  # it quotes the rule, and what was sent is not repeated
            raise ValueError("write rules as status:In Review=in_progress, with semicolons between them") from None
        return value

    def vocabulary(self, *, is_ours: bool) -> Vocabulary:
        """What words become."""
        return Vocabulary(rules_of(_rules(self.map)), is_ours)


def _rules(written: str) -> list[str]:
    return [rule for rule in written.split(";") if rule.strip()]


class OfImport(InWorkspace):
    """`…/imports/{batch}/…`"""

    UNKNOWN = InWorkspace.UNKNOWN | {"batch": UNKNOWN_IMPORT}
    batch: UUID


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


class Note(_Told):
    """Something that was not taken over, or not as it stands. `place`: in the file."""

    place: str
    reason: str
    issue: UUID | None


class Mapped(_Told):
    """A word of the file that became one of ours, in so many issues; null: it is not known, and stays."""

    field: str
    word: str
    became: str | None
    issues: int


class Imported(_Told):
    """What an import did, or would do. `batch`: by which it is taken back; null after a dry run. `counts`: of created,
    changed, unchanged, kept (edited here, so left alone), skipped, users_created, users_kept. `omitted`: notes beyond
    the first 1,000. `words`: the first 1,000 that became something, and the first 1,000 that are not known."""

    batch: UUID | None
    format: Source
    counts: Mapping[str, int]
    notes: list[Note]
    omitted: int
    words: list[Mapped]

    @classmethod
    def of(cls, report: ImportReport, source: Source) -> Self:
        """The report as clients see it."""
        vocabulary = report.vocabulary
        words = [
            Mapped(field=field, word=word, became=ours, issues=count)
            for (field, word, ours), count in vocabulary.mapped.items()
        ]
        words += [
            Mapped(field=field, word=word, became=None, issues=count)
            for (field, word), count in vocabulary.unknown.items()
        ]
        notes = [Note(place=note.place, reason=note.reason, issue=note.issue_id) for note in report.notes]
        return cls(
            batch=report.batch_id,
            format=source,
            counts=dict(report.counts),
            notes=notes,
            omitted=report.omitted,
            words=words,
        )


class Batch(_Told):
    """One import."""

    id: UUID
    name: str
    format: str
    started_by: str
    started_at: datetime
    finished_at: datetime | None
    undone_at: datetime | None
    counts: Mapping[str, int]

    @classmethod
    def of(cls, batch: ImportBatch) -> Self:
        """A row of the account."""
        return cls(
            id=batch.id,
            name=batch.name,
            format=batch.source,
            started_by=batch.started_by,
            started_at=batch.started_at,
            finished_at=batch.finished_at,
            undone_at=batch.undone_at,
            counts=batch.counts,
        )


class Batches(_Told):
    """The last hundred, newest first."""

    imports: list[Batch]


class Kept(_Told):
    """An issue that was not taken back."""

    issue: UUID
    reason: str


class Undone(_Told):
    """What became of an import: `counts` of deleted, kept, users_deleted and users_kept; the first 1,000 that stay."""

    counts: Mapping[str, int]
    kept: list[Kept]

    @classmethod
    def of(cls, report: UndoReport) -> Self:
        """The report as clients see it."""
        kept = [Kept(issue=issue_id, reason=reason) for issue_id, reason in report.kept]
        return cls(counts=dict(report.counts), kept=kept)
