"""Moments of a log as people write them: a seq, or a time."""

from __future__ import annotations

from datetime import UTC, datetime


def parse_moment(text: str) -> int | datetime:
    """`1234` as a seq, anything else as a time; without an offset it is UTC. Raises ValueError."""
    if text.isascii() and text.isdigit():
        return int(text)
    at = datetime.fromisoformat(text)
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError("out of range") from None
