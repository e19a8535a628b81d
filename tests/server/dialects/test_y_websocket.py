from typing import assert_never

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt.errors import MALFORMED, Refused
from crdt.sync import SyncStep1, SyncStep2, Update
from server.dialects import y_websocket
from server.dialects.y_websocket import AwarenessUpdate, Event, QueryAwareness

TYPING = bytes.fromhex("0101e9070028010166057469746c65017702686900")  # map "f".title = "hi", client 1001


def encode(event: Event) -> bytes:
    match event:
        case SyncStep1(state_vector):
            return y_websocket.sync_step1(state_vector)
        case SyncStep2(update):
            return y_websocket.sync_step2(update)
        case Update(update):
            return y_websocket.update(update)
        case AwarenessUpdate(update):
            return y_websocket.awareness(update)
        case QueryAwareness():
            return b"\x03"
        case _:
            assert_never(event)


GOLDEN = [
    ("00 00 01 00", SyncStep1(b"\x00")),
    ("00 00 04 01e90701", SyncStep1(bytes.fromhex("01e90701"))),
    ("00 01 02 0000", SyncStep2(b"\x00\x00")),
    ("00 02 15 0101e9070028010166057469746c65017702686900", Update(TYPING)),
    ("01 07 01 e907 00 027b7d", AwarenessUpdate(bytes.fromhex("01e90700027b7d"))),
    ("01 09 01 ea07 01 046e756c6c", AwarenessUpdate(bytes.fromhex("01ea0701046e756c6c"))),
    ("03", QueryAwareness()),
]


@pytest.mark.parametrize(("wire", "event"), GOLDEN)
def test_golden_bytes(wire: str, event: Event) -> None:
    assert y_websocket.decode(bytes.fromhex(wire)) == event
    assert encode(event) == bytes.fromhex(wire)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 255, 20_000])
def test_updates_of_every_size_pass_the_short_and_the_long_way(size: int) -> None:
    event = Update(bytes(size))
    assert y_websocket.decode(encode(event)) == event


@given(st.binary(max_size=140).map(lambda update: b"\x00\x02" + bytes([len(update)]) + update) | st.binary(max_size=8))
def test_the_short_way_agrees_with_the_long_one(data: bytes) -> None:
    update = y_websocket.short_update(data)
    if update is not None:
        assert y_websocket.decode(data) == Update(update)


def test_a_typing_update_goes_the_short_way() -> None:
    assert y_websocket.short_update(y_websocket.update(TYPING)) == TYPING
    assert y_websocket.short_update(y_websocket.sync_step2(TYPING)) is None


def test_the_keep_alive_is_presence_of_nobody() -> None:
    assert y_websocket.decode(y_websocket.KEEP_ALIVE) == AwarenessUpdate(b"\x00")


@pytest.mark.parametrize(
    "wire",
    [
        "",
        "00",
        "02 00 00",
        "04",
        "66",
        "8000",
        "0002",
        "0002 01",
        "0002 01 0000",
        "0003 00",
        "0002 8100 00",
        "01 05 00",
        "03 00",
    ],
)
def test_anything_else_is_refused(wire: str) -> None:
    with pytest.raises(Refused) as refusal:
        y_websocket.decode(bytes.fromhex(wire))
    assert refusal.value.reason == MALFORMED


@given(
    st.binary(max_size=200)
    | st.tuples(st.integers(0, 4), st.integers(0, 4), st.binary(max_size=20)).map(
        lambda parts: bytes([parts[0], parts[1], len(parts[2])]) + parts[2]
    )
)
def test_any_bytes_are_one_event_or_refused(data: bytes) -> None:
    try:
        event = y_websocket.decode(data)
    except Refused:
        return
    assert encode(event) == data
