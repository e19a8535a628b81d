import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt import sync
from crdt.encoding import Reader
from crdt.errors import MALFORMED, TOO_LARGE, Refused
from crdt.sync import SyncMessage, SyncStep1, SyncStep2, Update


def written(kind: int, payload: bytes) -> bytes:
    out = bytearray()
    sync.write(out, kind, payload)
    return bytes(out)


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        ("00 01 00", SyncStep1(b"\x00")),
        ("00 04 01e90701", SyncStep1(bytes.fromhex("01e90701"))),
        ("01 02 0000", SyncStep2(b"\x00\x00")),
        ("02 02 0000", Update(b"\x00\x00")),
        ("02 8001" + "07" * 128, Update(b"\x07" * 128)),
    ],
)
def test_golden_bytes(wire: str, message: SyncMessage) -> None:
    data = bytes.fromhex(wire)
    assert sync.read(Reader(data)) == message
    payload = message.state_vector if isinstance(message, SyncStep1) else message.update
    assert written(data[0], payload) == data


@pytest.mark.parametrize("wire", ["", "00", "03 00", "80 00", "02 02 00", "02 02 000000", "02 8000", "02 ff"])
def test_anything_else_is_refused(wire: str) -> None:
    with pytest.raises(Refused) as refusal:
        sync.read(Reader(bytes.fromhex(wire)))
    assert refusal.value.reason == MALFORMED


def test_a_state_vector_is_bounded() -> None:
    with pytest.raises(Refused) as refusal:
        sync.read(Reader(written(sync.STEP_1, bytes(sync.MAX_STATE_VECTOR_BYTES + 1))))
    assert refusal.value.reason == TOO_LARGE


@given(st.sampled_from([sync.STEP_1, sync.STEP_2, sync.UPDATE]), st.binary(max_size=400))
def test_round_trip(kind: int, payload: bytes) -> None:
    message = sync.read(Reader(written(kind, payload)))
    assert payload == (message.state_vector if isinstance(message, SyncStep1) else message.update)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        message = sync.read(Reader(data))
    except Refused:
        return
    payload = message.state_vector if isinstance(message, SyncStep1) else message.update
    assert written(data[0], payload) == data
