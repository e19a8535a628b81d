"""Entity tags (RFC 9110, 8.8.3): what `ETag` says of an issue, and whether `If-Match` and `If-None-Match` name it.

A tag is the issue's version and, where only some fields were asked for, a dot and which. `If-Match` is about the
version alone: whoever has read some fields of it may write at it. What is compressed on the way has a tag of its own
(RFC 9110, 8.8.3.3), which stands for the same thing here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from server.doors.compression import COMPRESSED

ANY: Final = "*"
_TAG: Final = re.compile(r'[ \t]*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*')
_MAX_TAGS: Final = 20  # of the format: a client has one copy, or a few


def tag_of(version: int, fields: str | None = None) -> str:
    """The `ETag` of an issue. `fields`: those asked for, as they were."""
    return f'"{version}"' if fields is None else f'"{version}.{crc32(fields.encode()):08x}"'


@dataclass(frozen=True, slots=True)
class Tags:
    """What a header names: strong tags and weak ones, or anything that is there."""

    strong: Sequence[str] = ()
    weak: Sequence[str] = ()
    is_any: bool = False

    def hold_of(self, version: int) -> bool:
        """`If-Match`, by strong comparison."""
        return self.is_any or any(tag.partition(".")[0] == str(version) for tag in self.strong)

    def name(self, tag: str) -> bool:
        """`If-None-Match`, by weak comparison."""
        return self.is_any or tag.strip('"') in (*self.strong, *self.weak)


def read_tags(header: str) -> Tags:
    """The tags of a header. Raises ValueError where it is not what RFC 9110 has there."""
    if header.strip() == ANY:
        return Tags(is_any=True)
    strong, weak, at = list[str](), list[str](), 0
    while (found := _TAG.match(header, at)) and len(strong) + len(weak) < _MAX_TAGS:
        (weak if found[1] else strong).append(found[2].removesuffix(COMPRESSED))
        at = found.end()
        if at == len(header):
            return Tags(strong, weak)
        if header[at] != ",":
            break
        at += 1
    raise ValueError(f"is neither * nor up to {_MAX_TAGS} entity tags with commas between them")


def names(if_none_match: str | None, etag: str) -> bool:
    """Whether the caller has it. What cannot be read names nothing: the answer is only longer."""
    try:
        return if_none_match is not None and read_tags(if_none_match).name(etag)
    except ValueError:
        return False
