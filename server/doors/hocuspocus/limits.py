"""Bounds of the Hocuspocus door. Every one is a setting; bytes and seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HocuspocusLimits:
    """Bounds of one socket. `waiting`: what arrives before its issue is open, `unauthenticated`: before its token."""

    max_documents: int = 1_000
    max_unauthenticated_documents: int = 100
    max_unauthenticated_messages: int = 1_000
    max_unauthenticated_bytes: int = 5 * 1024 * 1024
    max_waiting_messages: int = 1_000
    max_waiting_bytes: int = 20 * 1024 * 1024
    max_buffered_bytes: int = 1024 * 1024
    authentication_timeout: float = 30.0
    behind_timeout: float = 30.0
    keep_alive_seconds: float = 20.0
    # How much later a socket is read from whose user owes edits (`Visit.edited`); who owes more than the second is
    # closed.
    edit_delay_seconds: float = 1.0
    edit_debt_seconds: float = 10.0
    # How long before its token runs out a client is asked for another one.
    token_refresh_seconds: float = 60.0
    # Between two attempts to open an issue that could not be opened, and between two token requests to a client that
    # goes on talking after its token ran out.
    first_retry_seconds: float = 0.25
    longest_retry_seconds: float = 30.0
