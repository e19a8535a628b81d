"""Sockets as the doors see them: whole binary messages in, frames out, one place that knows the library.

`connection` is the seam; `picows` and `asgi` are its two implementations.
"""

from server.websocket.connection import Connection, Door, Handshake, PacedConnection, Peer, Route, SocketLimits

__all__ = ["Connection", "Door", "Handshake", "PacedConnection", "Peer", "Route", "SocketLimits"]
