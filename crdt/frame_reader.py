"""A strict reader of one msgpack array of scalars and arrays, which allocates nothing on the word of a length.

msgpack makes room for as many elements as an array's head claims, again at every level: a frame of nested heads would
take the memory of the machine. Here arrays are entered one by one, and counts are checked against the bytes left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar
from uuid import UUID

import msgpack  # type: ignore[import-untyped]

from crdt.encoding import MAX_SAFE_INTEGER
from crdt.errors import MALFORMED, TOO_LARGE, Refused

Value = TypeVar("Value")

_NIL: Final = 0xC0
_UUID_BYTES: Final = 16


class FrameReader:
    """A cursor over one frame. Every read raises `Refused` when something else stands there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._unpacker = msgpack.Unpacker(
            read_size=max(1, len(data)),
            max_buffer_size=max(1, len(data)),
            max_array_len=0,
            max_map_len=0,
            max_ext_len=0,
        )
        self._unpacker.feed(data)

    def array(self, max_items: int) -> int:
        """Enter an array of at most `max_items`; how many elements follow."""
        return self._counted(self._read(self._unpacker.read_array_header), 1, max_items)

    def fields(self, count: int) -> None:
        """Enter an array of exactly `count` elements."""
        if self.array(count) != count:
            raise _malformed("wrong number of fields")

    def uint(self) -> int:
        """An integer from 0 to 2**53 - 1, which is what JavaScript can hold."""
        value = self._read(self._unpacker.unpack)
        if type(value) is not int or not 0 <= value <= MAX_SAFE_INTEGER:
            raise _malformed("not an unsigned integer of 53 bits")
        return value

    def flag(self) -> bool:
        """A boolean."""
        value = self._read(self._unpacker.unpack)
        if type(value) is not bool:
            raise _malformed("not a boolean")
        return value

    def text(self, max_chars: int) -> str:
        """A string."""
        value = self._read(self._unpacker.unpack)
        if type(value) is not str:
            raise _malformed("not a string")
        if len(value) > max_chars:
            raise Refused(TOO_LARGE, f"a string of {len(value)} characters, at most {max_chars}")
        return value

    def binary(self, max_bytes: int) -> bytes:
        """Bytes."""
        value = self._read(self._unpacker.unpack)
        if type(value) is not bytes:
            raise _malformed("not binary")
        if len(value) > max_bytes:
            raise Refused(TOO_LARGE, f"{len(value)} bytes, at most {max_bytes}")
        return value

    def uuid(self) -> UUID:
        """A UUID as its 16 bytes."""
        value = self._read(self._unpacker.unpack)
        if type(value) is not bytes or len(value) != _UUID_BYTES:
            raise _malformed("not the 16 bytes of a UUID")
        return UUID(bytes=value)

    def optional(self, read: Callable[[], Value]) -> Value | None:
        """What `read` reads, or None where nil stands."""
        at = self._unpacker.tell()
        if at < len(self._data) and self._data[at] == _NIL:
            self._unpacker.skip()
            return None
        return read()

    def counts(self, max_items: int, max_chars: int) -> dict[str, int]:
        """A map from names to unsigned integers."""
        size = self._counted(self._read(self._unpacker.read_map_header), 2, max_items)
        return {self.text(max_chars): self.uint() for _ in range(size)}

    def expect_end(self) -> None:
        """Nothing may follow."""
        if self._unpacker.tell() != len(self._data):
            raise _malformed("trailing bytes")

    def _counted(self, count: int, item_bytes: int, max_items: int) -> int:
        if count * item_bytes > len(self._data) - self._unpacker.tell():
            raise _malformed("count beyond the end")
        if count > max_items:
            raise Refused(TOO_LARGE, f"{count} elements, at most {max_items}")
        return count

    def _read(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (ValueError, msgpack.UnpackException) as error:
            raise _malformed(type(error).__name__) from None


def _malformed(what: str) -> Refused:
    return Refused(MALFORMED, what)
