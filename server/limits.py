"""Bounds of rooms and hubs. Every one is a setting; bytes and seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from crdt.awareness import AwarenessLimits
from crdt.records import Limits


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """Bounds of one room and the sessions in it."""

    max_sessions: int = 1_000
    # Received and not committed yet; above it the room stops reading from the sessions that send.
    max_waiting_bytes: int = 4 * 1024 * 1024
    # Sent and not taken by the reader's kernel yet; above it the session is behind. Not below the connection's high
    # water: only above that is `drained` certain to follow.
    max_buffered_bytes: int = 1024 * 1024
    behind_timeout: float = 30.0
    presence_timeout: float = 30.0
    # What is more is checked, merged and diffed by an engine. Merging 266 kB took 5.9 ms, the loop's turn is 2. An item
    # is a struct, a range or a value: a thousand take the gate up to half a millisecond, a text of any length none.
    max_inline_bytes: int = 128 * 1024
    max_inline_update_bytes: int = 64 * 1024
    max_inline_update_items: int = 1_000
    engine_timeout: float = 20.0
    # On a gap: how long to wait for what other nodes committed, then how long for the peer before asking it again.
    catch_up_timeout: float = 2.0
    ask_timeout: float = 2.0
    max_ask_timeout: float = 60.0
    # When the appender's queue is full: how often to try again, and for how long.
    overload_pause: float = 0.05
    overload_timeout: float = 10.0
    # A room that seems full is opened anew, if it grew for so long.
    reopen_seconds: float = 60.0
    # How much later than it came in an edit may claim to have been written.
    max_clock_lead: float = 60.0
    update: Limits = field(default_factory=Limits)
    awareness: AwarenessLimits = field(default_factory=AwarenessLimits)


@dataclass(frozen=True, slots=True)
class HubLimits:
    """Bounds of all rooms of one node. `max_resident_bytes` counts the updates that rooms hold; idle ones make room."""

    max_rooms: int = 20_000
    max_resident_bytes: int = 512 * 1024 * 1024
    idle_timeout: float = 60.0
    load_timeout: float = 10.0
    max_workspace_issues: int = 1_000_000
    sweep_interval: float = 3.0
    room: RoomLimits = field(default_factory=RoomLimits)


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """How the log of other nodes is followed. `page` is in deltas."""

    interval: float = 0.25
    max_backoff: float = 5.0
    page: int = 500
    timeout: float = 10.0
