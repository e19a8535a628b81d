"""Lines of text out of a file of bytes, in bounded memory; what is no UTF-8 is said to be what it probably is."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import IO, Final

from server.portability.imported import NotReadable

# As much as an issue may hold: a longer line is no record of any of these formats. What a client may send is bounded by
# `max-import-bytes`.
MAX_LINE_BYTES: Final = 64 * 1024 * 1024

_OTHER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def lines_of(file: IO[bytes]) -> Iterator[tuple[int, str]]:
    """Number and text of each line, with its end. Raises `NotReadable`."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number == 1:
            line = without_mark(line)
        if len(line) > MAX_LINE_BYTES:
            raise NotReadable(f"line {number} has more than {MAX_LINE_BYTES >> 20} MiB; is this the right format?")
        try:
            yield number, line.decode()
        except UnicodeDecodeError as error:
            raise not_utf8(f"line {number}", error.object[error.start]) from None


def without_mark(start: bytes) -> bytes:
    """The beginning of a file without the mark of UTF-8. Raises `NotReadable` where it has another one."""
    for mark, name in _OTHER_MARKS:
        if start.startswith(mark):
            raise NotReadable(f"the file is {name}; save it as UTF-8")
    return start.removeprefix(codecs.BOM_UTF8)


def not_utf8(place: str, byte: int) -> NotReadable:
    """What to say of a byte that has no place in UTF-8."""
    return NotReadable(
        f"{place} is not UTF-8 (byte 0x{byte:02x}); it may be Latin-1 or Windows-1252: save the file as UTF-8"
    )
