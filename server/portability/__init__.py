"""A workspace as a file. One module a format, each one function: records in, chunks of text out, nothing held."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import assert_never

from server.portability import csv_file, json_file, markdown, ndjson, sql
from storage.export import Export


class Format(StrEnum):
    """What an export can be written as."""

    SQL = "sql"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    MARKDOWN = "markdown"

    @property
    def suffix(self) -> str:
        """Of a file's name."""
        return "md" if self is Format.MARKDOWN else self.value

    @property
    def media_type(self) -> str:
        """For HTTP."""
        match self:
            case Format.SQL:
                return "application/sql"
            case Format.JSON:
                return "application/json"
            case Format.NDJSON:
                return "application/x-ndjson"
            case Format.CSV:
                return "text/csv; charset=utf-8; header=present"
            case Format.MARKDOWN:
                return "text/markdown; charset=utf-8"
        assert_never(self)


def chunks(export: Export, written_as: Format, *, with_state: bool = False) -> AsyncIterator[str]:
    """The file, a piece at a time. CSV and Markdown hold no users; SQL and Markdown always say their state. Raises what
    reading raises."""
    match written_as:
        case Format.SQL:
            return sql.write(export.header, export.users(), export.issues())
        case Format.JSON:
            return json_file.write(export.header, export.users(), export.issues(), with_state=with_state)
        case Format.NDJSON:
            return ndjson.write(export.header, export.users(), export.issues(), with_state=with_state)
        case Format.CSV:
            return csv_file.write(export.header, export.issues(), with_state=with_state)
        case Format.MARKDOWN:
            return markdown.write(export.header, export.issues())
    assert_never(written_as)
