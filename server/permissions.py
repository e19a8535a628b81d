"""Who somebody is and what they may do. Pure: tokens are `auth`'s business, enforcement the doors' and the room's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from crdt.records import Mandate


class Role(StrEnum):
    """What somebody is in a workspace, the least first; an agent may what a member may, for the user it acts for."""

    VIEWER = "viewer"  # reads, is seen in presence
    COMMENTER = "commenter"  # and adds and edits comments of their own
    AGENT = "agent"
    MEMBER = "member"  # and edits
    ADMIN = "admin"  # and manages members and devices, deletes for good, restores, exports
    OWNER = "owner"  # and says who is an owner


_RANKS: Final = {
    Role.VIEWER: 0,
    Role.COMMENTER: 1,
    Role.AGENT: 2,
    Role.MEMBER: 2,
    Role.ADMIN: 3,
    Role.OWNER: 4,
}


@dataclass(frozen=True, slots=True)
class Identity:
    """The user behind a session, as a verified token says. `expires_at` is UTC; None: does not expire.

    `acting_for`: the user an agent works for · `token_id`, `login_id`: of the token and of the login it came from, by
    which it is revoked.
    """

    user_id: str
    workspace: str
    role: Role
    device_id: str | None = None
    expires_at: datetime | None = None
    acting_for: str | None = None
    token_id: str | None = None
    login_id: str | None = None


def at_least(role: Role, wanted: Role) -> bool:
    """Whether `role` allows everything that `wanted` does."""
    return _RANKS[role] >= _RANKS[wanted]


def lesser(one: Role, other: Role) -> Role:
    """The one that allows less. Of an agent and a member it is the agent."""
    return min(one, other, key=lambda role: (_RANKS[role], role is not Role.AGENT))


def may_read(identity: Identity) -> bool:
    """Read issues, follow the workspace, be seen in presence."""
    return at_least(identity.role, Role.VIEWER)


def may_comment(identity: Identity) -> bool:
    """Add comments, and edit one's own."""
    return at_least(identity.role, Role.COMMENTER)


def may_edit(identity: Identity) -> bool:
    """Whether updates that say something new are accepted from this user, whatever they touch."""
    return at_least(identity.role, Role.MEMBER)


def mandate_of(identity: Identity, *, is_server: bool = False) -> Mandate:
    """What the gate holds updates of this user to. `is_server`: they are made by the server at the user's wish, and
    where that is an admin's, they may say of others what those did (an import)."""
    names = tuple(name for name in (identity.user_id, identity.acting_for) if name is not None)
    return Mandate(names, not may_edit(identity), is_server and may_administer(identity))


def may_administer(identity: Identity) -> bool:
    """See and end the devices and sessions of others."""
    return at_least(identity.role, Role.ADMIN)


def may_manage_members(identity: Identity) -> bool:
    """Add members, take them out, change their roles; which roles: `may_grant`."""
    return at_least(identity.role, Role.ADMIN)


def may_grant(identity: Identity, role: Role) -> bool:
    """Give somebody this role, or take it from them. Only owners decide about owners."""
    return may_manage_members(identity) and at_least(identity.role, role)


def may_delete(identity: Identity) -> bool:
    """Remove an issue for good. That it is marked as deleted is an edit."""
    return at_least(identity.role, Role.ADMIN)


def may_restore(identity: Identity) -> bool:
    """Replace what is there by what was there before."""
    return at_least(identity.role, Role.ADMIN)


def may_export(identity: Identity) -> bool:
    """Take the workspace out as a file, or bring one in."""
    return at_least(identity.role, Role.ADMIN)
