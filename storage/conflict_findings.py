"""What the gate finds in bytes, as the ledger keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from crdt.beginnings import BEGINNING
from crdt.field_writes import DELETED_AT, read_any
from crdt.records import NOBODY, Arrival, FieldWrite, Overwrite
from crdt.shape import FIELD_KEYS
from storage.conflicts import CREATE_CREATE, UPDATE_DELETE, UPDATE_UPDATE, NewConflict, Side
from storage.store import Delta

FIELD_NAMES: Final = {key: name for name, key in FIELD_KEYS.items()}  # as a record calls what a document holds
_MAX_CLOCK_CHARS: Final = 40
_MAX_NAME_CHARS: Final = 200


def conflicts_of(overwrites: Iterable[Overwrite], max_lead: timedelta) -> list[NewConflict]:
    """Both sides of each. No writer's clock counts as later than its edit came in and `max_lead` more."""
    return [
        NewConflict(
            CREATE_CREATE if found.key == BEGINNING else UPDATE_UPDATE,
            FIELD_NAMES.get(found.key, ""),
            side_of(found.standing, max_lead),
            side_of(found.losing, max_lead),
            supersedes=None if found.replaced[0] == NOBODY else key_of(*found.replaced),
        )
        for found in overwrites
    ]


def under_deletion(
    deletion: FieldWrite, told: Mapping[str, object], by: str, device: str | None, at: datetime, max_lead: timedelta
) -> NewConflict:
    """An edit, received `at`, whose author had not heard of a deletion. Each of them is told of once a deletion."""
    standing = side_of(deletion, max_lead)
    losing = Side(f"{by} {device or ''} under {standing.key}", told, by, device, at)
    return NewConflict(UPDATE_DELETE, FIELD_NAMES[DELETED_AT], standing, losing)


def before_deletion(deletion: FieldWrite, told: Mapping[str, object], by: str, max_lead: timedelta) -> NewConflict:
    """Edits of somebody of which whoever deleted the issue had not heard."""
    standing = side_of(deletion, max_lead)
    losing = Side(f"{by} before {standing.key}", told, by)
    return NewConflict(UPDATE_DELETE, FIELD_NAMES[DELETED_AT], standing, losing)


def side_of(write: FieldWrite, max_lead: timedelta) -> Side:
    """A value as the ledger names it. The device is the one of the session, else what the writer says."""
    stamp = read_any(write.stamp)
    device = stamp.get("device") if isinstance(stamp, dict) else None
    claimed = device if isinstance(device, str) and len(device) <= _MAX_NAME_CHARS and "\0" not in device else None
    return Side(
        key_of(write.client, write.clock),
        read_any(write.value),
        write.actor,
        write.device or claimed or None,
        clock_of(write, max_lead),
    )


def clock_of(write: FieldWrite, max_lead: timedelta) -> datetime | None:
    """When a value was written, by its writer's clock, else by the server's; None where neither is known."""
    received = datetime.fromtimestamp(write.at_ms / 1000, UTC) if write.at_ms else None
    stamp = read_any(write.stamp)
    stamped = _moment(stamp.get("at")) if isinstance(stamp, dict) else None
    if stamped is None or received is None:
        return stamped or received
    return min(stamped, received + max_lead)


def key_of(client: int, clock: int) -> str:
    """What a struct is called in the ledger."""
    return f"{client}:{clock}"


def arrivals_of(deltas: Sequence[Delta]) -> list[Arrival]:
    """From where and when logged updates came."""
    return [arrival_of(delta) for delta in deltas]


def arrival_of(delta: Delta) -> Arrival:
    """From where and when a logged update came."""
    return Arrival(delta.device_id or "", milliseconds(delta.created_at))


def milliseconds(moment: datetime) -> int:
    """Since 1970, as arrivals count."""
    return int(moment.timestamp() * 1000)


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str) or len(text) > _MAX_CLOCK_CHARS:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
