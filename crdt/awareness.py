"""Presence: the y-protocols awareness codec, strict and bounded, and the states of one issue with their clocks.

States are JSON, checked once on the way in; then the newest bytes of each client id are kept and passed on, never
parsed again. Time is an argument.

    update = varUint(n) • n × (varUint(client id) • varUint(clock) • varString(JSON))       `null`: the client has left
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from crdt.encoding import Reader, write_bytes, write_var_uint
from crdt.errors import MALFORMED, TOO_LARGE, Refused
from crdt.parser import depth_of

NULL: Final = b"null"

_MAX_DEPTH: Final = 64


Holder = TypeVar("Holder", bound=Hashable)


@dataclass(frozen=True, slots=True)
class AwarenessLimits:
    """Bounds on presence. Clients echo what they hear, so one update may name everybody in the room."""

    max_entries: int = 4_096  # in one update
    max_state_bytes: int = 16 * 1024  # of one client
    max_clients_per_session: int = 64  # announced by one session at a time
    max_clients: int = 4_096  # in one room, those that left lately included


class Entry(NamedTuple):
    """What an update says of one client. `state` is JSON, `NULL` for a client that has left."""

    client: int
    clock: int
    state: bytes


def decode(data: bytes, limits: AwarenessLimits) -> list[Entry]:
    """The entries of an update. Raises `Refused` on anything y-protocols would not write, or beyond the limits."""
    reader = Reader(data)
    count = reader.read_count(3)
    if count > limits.max_entries:
        raise Refused(TOO_LARGE, f"presence of {count} clients, at most {limits.max_entries}")
    entries = [Entry(reader.read_var_uint(), reader.read_var_uint(), _read_state(reader, limits)) for _ in range(count)]
    reader.expect_end()
    return entries


def encode(entries: Sequence[Entry]) -> bytes:
    """An update that says `entries`."""
    out = bytearray()
    write_var_uint(out, len(entries))
    for entry in entries:
        write_var_uint(out, entry.client)
        write_var_uint(out, entry.clock)
        write_bytes(out, entry.state)
    return bytes(out)


def _read_state(reader: Reader, limits: AwarenessLimits) -> bytes:
    state = reader.read_bytes()
    if len(state) > limits.max_state_bytes:
        raise Refused(TOO_LARGE, f"presence of {len(state)} bytes, at most {limits.max_state_bytes}")
    if state == NULL:
        return state
    try:
        # Every peer hands it to `JSON.parse`, which would throw in all of them.
        value = json.loads(state.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refused(MALFORMED, "presence is not JSON") from None
    if state.count(b"[") + state.count(b"{") > _MAX_DEPTH and depth_of(value) > _MAX_DEPTH:
        raise Refused(TOO_LARGE, f"presence nested more than {_MAX_DEPTH} deep")
    return state


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def signed(state: bytes, user: str, role: str) -> bytes:
    """A state with who it is from, as the server knows it: in `syncline`, and as `id` of what editors keep in `user`.
    What it says of that itself is overwritten. One that is no object says nothing of anybody, and stays as it is."""
    said = json.loads(state)
    if not isinstance(said, dict):
        return state
    said["syncline"] = {"user": user, "role": role}
    shown = said.get("user")
    if isinstance(shown, dict):
        shown["id"] = user
    return json.dumps(said, separators=(",", ":")).encode()


class _Client(Generic[Holder]):
    """The newest word of one client. `holder`: the session that announced it, None once it has left."""

    __slots__ = ("clock", "heard_at", "holder", "state", "user")

    def __init__(self, entry: Entry, holder: Holder, user: str, now: float) -> None:
        self.clock = entry.clock
        self.state = entry.state
        self.holder: Holder | None = holder
        self.user = user
        self.heard_at = now


@dataclass(frozen=True, slots=True)
class Heard:
    """What an update changed. `changed`: clients to tell everybody about · `outdated`: clients that left with a clock
    the sender has not passed; told so, its client moves its clock on and announces itself again."""

    changed: Sequence[int]
    outdated: Sequence[int]


class States(Generic[Holder]):
    """Everybody's presence in one issue. `Holder` stands for a session; a client id is bound to the one that announced
    it last, and only sessions of the same user may take it over. Whoever else names it is not heard: honest clients
    echo and time out each other's states, hostile ones forge them. `users`: whose a client id is."""

    __slots__ = ("_by_holder", "_clients", "_limits", "users")

    def __init__(self, limits: AwarenessLimits) -> None:
        self._limits = limits
        self._clients: dict[int, _Client[Holder]] = {}
        self._by_holder: dict[Holder, dict[int, None]] = {}
        self.users: dict[int, str] = {}

    def __len__(self) -> int:
        """Clients remembered, those that left lately included."""
        return len(self._clients)

    def hear(
        self,
        entries: Iterable[Entry],
        holder: Holder,
        user: str,
        now: float,
        sign: Callable[[bytes], bytes] = bytes,
    ) -> Heard:
        """Take in what a session of `user` says. A first state is taken at any clock, later ones when it is newer; what
        is taken is kept as `sign` returns it."""
        changed: list[int] = []
        outdated: list[int] = []
        for entry in entries:
            known = self._clients.get(entry.client)
            if known is None:
                if self._welcome(entry, holder, user, now, sign):
                    changed.append(entry.client)
            elif known.user != user:
                continue
            elif self._is_news(entry, known, holder):
                self._update(entry, known, holder, now, sign)
                changed.append(entry.client)
            elif known.holder is None and entry.state != NULL:
                outdated.append(entry.client)
        return Heard(changed, outdated)

    def leave(self, holder: Holder) -> list[int]:
        """Its session has ended: every client it announced leaves. Returns them."""
        left = list(self._by_holder.get(holder, ()))
        for client in left:
            self._remove(client, self._clients[client])
        return left

    def expire(self, now: float, timeout: float) -> list[int]:
        """Remove clients not heard of for `timeout` seconds (honest ones renew every 15) and return them; forget those
        that left as long ago."""
        expired: list[int] = []
        for client, known in list(self._clients.items()):
            if now - known.heard_at < timeout:
                continue
            if known.holder is None:
                del self._clients[client]
                del self.users[client]
            else:
                self._remove(client, known)
                known.heard_at = now
                expired.append(client)
        return expired

    def encode(self, clients: Iterable[int]) -> bytes:
        """An update with the newest word of these clients; those forgotten are left out."""
        known = ((client, self._clients.get(client)) for client in clients)
        return encode([Entry(client, word.clock, word.state) for client, word in known if word is not None])

    def encode_all(self) -> bytes:
        """An update with everybody who is here, for a joiner."""
        return self.encode([client for client, word in self._clients.items() if word.holder is not None])

    def _welcome(self, entry: Entry, holder: Holder, user: str, now: float, sign: Callable[[bytes], bytes]) -> bool:
        if entry.state == NULL or not self._has_room(holder) or len(self._clients) >= self._limits.max_clients:
            return False
        self._clients[entry.client] = _Client(entry._replace(state=sign(entry.state)), holder, user, now)
        self.users[entry.client] = user
        self._by_holder.setdefault(holder, {})[entry.client] = None
        return True

    def _is_news(self, entry: Entry, known: _Client[Holder], holder: Holder) -> bool:
        if entry.state == NULL:
            # Only its own session says goodbye for a client, at the clock of its last word (y-protocols) or later.
            return known.holder == holder and entry.clock >= known.clock
        return entry.clock > known.clock and (known.holder == holder or self._has_room(holder))

    def _update(
        self, entry: Entry, known: _Client[Holder], holder: Holder, now: float, sign: Callable[[bytes], bytes]
    ) -> None:
        known.clock = entry.clock
        known.heard_at = now
        if entry.state == NULL:
            self._remove(entry.client, known)
            return
        known.state = sign(entry.state)
        if known.holder != holder:
            self._release(entry.client, known)
            known.holder = holder
            self._by_holder.setdefault(holder, {})[entry.client] = None

    def _remove(self, client: int, known: _Client[Holder]) -> None:
        """Its clock stays, so that echoes of what it said before do not bring it back."""
        self._release(client, known)
        known.state = NULL

    def _release(self, client: int, known: _Client[Holder]) -> None:
        if known.holder is not None:
            held = self._by_holder[known.holder]
            del held[client]
            if not held:
                del self._by_holder[known.holder]
            known.holder = None

    def _has_room(self, holder: Holder) -> bool:
        return len(self._by_holder.get(holder, ())) < self._limits.max_clients_per_session
