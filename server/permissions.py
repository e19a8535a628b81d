"""Who somebody is and what they may do. Pure: tokens are `auth`'s business, enforcement the room's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """What a token grants in its workspace."""

    VIEWER = "viewer"  # reads, is seen in presence
    MEMBER = "member"  # edits
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Identity:
    """The user behind a session, as a verified token says. `expires_at` is UTC; None: does not expire."""

    user_id: str
    workspace: str
    role: Role
    device_id: str | None = None
    expires_at: datetime | None = None


def may_edit(identity: Identity) -> bool:
    """Whether updates that say something new are accepted from this user."""
    return identity.role is not Role.VIEWER
