"""Dates as other programs write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from server.portability.imported import BadRow

_MAX_CHARS: Final = 80
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# `Date.prototype.toString`, with the name of the zone behind it.
_JAVASCRIPT: Final = re.compile(r"\w{3} (\w{3} \d{2} \d{4} \d{2}:\d{2}:\d{2}) GMT([+-]\d{4})(?: \(.*\))?")
_FORMATS: Final = (
    "%d/%b/%y %I:%M %p",  # Jira's default
    "%d/%b/%Y %I:%M %p",
    "%d/%b/%y %H:%M",
    "%d/%b/%Y %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%a, %d %b %Y %H:%M:%S %z",
    "%Y-%m-%dT%H:%M:%S.%f%z",  # an offset without a colon
)


def moment_of(value: object) -> datetime | None:
    """A date in UTC; a number is milliseconds since 1970, as `Date.now` has it. Without a zone it is UTC already. Empty
    is None. Raises `BadRow`."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _EPOCH + timedelta(milliseconds=value)
        if isinstance(value, str) and len(value) <= _MAX_CHARS:
            return _utc(_parsed(value.strip()))
    except (ValueError, OverflowError):
        pass
    raise BadRow("a date in a form that is not known")


def _parsed(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    written = _JAVASCRIPT.fullmatch(text)
    if written is not None:
        return datetime.strptime(" ".join(written.groups()), "%b %d %Y %H:%M:%S %z")
    for form in _FORMATS:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007 - without a zone it is UTC
        except ValueError:
            continue
    raise ValueError("unknown form")


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
