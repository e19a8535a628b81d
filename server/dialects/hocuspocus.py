"""The Hocuspocus dialect, sans-IO: many documents a socket, frames of `varString(address) • varUint(type) • payload`.

The address is the document's name, or `name\\0session` of a session-aware provider; answers carry it verbatim.

    0 sync            sync message of y-protocols                      both ways
    1 awareness       varUint8Array(awareness update)                  both ways
    2 auth            0 • varString(token) [• varString(version)]      from the client; the version from 4.x on
                      0                                                from the server: send a token; 2.x does not
                      1 • varString(reason)                            from the server: denied
                      2 • varString("read-write" | "readonly")         from the server: authenticated
    3 queryAwareness  nothing                                          from the client, not answered
    5 stateless       varString                                        both ways
    7 close           nothing                                          from the client
                      varString(reason)                                from the server; 2.x throws
    8 syncStatus      varUint(1 stored | 0 refused)                    from the server
    9 ping            the whole frame, no address                      from the server; from 4.x on
    10 pong           the whole frame, no address                      from the client

What follows the address of a sync or awareness frame is, byte for byte, a frame of y-websocket.
Source: @hocuspocus/provider 2.15.3, 3.4.4, 4.8.0 and the bytes of @hocuspocus/server 4.7.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from crdt.encoding import Reader, write_string
from crdt.errors import MALFORMED, TOO_LARGE, Refused
from server.dialects import y_websocket

AUTH: Final = 2
STATELESS: Final = 5
CLOSE: Final = 7
SYNC_STATUS: Final = 8
PONG: Final = 10

TOKEN: Final = 0
DENIED: Final = 1
AUTHENTICATED: Final = 2

# Of the format: our slugs and ids, tokens and versions are shorter.
MAX_ADDRESS_BYTES: Final = 512
MAX_TOKEN_BYTES: Final = 16 * 1024
MAX_VERSION_BYTES: Final = 64

STORED: Final = bytes((SYNC_STATUS, 1))
REFUSED: Final = bytes((SYNC_STATUS, 0))
TOKEN_REQUEST: Final = bytes((AUTH, TOKEN))
PING: Final = b"\x09"
SESSION_SEPARATOR: Final = "\0"


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Who the peer says it is. `version`: as the provider writes it, None before 4."""

    token: str
    version: str | None


@dataclass(frozen=True, slots=True)
class Stateless:
    """A message of the application's own."""

    payload: str


@dataclass(frozen=True, slots=True)
class Leave:
    """The peer is done with this document; its socket stays."""


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping. It has no address."""


Event = y_websocket.Event | Authenticate | Stateless | Leave


class Envelope(NamedTuple):
    """`header`: the address as it was sent, its length in front: what every answer starts with."""

    header: bytes
    frame: bytes


def split(message: bytes) -> Envelope | Pong:
    """A message as address and frame, neither of them judged yet. Raises `Refused` when there is no address."""
    if message == bytes((PONG,)):
        return Pong()
    reader = Reader(message)
    length = reader.read_var_uint()
    if length > MAX_ADDRESS_BYTES:
        raise Refused(TOO_LARGE, f"address of {length} bytes, at most {MAX_ADDRESS_BYTES}")
    reader.skip(length)
    return Envelope(message[: reader.pos], message[reader.pos :])


def name_of(header: bytes) -> str:
    """The document's name, without a session. Raises `Refused` unless it is UTF-8."""
    return Reader(header).read_string().partition(SESSION_SEPARATOR)[0]


def header(address: str) -> bytes:
    """What a message for `address` starts with."""
    out = bytearray()
    write_string(out, address)
    return bytes(out)


def decode(frame: bytes) -> Event:
    """What a client says in a frame. Raises `Refused` on anything that is not exactly one."""
    reader = Reader(frame)
    match reader.read_byte():
        case y_websocket.SYNC | y_websocket.AWARENESS | y_websocket.QUERY_AWARENESS:
            return y_websocket.decode(frame)
        case 2:  # AUTH
            return _read_token(reader)
        case 5:  # STATELESS
            payload = reader.read_string()
            reader.expect_end()
            return Stateless(payload)
        case 7:  # CLOSE
            reader.expect_end()
            return Leave()
        case _:
            raise Refused(MALFORMED, "not a message for a server")


def provider_major(version: str | None) -> int | None:
    """`"4.8.0"` → 4. None when there is no telling, which is how providers before 4 look."""
    major = (version or "").partition(".")[0]
    return int(major) if major.isascii() and major.isdigit() and len(major) <= 4 else None


def denied(reason: str) -> bytes:
    """Permission denied: the end of this document that every provider understands."""
    return _text(bytes((AUTH, DENIED)), reason)


def authenticated(*, may_write: bool) -> bytes:
    """The token was accepted."""
    return _text(bytes((AUTH, AUTHENTICATED)), "read-write" if may_write else "readonly")


def stateless(payload: str) -> bytes:
    """A message to the application behind the provider."""
    return _text(bytes((STATELESS,)), payload)


def close(reason: str) -> bytes:
    """The end of this document. A 2.x provider throws on it."""
    return _text(bytes((CLOSE,)), reason)


def _read_token(reader: Reader) -> Authenticate:
    if reader.read_byte() != TOKEN:
        raise Refused(MALFORMED, "only a token is expected from a client")
    token = _read_short(reader, MAX_TOKEN_BYTES)
    version = None if reader.at_end() else _read_short(reader, MAX_VERSION_BYTES)
    reader.expect_end()
    return Authenticate(token, version)


def _read_short(reader: Reader, max_bytes: int) -> str:
    text = reader.read_string()
    if len(text) > max_bytes:
        raise Refused(TOO_LARGE, f"text of more than {max_bytes} bytes")
    return text


def _text(start: bytes, text: str) -> bytes:
    out = bytearray(start)
    write_string(out, text)
    return bytes(out)
