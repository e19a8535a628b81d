"""The codec of the native protocol: frames ⇄ msgpack arrays that begin with a type code.

Strict and bounded: a frame is exactly one array with exactly its fields, and nothing is allocated on the word of a
length. Whatever else comes is `Refused`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias, TypeVar
from uuid import UUID

import msgpack  # type: ignore[import-untyped]

from crdt.errors import MALFORMED, TOO_LARGE, Refused
from crdt.frame_reader import FrameReader
from crdt.native import (
    MODES,
    Ack,
    Awareness,
    ClientFrame,
    Close,
    Closed,
    Conflicts,
    Delta,
    Follow,
    Frame,
    Hello,
    Nack,
    Notice,
    Open,
    Page,
    Ping,
    Pong,
    Push,
    PushEntry,
    Refusal,
    Reload,
    ReloadPoint,
    Renew,
    Reset,
    ServerFrame,
    State,
    Want,
    Welcome,
)

MAX_TOKEN_CHARS: Final = 8_192
MAX_NAME_CHARS: Final = 200
MAX_TEXT_CHARS: Final = 1_000
MAX_STATE_VECTOR_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """Bounds of a decoder. `max_entries`: edits in one push, answers in one ack."""

    max_frame_bytes: int = 256 * 1024 * 1024
    max_entries: int = 100_000


DEFAULT_LIMITS: Final = FrameLimits()


SomeFrame = TypeVar("SomeFrame")

Read: TypeAlias = Callable[[FrameReader, FrameLimits], SomeFrame]


def encode(frame: Frame) -> bytes:
    """A frame as bytes."""
    packed: bytes = msgpack.packb(_values(frame))
    return packed


def decode_client(data: bytes, limits: FrameLimits = DEFAULT_LIMITS) -> ClientFrame:
    """A frame from a client. Raises `Refused`."""
    return _decode(data, limits, _FROM_CLIENT)


def decode_server(data: bytes, limits: FrameLimits = DEFAULT_LIMITS) -> ServerFrame:
    """A frame from a server. Raises `Refused`."""
    return _decode(data, limits, _FROM_SERVER)


def _values(frame: Frame) -> list[object]:
    code = _CODES[type(frame)]
    match frame:
        case Push(entries):
            return [code, [[entry.client_seq, entry.issue.bytes, entry.update] for entry in entries]]
        case Welcome():
            limits = dict(frame.limits)
            counts = [frame.head, frame.floor, frame.role, limits, frame.server_time_ms]
            return [code, frame.session, frame.epoch.bytes, *counts]
        case Hello():
            point = frame.reload
            reload = None if point is None else [point.base, point.since, _plain(point.after)]
            place = [_plain(frame.epoch), frame.cursor, reload]
            return [code, frame.token, frame.client, frame.device_id, frame.mode, *place]
        case _:
            return [code, *(_plain(getattr(frame, name)) for name in frame.__slots__)]


def _plain(value: object) -> object:
    return value.bytes if isinstance(value, UUID) else value


def _decode(data: bytes, limits: FrameLimits, known: Mapping[int, tuple[int, Read[SomeFrame]]]) -> SomeFrame:
    if len(data) > limits.max_frame_bytes:
        raise Refused(TOO_LARGE, f"a frame of {len(data)} bytes, at most {limits.max_frame_bytes}")
    reader = FrameReader(data)
    size = reader.array(_MAX_FIELDS)
    code = reader.uint() if size else -1
    if code not in known:
        raise Refused(MALFORMED, "unknown frame")
    fields, read = known[code]
    if size != fields + 1:
        raise Refused(MALFORMED, "wrong number of fields")
    frame = read(reader, limits)
    reader.expect_end()
    return frame


def _hello(reader: FrameReader, _: FrameLimits) -> Hello:
    token, client = reader.text(MAX_TOKEN_CHARS), reader.text(MAX_NAME_CHARS)
    device_id = reader.optional(lambda: reader.text(MAX_NAME_CHARS))
    mode = reader.text(MAX_NAME_CHARS)
    epoch, cursor = reader.optional(reader.uuid), reader.optional(reader.uint)
    reload = reader.optional(lambda: _reload_point(reader))
    if mode not in MODES:
        raise Refused(MALFORMED, "unknown mode")
    if (epoch is None) != (cursor is None and reload is None):
        raise Refused(MALFORMED, "a cursor needs its epoch")
    return Hello(token, client, device_id, mode, epoch, cursor, reload)


def _reload_point(reader: FrameReader) -> ReloadPoint:
    reader.fields(3)
    return ReloadPoint(reader.uint(), reader.uint(), reader.optional(reader.uuid))


def _welcome(reader: FrameReader, _: FrameLimits) -> Welcome:
    session, epoch = reader.text(MAX_NAME_CHARS), reader.uuid()
    head, floor, role = reader.uint(), reader.uint(), reader.text(MAX_NAME_CHARS)
    return Welcome(session, epoch, head, floor, role, reader.counts(100, MAX_NAME_CHARS), reader.uint())


def _push(reader: FrameReader, limits: FrameLimits) -> Push:
    return Push(tuple([_push_entry(reader, limits) for _ in range(reader.array(limits.max_entries))]))


def _push_entry(reader: FrameReader, limits: FrameLimits) -> PushEntry:
    reader.fields(3)
    return PushEntry(reader.uint(), reader.uuid(), reader.binary(limits.max_frame_bytes))


def _refusal(reader: FrameReader, _: FrameLimits) -> Refusal:
    return Refusal(reader.text(MAX_NAME_CHARS), reader.text(MAX_TEXT_CHARS), reader.optional(reader.uint))


def _nack(reader: FrameReader, _: FrameLimits) -> Nack:
    number, code, message = reader.uint(), reader.text(MAX_NAME_CHARS), reader.text(MAX_TEXT_CHARS)
    return Nack(number, code, message, reader.optional(reader.uint))


def _ack(reader: FrameReader, limits: FrameLimits) -> Ack:
    return Ack(tuple([_pair(reader) for _ in range(reader.array(limits.max_entries))]))


def _pair(reader: FrameReader) -> tuple[int, int]:
    reader.fields(2)
    return reader.uint(), reader.uint()


def _open(reader: FrameReader, _: FrameLimits) -> Open:
    return Open(reader.uuid(), reader.optional(lambda: reader.binary(MAX_STATE_VECTOR_BYTES)))


def _page(reader: FrameReader, limits: FrameLimits) -> Page:
    first, last, head = reader.uint(), reader.uint(), reader.uint()
    if not first <= last <= head:
        raise Refused(MALFORMED, "a page out of order")
    return Page(first, last, head, reader.flag(), reader.binary(limits.max_frame_bytes))


def _conflicts(reader: FrameReader, limits: FrameLimits) -> Conflicts:
    epoch = reader.uuid()
    first, last, newest = reader.uint(), reader.uint(), reader.uint()
    if not first <= last <= newest:
        raise Refused(MALFORMED, "conflicts out of order")
    return Conflicts(epoch, first, last, newest, reader.flag(), reader.binary(limits.max_frame_bytes))


def _reload(reader: FrameReader, limits: FrameLimits) -> Reload:
    base, after, until = reader.uint(), reader.optional(reader.uuid), reader.optional(reader.uuid)
    return Reload(base, after, until, reader.flag(), reader.binary(limits.max_frame_bytes))


_CODES: Final[Mapping[type, int]] = MappingProxyType(
    {
        Hello: 1,
        Welcome: 2,
        Refusal: 3,
        Renew: 4,
        Notice: 5,
        Ping: 6,
        Pong: 7,
        Page: 16,
        Reset: 17,
        Reload: 18,
        Follow: 19,
        Conflicts: 20,
        Open: 32,
        Close: 33,
        State: 34,
        Delta: 35,
        Awareness: 36,
        Want: 37,
        Closed: 38,
        Push: 48,
        Ack: 49,
        Nack: 50,
    }
)
_MAX_FIELDS: Final = 8

# By code: how many fields follow it, and what reads them in order.
_FROM_BOTH: Final[Mapping[int, tuple[int, Read[Ping | Pong | Awareness]]]] = MappingProxyType(
    {
        6: (1, lambda reader, _: Ping(reader.uint())),
        7: (1, lambda reader, _: Pong(reader.uint())),
        36: (2, lambda reader, limits: Awareness(reader.uuid(), reader.binary(limits.max_frame_bytes))),
    }
)
_FROM_CLIENT: Final[Mapping[int, tuple[int, Read[ClientFrame]]]] = MappingProxyType(
    {
        **_FROM_BOTH,
        1: (7, _hello),
        4: (1, lambda reader, _: Renew(reader.text(MAX_TOKEN_CHARS))),
        19: (2, lambda reader, _: Follow(reader.uuid(), reader.uint())),
        32: (2, _open),
        33: (1, lambda reader, _: Close(reader.uuid())),
        48: (1, _push),
    }
)
_FROM_SERVER: Final[Mapping[int, tuple[int, Read[ServerFrame]]]] = MappingProxyType(
    {
        **_FROM_BOTH,
        2: (7, _welcome),
        3: (3, _refusal),
        5: (2, lambda reader, _: Notice(reader.text(MAX_NAME_CHARS), reader.text(MAX_TEXT_CHARS))),
        16: (5, _page),
        17: (4, lambda reader, _: Reset(reader.text(MAX_NAME_CHARS), reader.uuid(), reader.uint(), reader.uint())),
        18: (5, _reload),
        20: (6, _conflicts),
        34: (2, lambda reader, limits: State(reader.uuid(), reader.binary(limits.max_frame_bytes))),
        35: (2, lambda reader, limits: Delta(reader.uuid(), reader.binary(limits.max_frame_bytes))),
        37: (2, lambda reader, _: Want(reader.uuid(), reader.binary(MAX_STATE_VECTOR_BYTES))),
        38: (3, lambda reader, _: Closed(reader.uuid(), reader.text(MAX_NAME_CHARS), reader.text(MAX_TEXT_CHARS))),
        49: (1, _ack),
        50: (4, _nack),
    }
)
