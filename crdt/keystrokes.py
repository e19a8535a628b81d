"""The most frequent update by far: what one author typed at one place, in plain ASCII, nothing deleted.

Read here without building records for it: the gate takes it on a short path, and what follows one another is joined
into one string, as Yjs itself keeps it once it has integrated the strokes.
"""

from collections.abc import Sequence

_AFTER = 0x84  # an item with a string (4) and an origin (0x80)
_BETWEEN = 0xC4  # the same with a right origin (0x40) too
_LONGEST = 4096  # bytes; above this the parser reads it, a little slower for its size


class Keystrokes:
    """One struct of one client: `clock` and `length` in characters, `data[start:end]` its text.

    `origin` and `right` are (client, clock) of its neighbours when it was typed; `right_client` is -1 without one.
    """

    def __init__(self, data: bytes, numbers: list[int], head: int, start: int, end: int) -> None:
        self.data = data
        self.client = numbers[0]
        self.clock = numbers[1]
        self.origin_client = numbers[2]
        self.origin_clock = numbers[3]
        between = len(numbers) == 7
        self.right_client = numbers[4] if between else -1
        self.right_clock = numbers[5] if between else -1
        self.head = head  # where the length of the text is written
        self.start = start
        self.end = end
        self.length = end - start

    def is_followed_by(self, other: "Keystrokes") -> bool:
        """Whether `other` was typed right behind this, so that both are one string."""
        end = self.clock + self.length
        return (
            other.client == self.client
            and other.clock == end
            and other.origin_client == self.client
            and other.origin_clock == end - 1
            and other.right_client == self.right_client
            and other.right_clock == self.right_clock
        )


def read_keystrokes(data: bytes) -> Keystrokes | None:
    """The strokes an update is made of, every byte checked as strictly as the parser would; None for all else."""
    end = len(data) - 1
    if end < 9 or end > _LONGEST or data[0] != 1 or data[1] != 1 or data[end] != 0:
        return None
    numbers: list[int] = []
    pos = _read_numbers(data, 2, end, 2, numbers)
    if pos == end or (data[pos] != _AFTER and data[pos] != _BETWEEN):
        return None
    head = _read_numbers(data, pos + 1, end, 2 if data[pos] == _AFTER else 4, numbers)
    start = _read_numbers(data, head, end, 1, numbers)
    length = end - start
    if length <= 0 or numbers[-1] != length or not data[start:end].isascii():
        return None
    return Keystrokes(data, numbers, head, start, end)


def join_keystrokes(updates: Sequence[bytes]) -> list[bytes]:
    """The same updates in the same order, with strokes that follow one another joined."""
    return [update for update, _ in runs_of_keystrokes(updates)]


def runs_of_keystrokes(updates: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """`join_keystrokes`, with how many of the updates each one stands for."""
    runs: list[tuple[bytes, int]] = []
    run: list[Keystrokes] = []
    for update in updates:
        strokes = read_keystrokes(update)
        if run and (strokes is None or not run[-1].is_followed_by(strokes)):
            runs.append((_as_one(run), len(run)))
            run = []
        if strokes is None:
            runs.append((update, 1))
        else:
            run.append(strokes)
    if run:
        runs.append((_as_one(run), len(run)))
    return runs


def _as_one(run: list[Keystrokes]) -> bytes:
    first = run[0]
    if len(run) == 1:
        return first.data
    text = b"".join([strokes.data[strokes.start : strokes.end] for strokes in run])
    size = len(text)
    out = bytearray(first.data[: first.head])
    while size > 0x7F:
        out.append(0x80 | size & 0x7F)
        size >>= 7
    out.append(size)
    out += text
    out.append(0)
    return bytes(out)


def _read_numbers(data: bytes, pos: int, end: int, count: int, numbers: list[int]) -> int:
    """Append `count` canonical varUints and return where the next byte is; `end` when they are not there."""
    for _ in range(count):
        value = 0
        shift = 0
        while True:
            if pos >= end or shift > 49:
                return end
            byte = data[pos]
            pos += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if byte == 0 and shift > 0:
            return end
        numbers.append(value)
    return pos
