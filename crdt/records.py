"""What the parser hands to the gate and the gate to the room. Plain data; compiled with the gate by mypyc."""

from typing import Final

GC: Final = 0
DELETED: Final = 1
JSON: Final = 2
BINARY: Final = 3
STRING: Final = 4
EMBED: Final = 5
FORMAT: Final = 6
TYPE: Final = 7
ANY: Final = 8
DOC: Final = 9
SKIP: Final = 10

ARRAY: Final = 0
MAP: Final = 1
TEXT: Final = 2
XML_ELEMENT: Final = 3
XML_FRAGMENT: Final = 4
XML_HOOK: Final = 5
XML_TEXT: Final = 6

NOBODY: Final = -1  # in place of a client id: there is no such reference


_NO_BOUND: Final = 1 << 50


class Capacity:
    """How much one issue may hold: bytes as they are stored, structs, ranges of what is deleted, comments ever made."""

    def __init__(
        self,
        max_bytes: int = 64 * 1024 * 1024,
        max_structs: int = 1_000_000,
        max_tombstones: int = 1_000_000,
        max_comments: int = 10_000,
    ) -> None:
        self.max_bytes = max_bytes
        self.max_structs = max_structs
        self.max_tombstones = max_tombstones
        self.max_comments = max_comments


BOUNDLESS: Final = Capacity(_NO_BOUND, _NO_BOUND, _NO_BOUND, _NO_BOUND)
USUAL: Final = Capacity()


class Limits:
    """Bounds on one update from outside, and on the issue with it (`capacity`). Every one is a setting; the defaults
    fit a 2-core node."""

    def __init__(
        self,
        max_update_bytes: int = 16 * 1024 * 1024,
        max_structs: int = 1_000_000,
        max_new_clients: int = 4_096,
        max_depth: int = 64,
        max_key_bytes: int = 1_024,
        capacity: Capacity = USUAL,
    ) -> None:
        self.max_update_bytes = max_update_bytes
        self.max_structs = max_structs
        # Siblings at one place cost the engine quadratic time: 40,000 at once took it 4 s, 4,096 take 40 ms.
        self.max_new_clients = max_new_clients
        self.max_depth = max_depth
        self.max_key_bytes = max_key_bytes
        self.capacity = capacity


UNBOUNDED: Final = Limits(_NO_BOUND, _NO_BOUND, _NO_BOUND, 128, _NO_BOUND, BOUNDLESS)  # for bytes the log already holds


class Mandate:
    """For whom an update speaks, and how far. `names`: whom it may name as who did something; anybody with
    `may_attribute` · `comments_only`: it may write comments of their own, and nothing else."""

    def __init__(self, names: tuple[str, ...], comments_only: bool, may_attribute: bool) -> None:
        self.names = names
        self.comments_only = comments_only
        self.may_attribute = may_attribute


class Struct:
    """One struct of an update: who wrote it, what it hangs on, and where its bytes are.

    `clock` and `length` count UTF-16 units for text. References are NOBODY where there is none. `start`, `content` and
    `end` are byte offsets into the parsed data. `pairs`: clocks whose unit is the first half of a surrogate pair.
    """

    def __init__(self, client: int, clock: int, start: int) -> None:
        self.client = client
        self.clock = clock
        self.start = start
        self.length = 0
        self.kind = GC
        self.info = 0
        self.content = 0
        self.end = 0
        self.origin_client = NOBODY
        self.origin_clock = 0
        self.right_client = NOBODY
        self.right_clock = 0
        self.parent_client = NOBODY
        self.parent_clock = 0
        self.root = ""
        self.key: str | None = None
        self.type_ref = NOBODY
        self.pairs: list[int] | None = None


class Section:
    """The structs of one client, contiguous in clock from `clock` on (a SKIP counts as contiguous)."""

    def __init__(self, client: int, clock: int) -> None:
        self.client = client
        self.clock = clock
        self.structs: list[Struct] = []
        self.end = clock


class Parsed:
    """A strictly parsed update. `deletes`: client → disjoint ascending [start, end, start, end, …]."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.sections: list[Section] = []
        self.deletes: dict[int, list[int]] = {}
        self.deletes_canonical = True  # whether `deletes` encodes to the very bytes it was read from


class Arrival:
    """From which device an update came ("" where nobody said), and when, in milliseconds since 1970 (0: unknown)."""

    def __init__(self, device: str, at_ms: int) -> None:
        self.device = device
        self.at_ms = at_ms


UNKNOWN_ARRIVAL: Final = Arrival("", 0)


class FieldWrite:
    """One value of one field. `value` and `stamp` are lib0 `any` bytes, empty where there is none that can be read:
    a deleted key, a shared type, something huge, a writer without stamps."""

    def __init__(
        self, client: int, clock: int, value: bytes, stamp: bytes, actor: str, device: str, at_ms: int
    ) -> None:
        self.client = client
        self.clock = clock
        self.value = value
        self.stamp = stamp
        self.actor = actor
        self.device = device
        self.at_ms = at_ms


class Overwrite:
    """Two writers set one field, or began one issue, without knowing of each other: `losing` does not stand, because of
    `standing`.

    `replaced`: the id of the value that the loser's author saw and replaced, NOBODY where there was none.
    """

    def __init__(self, key: str, standing: FieldWrite, losing: FieldWrite, replaced: tuple[int, int]) -> None:
        self.key = key
        self.standing = standing
        self.losing = losing
        self.replaced = replaced


class Verdict:
    """What the gate made of an update: `update` holds what was new (b"" when nothing was), ready for the log.

    `gap`: something was left out because its causes are not here yet; read what others committed, then ask the peer.
    """

    def __init__(self, update: bytes, gap: bool, overwrites: list[Overwrite]) -> None:
        self.update = update
        self.gap = gap
        self.overwrites = overwrites
