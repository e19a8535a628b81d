"""What is fuzzed: whatever reads bytes of somebody unknown. Each takes any bytes, says no by the one exception it
names, and keeps a promise about what it took."""

from __future__ import annotations

import contextlib
import io
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final
from uuid import UUID

from crdt import awareness, native_codec
from crdt.awareness import AwarenessLimits
from crdt.document import Document
from crdt.errors import Refused
from crdt.gate import check, fold
from crdt.index import Index
from crdt.jobs_outbox import Dated, MakeDated
from crdt.native import Conflicts, Follow
from crdt.native_entries import read_entries, read_row, write_body, write_entry
from crdt.records import Limits, Mandate
from crdt.resident import Resident
from crdt.shape import Author
from crdt.sync import SyncStep1, Update
from crdt.update import EMPTY_STATE_VECTOR, decode_state_vector, diff, encode_state_vector, merge
from crdt.writing import seed
from server import auth
from server.auth import Credentials, Keys, TokenRefused
from server.dialects import hocuspocus, y_websocket
from server.doors.rest import cursors
from server.doors.rest.sync_models import Malformed, SyncRequest, id_of, wanted
from server.doors.rest.tags import read_tags
from server.portability.imported import NotReadable
from server.portability.readers import Source, detect, read
from server.websocket import Handshake
from syncline import conflict_list, link, tables
from syncline.conflict import Conflict
from syncline.feed import Stale
from syncline.records import ConflictCursor, ConflictsCame
from tests.hostile import BASE

Target = Callable[[bytes], None]
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
COMMENTER: Final = Mandate(("ben",), comments_only=True, may_attribute=False)
SECRET: Final = Keys(None, "s" * 32, 366)
LIMITS: Final = AwarenessLimits()
ISSUE: Final = UUID("6c1f5a55-5b0a-4d0e-8f5e-2f1f3a1d0b11")
BEGUN: Final = seed(ISSUE, "title", "a description", ["bug"])
CLIENT: Final = 7_001
FAR: Final = 2**53 - 1


def gate(data: bytes) -> None:
    """A refused update leaves no trace; what was taken is known afterwards, and the engine digests it."""
    _judge(data, "ana", None)
    _judge(data, "ben", None)


def commenter(data: bytes) -> None:
    """The same for somebody who may only comment: an update that is taken changes nothing but comments."""
    taken = _judge(data, "ben", COMMENTER)
    if taken is not None:
        before, after = (Document.load(update) for update in (BASE, taken))
        assert [before.text(root) for root in ("t", "title")] == [after.text(root) for root in ("t", "title")]


def _judge(data: bytes, actor: str, mandate: Mandate | None) -> bytes | None:
    """The whole document where something of the update was taken."""
    index = Index()
    fold(index, BASE, "ana")
    before = index.encode()
    try:
        verdict = check(index, data, actor, Limits(), mandate)
    except Refused:
        assert index.encode() == before
        return None
    if not verdict.update:
        return None
    again = Index()
    fold(again, BASE, "ana")
    assert not fold(again, verdict.update, actor).gap
    assert again.state_vector == index.state_vector
    assert Index.decode(index.encode()).encode() == index.encode()
    whole = merge([BASE, verdict.update])
    document = Document.load(whole)
    assert document.state_vector() == dict(index.state_vector)
    document.snapshot()
    diff(whole, EMPTY_STATE_VECTOR)
    return whole


def state_vector(data: bytes) -> None:
    """What is read can be written, and says the same; a clock of 0 says nothing."""
    clocks = decode_state_vector(data)
    told = {client: clock for client, clock in clocks.items() if clock > 0}
    assert decode_state_vector(encode_state_vector(clocks)) == told


def stored_index(data: bytes) -> None:
    """An index that was damaged where it is stored is refused, or is one."""
    Index.decode(data).encode()


def presence(data: bytes) -> None:
    """What is read can be written, and says the same; and it can be signed."""
    entries = awareness.decode(data, LIMITS)
    assert awareness.decode(awareness.encode(entries), LIMITS) == entries
    for entry in entries:
        if entry.state != awareness.NULL:
            awareness.signed(entry.state, "ana", "member")


def y_websocket_message(data: bytes) -> None:
    """The short path for typing agrees with the decoder."""
    short = y_websocket.short_update(data)
    event = y_websocket.decode(data)
    if short is not None:
        assert event == Update(short)
    _follow(event)


def hocuspocus_message(data: bytes) -> None:
    """Address and frame are the whole message."""
    envelope = hocuspocus.split(data)
    if isinstance(envelope, hocuspocus.Pong):
        return
    assert envelope.header + envelope.frame == data
    hocuspocus.name_of(envelope.header)
    _follow(hocuspocus.decode(envelope.frame))


def _follow(event: object) -> None:
    if isinstance(event, SyncStep1):
        decode_state_vector(event.state_vector)
    elif isinstance(event, y_websocket.AwarenessUpdate):
        awareness.decode(event.update, LIMITS)


def native_of_client(data: bytes) -> None:
    """What is read can be written, and says the same."""
    frame = native_codec.decode_client(data)
    assert native_codec.decode_client(native_codec.encode(frame)) == frame


def native_of_server(data: bytes) -> None:
    """As the SDK reads it."""
    frame = native_codec.decode_server(data)
    assert native_codec.decode_server(native_codec.encode(frame)) == frame


