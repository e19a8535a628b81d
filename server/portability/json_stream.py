"""JSON of any size in bounded memory: the elements of the arrays at its top, one by one."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import IO, Any, Final

from server.portability.imported import NotReadable
from server.portability.lines import not_utf8, without_mark

MAX_ELEMENT_CHARS: Final = 64 * 1024 * 1024  # as `MAX_LINE_BYTES`
_CHUNK_BYTES: Final = 64 * 1024
_AFTER_NUMBERS: Final = frozenset(",]} \t\r\n")
_NEAR: Final = 12  # an escape or a literal that was cut is reported so far from the end at most


def elements_of(file: IO[bytes]) -> Iterator[tuple[str, int, Any]]:
    """(key, number, value) of everything in the arrays that are the file, with an empty key, or that are members of the
    object that is the file; other members have the number -1. Several of them may follow one another. Raises
    `NotReadable`; a broken element ends it, because nothing tells where the next one begins."""
    text = _Text(file)
    counts: dict[str, int] = {}
    while start := text.peek():
        if start == "[":
            yield from _array(text, "", counts)
        elif start == "{":
            yield from _object(text, counts)
        else:
            raise NotReadable(f"{text.place}: neither an array nor an object; is this JSON?")


def _object(text: _Text, counts: dict[str, int]) -> Iterator[tuple[str, int, Any]]:
    text.take("{")
    while text.peek() != "}":
        key = text.value()
        if not isinstance(key, str):
            raise NotReadable(f"{text.place}: a key that is no string")
        text.take(":")
        if text.peek() == "[":
            yield from _array(text, key, counts)
        else:
            yield key, -1, text.value()
        if text.peek() != "}":
            text.take(",")
    text.take("}")


def _array(text: _Text, key: str, counts: dict[str, int]) -> Iterator[tuple[str, int, Any]]:
    text.take("[")
    while text.peek() != "]":
        number = counts.get(key, 0)
        counts[key] = number + 1
        yield key, number, text.value()
        if text.peek() != "]":
            text.take(",")
    text.take("]")


class _Text:
    """A window on the file, as long as one element needs it to be."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder(parse_constant=_no_constant)
        self._window = ""
        self._at = 0
        self._before = 0  # characters that have left the window
        self._is_first = True
        self._is_whole = False

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"character {self._before + self._at + 1}"

    def peek(self) -> str:
        """The next character that is no white space, empty at the end."""
        while True:
            while self._at < len(self._window) and self._window[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._more(_CHUNK_BYTES):
                return ""

    def take(self, wanted: str) -> None:
        """Pass one character. Raises `NotReadable` where another one stands."""
        if self.peek() != wanted:
            raise NotReadable(f"{self.place}: {wanted!r} is missing; the file may be cut off or no JSON")
        self._at += 1

    def value(self) -> Any:
        """The next value, whole. Raises `NotReadable`."""
        self.peek()
        chunk = _CHUNK_BYTES
        while True:
            try:
                value, end = self._json.raw_decode(self._window, self._at)
            except json.JSONDecodeError as error:
                if not self._may_be_cut(error) or not self._more(chunk):
                    raise NotReadable(f"{self.place}: {error.msg}; the file may be cut off or no JSON") from None
            except RecursionError:
                raise NotReadable(f"{self.place}: nested too deeply") from None
            except ValueError as error:
                raise NotReadable(f"{self.place}: {error}") from None
            else:
                # The first digits of a number are one too: only what follows tells that it has ended.
                is_whole = isinstance(value, str | list | dict) or self._window[end : end + 1] in _AFTER_NUMBERS
                if is_whole or not self._more(chunk):
                    self._at = end
                    return value
            chunk *= 2  # so that a long element is not begun again too often

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._window) - _NEAR

    def _more(self, size: int) -> bool:
        """Make the window longer. False: the file has ended."""
        if self._is_whole:
            return False
        self._before += self._at
        self._window, self._at = self._window[self._at :], 0
        if len(self._window) > MAX_ELEMENT_CHARS:
            raise NotReadable(f"{self.place}: an element above {MAX_ELEMENT_CHARS >> 20} Mi characters")
        piece = self._file.read(size)
        self._is_whole = not piece
        if self._is_first:
            piece, self._is_first = without_mark(piece), False
        try:
            self._window += self._decoder.decode(piece, self._is_whole)
        except UnicodeDecodeError as error:
            raise not_utf8(f"something after {self.place}", error.object[error.start]) from None
        return True


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
