"""A file from elsewhere as issues and users. One module a family of formats, each a few functions: bytes in, items out,
nothing held."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import IO, Any, Final, assert_never

from server.portability.csv_file import is_own_header
from server.portability.imported import Item, NotReadable
from server.portability.json_stream import elements_of
from server.portability.readers import beads, github, own, tables
from server.portability.readers.table import Table

_LOOKED_AT: Final = 16 * 1024
_LONGEST_LINE: Final = 16 * 1024 * 1024


class Source(StrEnum):
    """What can be imported."""

    JSON = "json"
    NDJSON = "ndjson"
    LOCAL_STORAGE = "local-storage"
    CSV = "csv"
    GITHUB = "github"
    LINEAR = "linear"
    JIRA = "jira"
    BEADS = "beads"


def read(file: IO[bytes], source: Source, name: str | None = None) -> Iterator[Item]:
    """The items of a file. `name`: of where it comes from, ids that are no UUIDs are told apart by it; default: the
    format's. Raises `NotReadable`."""
    scope = name or source.value
    match source:
        case Source.JSON | Source.LOCAL_STORAGE:
            return own.read_json(file, scope)
        case Source.NDJSON:
            return own.read_ndjson(file, scope)
        case Source.CSV:
            return tables.read_csv(file, scope)
        case Source.GITHUB:
            return github.read(file, scope)
        case Source.LINEAR:
            return tables.read_linear(file, scope)
        case Source.JIRA:
            return tables.read_jira(file, scope)
        case Source.BEADS:
            return beads.read(file, scope)
    assert_never(source)


def detect(file: IO[bytes]) -> Source:
    """What a file probably is, by its beginning; it is wound back. Raises `NotReadable` when nothing fits."""
    try:
        start = file.read(_LOOKED_AT).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        file.seek(0)
        if start in (b"{", b"["):
            return _json_kind(file)
        return _table_kind(file)
    finally:
        file.seek(0)


def has_our_words(file: IO[bytes], source: Source) -> bool:
    """Whether status and priority in a file are our own words; it is wound back. Of CSV only our export has them.
    Raises `NotReadable`."""
    if source is not Source.CSV:
        return source in (Source.JSON, Source.NDJSON, Source.LOCAL_STORAGE)
    try:
        return is_own_header(Table(file).names)
    finally:
        file.seek(0)


def _json_kind(file: IO[bytes]) -> Source:
    first = _first_line(file)
    if isinstance(first, dict) and not {"issues", "users"} & first.keys():
        return Source.BEADS if {"issue_type", "created_at"} & first.keys() else Source.NDJSON
    file.seek(0)
    for key, number, value in elements_of(file):
        if number < 0:
            if key == "issues":
                return Source.LOCAL_STORAGE  # its arrays are strings
            continue
        if isinstance(value, dict) and {"html_url", "url", "state"} & value.keys():
            return Source.GITHUB
        return Source.JSON
    return Source.JSON


def _first_line(file: IO[bytes]) -> Any:
    """What the first line holds, None when it is not JSON by itself."""
    try:
        return json.loads(file.readline(_LONGEST_LINE).lstrip(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        return None


def _table_kind(file: IO[bytes]) -> Source:
    names = Table(file).names
    lower = {name.strip().lower() for name in names}
    if is_own_header(names) or not lower & {"issue key", "id", "summary"}:
        kind = Source.CSV
    elif {"summary", "issue key"} <= lower:
        kind = Source.JIRA
    elif {"id", "title", "status", "team"} <= lower:
        kind = Source.LINEAR
    else:
        kind = Source.CSV
    if not lower & {"title", "summary"}:
        raise NotReadable("neither JSON nor a CSV with a column title; name its format")
    return kind
