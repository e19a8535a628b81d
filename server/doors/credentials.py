"""What a handshake or a request says of who is there: see `Credentials.of`. The token is empty where there is none."""

from __future__ import annotations

from starlette.requests import Request

from server.auth import Credentials
from server.websocket import Handshake


def presented(handshake: Handshake) -> Credentials:
    """Of a WebSocket."""
    return Credentials.of(handshake.headers, handshake.query, handshake.client)


def presented_by(request: Request) -> Credentials:
    """Of an HTTP request."""
    client = request.client
    address = "" if client is None else f"{client.host}:{client.port}"
    return Credentials.of(request.headers, request.query_params, address)
