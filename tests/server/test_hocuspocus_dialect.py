"""The Hocuspocus dialect against bytes recorded from @hocuspocus/provider 2.15.3, 3.4.4, 4.8.0 and server 4.7.0."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crdt.encoding import write_string
from crdt.errors import Refused
from crdt.sync import SyncStep1, SyncStep2, Update
from server.dialects import hocuspocus, y_websocket
from server.dialects.hocuspocus import Authenticate, Envelope, Event, Leave, Pong, Stateless
from server.dialects.y_websocket import AwarenessUpdate, QueryAwareness

ISSUE_1 = bytes.fromhex("0769737375652d31")
ISSUE_2 = bytes.fromhex("0769737375652d32")
TYPING = bytes.fromhex("0101e9070028010166057469746c65017702686900")

FROM_CLIENTS: list[tuple[str, Event]] = [
    ("02 00 03746f6b 05342e382e30", Authenticate("tok", "4.8.0")),
    ("02 00 03746f6b", Authenticate("tok", None)),
    ("02 00 00", Authenticate("", None)),
    ("00 00 01 00", SyncStep1(b"\x00")),
    ("00 01 02 0000", SyncStep2(b"\x00\x00")),
    ("00 02 15 0101e9070028010166057469746c65017702686900", Update(TYPING)),
    ("01 07 01 e907 00 027b7d", AwarenessUpdate(bytes.fromhex("01e90700027b7d"))),
    ("01 09 01 ea07 01 046e756c6c", AwarenessUpdate(bytes.fromhex("01ea0701046e756c6c"))),
    ("03", QueryAwareness()),
    ("05 0470696e67", Stateless("ping")),
    ("07", Leave()),
]
FROM_SERVER = [
    ("02 02 0a726561642d7772697465", hocuspocus.authenticated(may_write=True)),
    ("02 02 08726561646f6e6c79", hocuspocus.authenticated(may_write=False)),
    ("02 01 09746f6b656e2d626164", hocuspocus.denied("token-bad")),
    ("02 00", hocuspocus.TOKEN_REQUEST),
    ("00 00 01 00", y_websocket.sync_step1(b"\x00")),
    ("00 00 04 01e90701", y_websocket.sync_step1(bytes.fromhex("01e90701"))),
    ("00 01 02 0000", y_websocket.sync_step2(b"\x00\x00")),
    ("00 02 15 0101e9070028010166057469746c65017702686900", y_websocket.update(TYPING)),
    ("01 01 00", y_websocket.KEEP_ALIVE),
    ("08 01", hocuspocus.STORED),
    ("08 00", hocuspocus.REFUSED),
    ("05 0470696e67", hocuspocus.stateless("ping")),
    ("07 077265766f6b6564", hocuspocus.close("revoked")),
]


@pytest.mark.parametrize(("golden", "event"), FROM_CLIENTS)
def test_what_clients_send_is_read(golden: str, event: Event) -> None:
    message = ISSUE_1 + bytes.fromhex(golden)
    envelope = hocuspocus.split(message)
    assert isinstance(envelope, Envelope)
    assert envelope.header == ISSUE_1
    assert hocuspocus.decode(envelope.frame) == event


@pytest.mark.parametrize(("golden", "frame"), FROM_SERVER)
def test_what_the_server_sends_is_what_the_reference_server_sends(golden: str, frame: bytes) -> None:
    assert frame == bytes.fromhex(golden)


def test_ping_and_pong_have_no_address() -> None:
    assert bytes.fromhex("09") == hocuspocus.PING
    assert hocuspocus.split(b"\x0a") == Pong()


def test_an_address_of_ten_characters_is_not_a_pong() -> None:
    message = hocuspocus.header("ten--chars") + b"\x07"
    assert hocuspocus.split(message) == Envelope(message[:-1], b"\x07")


def test_a_session_is_part_of_the_address_but_not_of_the_name() -> None:
    plain, aware = hocuspocus.header("issue-1"), hocuspocus.header("issue-1\0k3j2h1")
    assert plain == ISSUE_1
    assert hocuspocus.name_of(plain) == hocuspocus.name_of(aware) == "issue-1"
    assert hocuspocus.split(aware + b"\x07") == Envelope(aware, b"\x07")


@pytest.mark.parametrize(
    ("version", "major"),
    [
        ("4.8.0", 4),
        ("10.0.0-rc.1", 10),
        ("4", 4),
        ("", None),
        (None, None),
        ("v4", None),
        ("٤.0", None),
        ("9" * 50, None),
    ],
)
def test_only_a_number_is_a_version(version: str | None, major: int | None) -> None:
    assert hocuspocus.provider_major(version) == major


@pytest.mark.parametrize(
    "frame",
    [
        "",  # nothing after the address
        "04 00 01 00",  # SyncReply: between servers
        "06 0470696e67",  # BroadcastStateless: would speak to everybody past every permission
        "08 01",
        "0b",
        "02 01 00",  # only servers deny
        "02 00",  # a token request is the server's
        "02 00 05 746f6b",  # shorter than it says
        "02 00 03746f6b 05342e382e30 00",  # something behind the version
        "02 00 02 fffe",  # not UTF-8
        "07 00",
        "00 03 01 00",
        "00 02 05 00",
        "05 04 70",
    ],
)
def test_what_is_not_a_message_for_a_server_is_refused(frame: str) -> None:
    with pytest.raises(Refused):
        hocuspocus.decode(bytes.fromhex(frame))


@pytest.mark.parametrize(
    "message",
    [b"", b"\x80", b"\x05main", b"\x80\x00\x07", b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\xff" * 40],
)
def test_what_has_no_address_is_refused(message: bytes) -> None:
    with pytest.raises(Refused):
        hocuspocus.split(message)


def test_addresses_and_tokens_are_bounded() -> None:
    longest = hocuspocus.header("a" * hocuspocus.MAX_ADDRESS_BYTES)
    assert hocuspocus.split(longest + b"\x07") == Envelope(longest, b"\x07")
    with pytest.raises(Refused, match="too_large"):
        hocuspocus.split(hocuspocus.header("a" * (hocuspocus.MAX_ADDRESS_BYTES + 1)) + b"\x07")
    out = bytearray(b"\x02\x00")
    write_string(out, "t" * (hocuspocus.MAX_TOKEN_BYTES + 1))
    with pytest.raises(Refused, match="too_large"):
        hocuspocus.decode(bytes(out))


frames = st.one_of(
    st.binary(max_size=64),
    st.sampled_from([bytes.fromhex(golden) for golden, _ in FROM_CLIENTS]).flatmap(
        lambda golden: st.builds(
            lambda at, byte: golden[:at] + bytes((byte,)) + golden[at + 1 :],
            st.integers(0, len(golden)),
            st.integers(0, 255),
        )
    ),
)


@given(message=st.one_of(st.binary(max_size=96), st.builds(lambda frame: ISSUE_1 + frame, frames)))
@example(message=ISSUE_1)
def test_any_bytes_are_an_event_or_refused(message: bytes) -> None:
    try:
        envelope = hocuspocus.split(message)
        if isinstance(envelope, Envelope):
            assert envelope.header + envelope.frame == message
            hocuspocus.name_of(envelope.header)
            hocuspocus.decode(envelope.frame)
    except Refused:
        pass


@given(address=st.text(max_size=100), token=st.text(max_size=100), version=st.none() | st.text(max_size=16))
def test_every_address_and_token_is_read_as_it_was_written(address: str, token: str, version: str | None) -> None:
    frame = bytearray(b"\x02\x00")
    write_string(frame, token)
    if version is not None:
        write_string(frame, version)
    envelope = hocuspocus.split(hocuspocus.header(address) + frame)
    assert isinstance(envelope, Envelope)
    assert envelope.header == hocuspocus.header(address)
    assert hocuspocus.name_of(envelope.header) == address.partition("\0")[0]
    assert hocuspocus.decode(envelope.frame) == Authenticate(token, version)