def handshake(data: bytes) -> None:
    """Any request target and header is taken apart; nothing is refused here."""
    target, _, header = data.decode("latin-1").partition("\n")
    asked = Handshake.of(target, {"authorization": header, "x-device-id": header, "user-agent": header}, "")
    found = Credentials.of(asked.headers, asked.query, asked.client)
    for name in (found.device_id, found.user_agent):
        assert name is None or (len(name) <= 200 and name.isprintable())


def token(data: bytes) -> None:
    """Nothing proves anybody."""
    auth.read(data.decode("latin-1"), SECRET, NOW, timedelta(seconds=10))
    raise AssertionError("nobody signed that")


def cursor(data: bytes) -> None:
    """A cursor whose checksum is right, as anybody who has read the code can make one."""
    checksum = cursors._checksum("issues", data)
    text = urlsafe_b64encode(checksum + data).decode()
    for value in cursors.read(text, "issues", ("int8", "text", "timestamptz")):
        if isinstance(value, str):
            assert "\0" not in value
        elif isinstance(value, int):
            assert -(2**63) <= value < 2**63


def imported(data: bytes) -> None:
    """Of a file of any format every row is an item or left out with a reason."""
    for source in (*Source, detect(io.BytesIO(data))):
        try:
            for _ in read(io.BytesIO(data), source):
                pass
        except NotReadable:
            continue


def outbox(data: bytes) -> None:
    """A queue that a device sent: whatever operation is taken from it makes an update that the gate takes as well."""
    request = SyncRequest.model_validate_json(data, strict=True)
    for sent in request.operations:
        id_of(sent)
        with contextlib.suppress(Malformed):
            asked = wanted(sent, request.device_id)
            author = Author("ana", request.device_id, asked.at)
            job = MakeDated(str(ISSUE), [BEGUN], CLIENT, author, [Dated(asked.edit, asked.at)])
            for update in job.run(Resident(max_issues=1, max_bytes=2**20)).updates:
                index = Index()
                fold(index, BEGUN, "ana")
                assert not check(index, update, "ana", Limits()).gap


def entity_tags(data: bytes) -> None:
    """What `If-Match` names is of the versions that stand there, and of no other."""
    header = data.decode("latin-1")
    tags = read_tags(header)
    for version in (0, 1, 17):
        if tags.hold_of(version):
            assert tags.is_any or str(version) in header


def feed_page(data: bytes) -> None:
    """What a page of a feed holds, as clients read it; packed or not."""
    for is_packed in (False, True):
        with contextlib.suppress(Refused):
            entries = read_entries(data, is_packed, 2**20)
            whole = write_body(map(write_entry, entries), len(entries))
            assert read_entries(whole, False) == entries
            for entry in entries:
                with contextlib.suppress(Refused):
                    read_row(entry.payload)


def conflicts(data: bytes) -> None:
    """The frames by which conflicts are followed, or a body of one alone. What a device takes in is all of it, with its
    cursor: it can be read, and asks for the rest by a frame that the server reads."""
    with contextlib.suppress(Refused):
        asked = native_codec.decode_client(data)
        if isinstance(asked, Follow):
            _asks_again(asked)
    told = [Conflicts(ISSUE, 0, FAR, FAR, is_packed, data) for is_packed in (False, True)]
    with contextlib.suppress(Refused):
        frame = native_codec.decode_server(data)
        told += [frame] if isinstance(frame, Conflicts) else []
    for one in told:
        with contextlib.suppress(Refused):
            _take_in(one)


def _take_in(frame: Conflicts) -> None:
    changed = link.read_conflicts(frame)
    store = tables.connect(":memory:")
    with contextlib.closing(store):
        try:
            with tables.transaction(store):
                conflict_list.take(store, ConflictsCame(frame.epoch, frame.from_change, frame.to_change, changed))
        except Stale:
            assert frame.from_change > 0 or frame.to_change == 0
            return
        cursor = conflict_list.read_cursor(store)
        assert cursor == ConflictCursor(frame.epoch, frame.to_change)
        for kept in conflict_list.read_all(store, None, None):
            assert any(isinstance(one, Conflict) and one.told == kept.told for one in changed)
            kept.to_json()
        _asks_again(Follow(frame.epoch, cursor.change))


def _asks_again(follow: Follow) -> None:
    assert native_codec.decode_client(native_codec.encode(follow)) == follow


# Name → what is run, and how it says no. The name is also that of the file of its corpus.
TARGETS: Final[Mapping[str, tuple[Target, type[Exception]]]] = MappingProxyType(
    {
        "gate": (gate, Refused),
        "commenter": (commenter, Refused),
        "state_vector": (state_vector, Refused),
        "stored_index": (stored_index, Refused),
        "presence": (presence, Refused),
        "y_websocket": (y_websocket_message, Refused),
        "hocuspocus": (hocuspocus_message, Refused),
        "native_of_client": (native_of_client, Refused),
        "native_of_server": (native_of_server, Refused),
        "handshake": (handshake, Refused),
        "token": (token, TokenRefused),
        "cursor": (cursor, ValueError),
        "imported": (imported, NotReadable),
        "outbox": (outbox, ValueError),
        "entity_tags": (entity_tags, ValueError),
        "feed_page": (feed_page, Refused),
        "conflicts": (conflicts, Refused),
    }
)


def attempt(name: str, data: bytes) -> None:
    """Run one target on these bytes; whatever comes out of it is a finding."""
    run, says_no = TARGETS[name]
    with contextlib.suppress(says_no):
        run(data)
