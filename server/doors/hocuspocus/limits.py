"""Bounds of the Hocuspocus door. Every one is a setting; bytes and seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from server.doors.edit_pace import EditPace


@dataclass(frozen=True, slots=True)
class HocuspocusLimits:
    """Bounds of one socket. `waiting`: what arrives before its issue is open, `unauthenticated`: before its token."""

    max_documents: int = 1_000
    max_unauthenticated_documents: int = 100
    max_unauthenticated_messages: int = 1_000
    max_unauthenticated_bytes: int = 1024 * 1024
    max_waiting_messages: int = 1_000
    max_waiting_bytes: int = 20 * 1024 * 1024
    max_buffered_bytes: int = 1024 * 1024
    authentication_timeout: float = 30.0
    behind_timeout: float = 30.0
    keep_alive_seconds: float = 20.0
    edits: EditPace = field(default_factory=EditPace)
    # How long before its token runs out a client is asked for another one.
    token_refresh_seconds: float = 60.0
    # Between two attempts to open an issue that could not be opened, and between two token requests to a client that
    # goes on talking after its token ran out.
    first_retry_seconds: float = 0.25
    longest_retry_seconds: float = 30.0
