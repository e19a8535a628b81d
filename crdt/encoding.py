"""lib0's variable-length integers and strings: a reader that believes no length, and the matching writers.

Strict where lib0 is lenient: a varint is canonical and fits 53 bits, a length never passes the end of the input,
strings are UTF-8. Anything else is `Refused(MALFORMED)`, and nothing is allocated on the word of a length.
"""

from collections.abc import Iterable
from typing import Final

from crdt.errors import MALFORMED, TOO_LARGE, Refused

MAX_SAFE_INTEGER: Final = (1 << 53) - 1  # JavaScript's; client ids and every lib0 length fit it


class Reader:
    """A cursor over bytes from outside. `pos` is the next byte; every read that would pass the end is refused, and
    every count that makes more than `most_items` of them altogether."""

    def __init__(self, data: bytes, most_items: int = MAX_SAFE_INTEGER) -> None:
        self.data = data
        self.pos = 0
        self.end = len(data)
        self.items_left = most_items

    def read_byte(self) -> int:
        """One byte, 0–255."""
        pos = self.pos
        if pos >= self.end:
            raise self.refusal("ends early")
        self.pos = pos + 1
        return self.data[pos]

    def read_var_uint(self) -> int:
        """A canonical varUint up to 2**53 - 1."""
        data = self.data
        pos = self.pos
        end = self.end
        if pos >= end:
            raise self.refusal("ends early")
        byte = data[pos]
        pos += 1
        if byte < 0x80:
            self.pos = pos
            return byte
        value = byte & 0x7F
        shift = 7
        while True:
            if pos >= end:
                raise self.refusal("ends early")
            byte = data[pos]
            pos += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 49:
                raise self.refusal("integer too long")
        if byte == 0 or value > MAX_SAFE_INTEGER:
            raise self.refusal("integer not canonical or beyond 53 bits")
        self.pos = pos
        return value

    def skip_var_int(self) -> None:
        """Pass over a varInt of at most 64 bits (sign and 6 bits, then 7 bits a byte)."""
        for _ in range(10):
            if self.read_byte() < 0x80:
                return
        raise self.refusal("integer too long")

    def read_count(self, item_bytes: int) -> int:
        """A number of items that follow, each at least `item_bytes` long: bounded by what is left to read."""
        count = self.read_var_uint()
        if count * item_bytes > self.end - self.pos:
            raise self.refusal("count beyond the end")
        self.items_left -= count
        if self.items_left < 0:
            raise Refused(TOO_LARGE, f"too many items at byte {self.pos}")
        return count

    def skip(self, length: int) -> None:
        """Pass over `length` bytes."""
        if length > self.end - self.pos:
            raise self.refusal("length beyond the end")
        self.pos += length

    def read_bytes(self) -> bytes:
        """A varUint8Array."""
        length = self.read_var_uint()
        start = self.pos
        self.skip(length)
        return self.data[start : start + length]

    def read_string(self) -> str:
        """A varString; bytes that are not UTF-8 are refused."""
        raw = self.read_bytes()
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self.refusal("string is not UTF-8") from None

    def at_end(self) -> bool:
        """Whether everything was read."""
        return self.pos == self.end

    def expect_end(self) -> None:
        """Refuse trailing bytes: stored raw they would stay in the log for ever."""
        if self.pos != self.end:
            raise self.refusal("trailing bytes")

    def refusal(self, what: str) -> Refused:
        """The error for the byte the reader stands at."""
        return Refused(MALFORMED, f"{what} at byte {self.pos} of {self.end}")


def write_var_uint(out: bytearray, value: int) -> None:
    """Append a varUint."""
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def write_bytes(out: bytearray, data: bytes) -> None:
    """Append a varUint8Array."""
    write_var_uint(out, len(data))
    out += data


def write_string(out: bytearray, text: str) -> None:
    """Append a varString. The length is in bytes."""
    write_bytes(out, text.encode())


def write_ranges(out: bytearray, ranges: Iterable[tuple[int, list[int]]]) -> None:
    """Append a delete set. Each entry: client and its disjoint ascending ranges as [start, end, start, end, …]."""
    entries = [(client, flat) for client, flat in ranges if flat]
    write_var_uint(out, len(entries))
    for client, flat in entries:
        write_var_uint(out, client)
        write_var_uint(out, len(flat) // 2)
        for at in range(0, len(flat), 2):
            write_var_uint(out, flat[at])
            write_var_uint(out, flat[at + 1] - flat[at])
