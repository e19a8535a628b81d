"""Peers that set fields without knowing of each other, and what the ledger says of it."""

from __future__ import annotations

from datetime import datetime

from pycrdt import Map

from server.permissions import Identity, Role
from server.session import Session
from storage.conflicts import Conflict, ConflictQuery
from tests.server.house import DIALECT, House, Peer


def on(device: str, user: str, client: int) -> Peer:
    """A peer whose token names its device."""
    peer = Peer(user, client=client)
    peer.session = Session(Identity(user, "main", Role.MEMBER, device), peer.wire, DIALECT, user)
    return peer


def setting(peer: Peer, value: object, key: str = "status", at: datetime | None = None) -> bytes:
    """The update that sets a field, with a stamp where `at` is given."""
    before = peer.doc.get_state()
    with peer.doc.transaction():
        peer.fields[key] = value
        if at is not None:
            stamp = {"at": at.isoformat(), "by": peer.session.identity.user_id, "device": "stamped"}
            peer.doc.get("stamps", type=Map)[key] = stamp
    return peer.doc.get_update(before)


async def ledger(house: House) -> list[Conflict]:
    return await house.store.ledger.page(house.workspace.id, ConflictQuery())
