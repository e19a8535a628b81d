"""Where a handshake may carry a token."""

from __future__ import annotations

from server.websocket import Handshake


def presented_token(handshake: Handshake) -> str:
    """From `?token=`, which is all a browser can send, or from `Authorization: Bearer`; empty without either."""
    scheme, _, credentials = handshake.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return handshake.query.get("token", "")
