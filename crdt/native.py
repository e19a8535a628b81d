"""The words of the native protocol: every frame as a frozen record, every code as a constant.

`crdt.native_codec` turns them into bytes and back. The text of the protocol is in docs/protocol.md, "Native".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

SUBPROTOCOL: Final = "syncline.v1"

# What a feed carries (`Hello.mode`).
UPDATES: Final = "updates"
ROWS: Final = "rows"
OFF: Final = "off"
CONFLICTS: Final = "conflicts"  # not of a hello: `Follow` asks for it, beside whatever mode
MODES: Final = (UPDATES, ROWS, OFF)

# Why a feed begins with a reload (`Reset.reason`).
NEW: Final = "new"
EPOCH: Final = "epoch"
FLOOR: Final = "floor"
AHEAD: Final = "ahead"

# Why not, beside the reasons in `crdt.errors` (`Refusal.code`, `Nack.code`, `Closed.code`).
UNAUTHORIZED: Final = "unauthorized"
NOT_FOUND: Final = "not_found"
TIMEOUT: Final = "timeout"
UNEXPECTED: Final = "unexpected"
WINDOW: Final = "window"
GAP: Final = "gap"
RETRY: Final = "retry"
INTERNAL: Final = "internal"
PURGED: Final = "purged"  # the issue was deleted for good
TOO_FAST: Final = "too_fast"  # more edits than the user, or the workspace, may make

# What happened (`Notice.kind`).
DRAINING: Final = "draining"
READ_ONLY: Final = "read_only"
ROLE: Final = "role"


@dataclass(frozen=True, slots=True)
class ReloadPoint:
    """How far a reload got: every issue changed after `since`, in id order, through `after` (None: none yet)."""

    base: int
    since: int
    after: UUID | None


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame of a client. `cursor` and `epoch` come together; `reload`: an unfinished one to go on with.

    `token` may be empty when the handshake has it; `client` names the program, for logs.
    """

    token: str
    client: str
    device_id: str | None = None
    mode: str = UPDATES
    epoch: UUID | None = None
    cursor: int | None = None
    reload: ReloadPoint | None = None


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer to a good hello. `limits` by name, see the protocol; `server_time_ms`: since 1970, UTC."""

    session: str
    epoch: UUID
    head: int
    floor: int
    role: str
    limits: Mapping[str, int]
    server_time_ms: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last frame of a server that closes because of what the client did; the close code follows. `retry_after`:
    seconds to stay away, where it says so."""

    code: str
    message: str
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Renew:
    """A new token for this session."""

    token: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the client should know. `value`: "true" or "false" for `READ_ONLY`, the new role for `ROLE`."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Ping:
    """To be answered with a `Pong` of the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a `Ping`."""

    number: int


@dataclass(frozen=True, slots=True)
class Page:
    """The log in (from_seq, to_seq], merged per issue. `body`: see `crdt.native_entries`, zlib if `is_packed`."""

    from_seq: int
    to_seq: int
    head: int
    is_packed: bool
    body: bytes


@dataclass(frozen=True, slots=True)
class Reset:
    """The log alone cannot bring this client up to date: a reload of every issue changed after `since` follows, and at
    its end the cursor is `base`."""

    reason: str
    epoch: UUID
    base: int
    since: int


@dataclass(frozen=True, slots=True)
class Reload:
    """Issues with ids in (after, until] in id order, each whole. `until` None: that was the last page."""

    base: int
    after: UUID | None
    until: UUID | None
    is_packed: bool
    body: bytes


@dataclass(frozen=True, slots=True)
class Follow:
    """Tell me how conflicts change: after number `since` of `epoch`; 0: what is open, and then how it changes. Only a
    server that announces `conflict_rows` knows this frame."""

    epoch: UUID
    since: int


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Conflicts whose newest change is in (from_change, to_change], as they are. From 0: they take the place of all
    that was told before. `body`: see `crdt.native_entries`, zlib if `is_packed`."""

    epoch: UUID
    from_change: int
    to_change: int
    newest: int
    is_packed: bool
    body: bytes


@dataclass(frozen=True, slots=True)
class Open:
    """Be in an issue: `State` answers, then `Delta` and `Awareness` as they happen. None: I have nothing of it."""

    issue: UUID
    state_vector: bytes | None


@dataclass(frozen=True, slots=True)
class Close:
    """Be in an issue no longer."""

    issue: UUID


@dataclass(frozen=True, slots=True)
class State:
    """What the state vector of an `Open` lacked."""

    issue: UUID
    update: bytes


@dataclass(frozen=True, slots=True)
class Delta:
    """What was just committed to an open issue."""

    issue: UUID
    update: bytes


@dataclass(frozen=True, slots=True)
class Awareness:
    """Presence in an open issue: an awareness update of y-protocols."""

    issue: UUID
    update: bytes


@dataclass(frozen=True, slots=True)
class Want:
    """What was pushed rests on something the server has not got: push everything beyond `state_vector`."""

    issue: UUID
    state_vector: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The server closed an open issue; the socket stays. With `RETRY` or `INTERNAL` it may be opened again."""

    issue: UUID
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class PushEntry:
    """One edit. `client_seq` grows within a client; it names the edit in the answer and is never reused."""

    client_seq: int
    issue: UUID
    update: bytes


@dataclass(frozen=True, slots=True)
class Push:
    """Edits, in order."""

    entries: tuple[PushEntry, ...]


@dataclass(frozen=True, slots=True)
class Ack:
    """(client_seq, seq) of edits whose content is committed at `seq` or below."""

    acked: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Nack:
    """An edit that was not taken. `retry_after`: with `TOO_FAST`, in how many seconds it may come again."""

    client_seq: int
    code: str
    message: str
    retry_after: int | None = None


ClientFrame: TypeAlias = Hello | Renew | Ping | Pong | Follow | Open | Close | Awareness | Push
_FeedFrame: TypeAlias = Page | Reset | Reload | Conflicts
_IssueFrame: TypeAlias = State | Delta | Awareness | Want | Closed
ServerFrame: TypeAlias = Welcome | Refusal | Notice | Ping | Pong | _FeedFrame | _IssueFrame | Ack | Nack
Frame: TypeAlias = ClientFrame | ServerFrame
