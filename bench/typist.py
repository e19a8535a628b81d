"""The updates of somebody who types, byte for byte what a Yjs client sends, and what a received update covers.

The load driver must cost less than the servers it measures, so updates are put together from prepared pieces and
read without an engine; `tests/bench/test_typist.py` holds them to real pycrdt.
"""

from __future__ import annotations

ALPHABET = b"the quick brown fox jumps over a lazy dog "
ROOT = b"description"
STRING = 0x04  # info bits of an item with text content (ContentString)
HAS_ORIGIN = 0x80
FIRST_CLIENT = 1 << 50  # ids as wide as pycrdt draws them: a typing update then has the 26 bytes of docs/benchmarks.md
SHORT_VAR_UINTS = tuple(
    bytes([n]) if n < 0x80 else bytes([0x80 | n & 0x7F, n >> 7]) for n in range(1 << 14)
)  # as far as two bytes go: most clocks of a run


def var_uint(value: int) -> bytes:
    """lib0's variable length unsigned integer: seven bits a byte, low bits first."""
    if value < len(SHORT_VAR_UINTS):
        return SHORT_VAR_UINTS[value]
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(0x80 | value & 0x7F)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def var_uint_size(value: int) -> int:
    """Bytes `var_uint` takes for `value`."""
    return max(1, (value.bit_length() + 6) // 7)


def read_var_uint(data: bytes, at: int) -> tuple[int, int]:
    """The integer at `at` and the position after it. IndexError when the data ends inside."""
    byte = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    value = byte & 0x7F
    shift = 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


class Typist:
    """One author who types `ALPHABET` over and over at the end of the root text `description`."""

    __slots__ = ("_client", "_last_clock", "_origin", "_section", "client", "clock")

    def __init__(self, client: int) -> None:
        self.client = client
        self.clock = 0
        self._client = var_uint(client)
        self._section = b"\x01\x01" + self._client
        self._origin = bytes([HAS_ORIGIN | STRING]) + self._client
        self._last_clock = b""

    def type(self) -> bytes:
        """The next character as a Yjs v1 update."""
        clock = self.clock
        self.clock = clock + 1
        letter = ALPHABET[clock % len(ALPHABET)]
        last, encoded = self._last_clock, var_uint(clock)
        self._last_clock = encoded
        if clock == 0:
            parent = bytes([STRING, 1, len(ROOT)]) + ROOT
            return b"%b\x00%b\x01%c\x00" % (self._section, parent, letter)
        return b"%b%b%b%b\x01%c\x00" % (self._section, encoded, self._origin, last, letter)

    def covered(self, update: bytes, at: int = 0) -> tuple[int, int]:
        """(first clock, end clock) of this author's typing that `update`, from position `at`, brings.

        Servers may join updates, as several structs or as one longer string; both are read. ValueError for anything
        this typing cannot become.
        """
        sections, at = read_var_uint(update, at)
        structs, at = read_var_uint(update, at)
        if sections != 1 or not update.startswith(self._client, at):
            raise ValueError("one section of this typist expected")
        first, at = read_var_uint(update, at + len(self._client))
        # No struct is smaller than one letter behind its origin: when that size times their number is all there is,
        # each of them is one letter.
        smallest = len(self._origin) + var_uint_size(first - 1) + 2
        if first > 0 and len(update) == at + structs * smallest + 1:
            return first, first + structs
        return first, first + _letters(update, at, structs)

    @property
    def text(self) -> str:
        """Everything typed so far."""
        rounds = self.clock // len(ALPHABET) + 1
        return (ALPHABET * rounds)[: self.clock].decode("ascii")


def _letters(update: bytes, at: int, structs: int) -> int:
    """How many letters the `structs` items from position `at` hold."""
    letters = 0
    for _ in range(structs):
        info = update[at]
        at += 1
        if info == HAS_ORIGIN | STRING:
            _, at = read_var_uint(update, at)
            _, at = read_var_uint(update, at)
        elif info == STRING:
            at += 2 + len(ROOT)  # named parent, length of the name, name
        else:
            raise ValueError(f"struct with info {info:#04x}, text expected")
        length, at = read_var_uint(update, at)
        at += length  # ASCII: bytes are UTF-16 units are clocks
        letters += length
    return letters
