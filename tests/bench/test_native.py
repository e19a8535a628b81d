"""Pushes put together from prepared pieces are the protocol's own."""

from __future__ import annotations

from uuid import uuid4

import pytest

from bench.native import push_frame
from bench.typist import FIRST_CLIENT, Typist
from crdt.native import Push, PushEntry
from crdt.native_codec import decode_client


@pytest.mark.parametrize("client_seq", [0, 127, 128, 255, 256, 65_535, 65_536, 2**32])
def test_a_push_frame_is_masked_final_binary_and_one_edit(client_seq: int) -> None:
    issue, update = uuid4(), Typist(FIRST_CLIENT).type()
    frame = push_frame(client_seq, issue, update)
    assert frame[:6] == bytes([0x82, 0x80 | len(frame) - 6, 0, 0, 0, 0])
    assert decode_client(frame[6:]) == Push((PushEntry(client_seq, issue, update),))


def test_an_update_too_long_for_a_short_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="typing"):
        push_frame(1, uuid4(), bytes(123))
