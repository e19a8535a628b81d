"""Presence: the codec believes nothing, and nobody speaks for somebody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt.awareness import NULL, AwarenessLimits, Entry, States, decode, encode
from crdt.errors import MALFORMED, TOO_LARGE, Refused

LIMITS = AwarenessLimits(max_entries=8, max_state_bytes=100, max_clients_per_session=3, max_clients=6)

entries = st.lists(
    st.builds(
        Entry,
        st.integers(0, 2**53 - 1),
        st.integers(0, 2**53 - 1),
        st.sampled_from([NULL, b"{}", b'{"user":{"name":"Ana \xc3\xa9"}}', b"[]", b'"x"', b"-1", b"true"]),
    ),
    max_size=8,
)


@given(entries)
def test_what_is_encoded_is_decoded(given_entries: list[Entry]) -> None:
    assert decode(encode(given_entries), LIMITS) == given_entries


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        decoded = decode(data, LIMITS)
    except Refused:
        return
    assert encode(decoded) == data


def test_a_frame_of_y_protocols_is_read() -> None:
    assert decode(bytes.fromhex("01e90700027b7d"), LIMITS) == [Entry(1001, 0, b"{}")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", MALFORMED),
        (b"\xff\xff\xff\xff\x7f", MALFORMED),  # claims more entries than it has bytes (M10)
        (b"\x01\x01\x01\x05{}", MALFORMED),
        (b"\x01\x01\x01\x02{}\x00", MALFORMED),
        (b"\x01\x01\x01\x00", MALFORMED),
        (b"\x01\x01\x01\x02\xff\xfe", MALFORMED),
        (b"\x01\x01\x01\x04{\xff\xfe}", MALFORMED),
        (b"\x01\x01\x01\x02{\x00", MALFORMED),  # `JSON.parse` would throw in every peer
        (b"\x01\x01\x01\x03NaN", MALFORMED),
        (b"\x01\x01\x01\x65{" + b"x" * 99 + b"}", TOO_LARGE),
        (encode([Entry(number, 1, b"{}") for number in range(9)]), TOO_LARGE),
    ],
)
def test_bad_bytes_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        decode(data, LIMITS)
    assert caught.value.reason == reason


def states() -> States[str]:
    return States(LIMITS)


def said(states: States[str], holder: str, client: int, clock: int, state: bytes = b"{}", now: float = 0) -> list[int]:
    """What changed when a session named like its user, with a number after it, says this."""
    return list(states.hear([Entry(client, clock, state)], holder, holder.rstrip("0123456789"), now).changed)


def test_a_newer_clock_wins_and_an_older_or_equal_one_changes_nothing() -> None:
    known = states()
    assert said(known, "ana", 1, 0) == [1]
    assert said(known, "ana", 1, 2, b'{"a":1}') == [1]
    assert said(known, "ana", 1, 2, b'{"a":2}') == []
    assert said(known, "ana", 1, 1, b'{"a":3}') == []
    assert known.encode_all() == encode([Entry(1, 2, b'{"a":1}')])


def test_goodbye_counts_at_the_clock_of_the_last_word() -> None:
    known = states()
    said(known, "ana", 1, 2)
    assert said(known, "ana", 1, 1, NULL) == []
    assert said(known, "ana", 1, 2, NULL) == [1]
    assert known.encode([1]) == encode([Entry(1, 2, NULL)])
    assert known.encode_all() == encode([])


def test_a_goodbye_of_an_unknown_client_leaves_no_trace() -> None:
    known = states()
    assert said(known, "ana", 1, 5, NULL) == []
    assert len(known) == 0


def test_nobody_overwrites_or_removes_somebody_elses_presence() -> None:
    """A8."""
    known = states()
    said(known, "ana", 1, 1, b'{"name":"Ana"}')
    assert said(known, "eve", 1, 9, b'{"name":"Eve"}') == []
    assert said(known, "eve", 1, 9, NULL) == []
    assert known.encode_all() == encode([Entry(1, 1, b'{"name":"Ana"}')])
    assert known.leave("eve") == []


def test_a_second_tab_of_the_same_user_may_speak_for_the_first_but_not_say_goodbye_for_it() -> None:
    known = states()
    said(known, "ana1", 1, 1)
    assert said(known, "ana2", 1, 1, NULL) == []
    assert said(known, "ana2", 1, 2) == [1]
    assert known.leave("ana1") == []
    assert known.leave("ana2") == [1]


def test_a_reconnecting_client_keeps_its_presence_when_its_old_socket_dies_later() -> None:
    known = states()
    said(known, "ana1", 1, 1)
    said(known, "ana2", 1, 2)
    known.leave("ana1")
    assert known.encode_all() == encode([Entry(1, 2, b"{}")])


def test_leaving_removes_at_once_everything_a_session_announced() -> None:
    known = states()
    said(known, "ana", 1, 1)
    said(known, "ana", 2, 1)
    said(known, "bob", 3, 1)
    assert known.leave("ana") == [1, 2]
    assert known.encode([1, 2, 3]) == encode([Entry(1, 1, NULL), Entry(2, 1, NULL), Entry(3, 1, b"{}")])


def test_an_echo_does_not_bring_back_who_has_left_but_the_client_itself_is_told_and_comes_back() -> None:
    known = states()
    said(known, "ana1", 1, 4)
    known.leave("ana1")
    assert said(known, "eve", 1, 4) == []
    heard = known.hear([Entry(1, 4, b"{}")], "ana2", "ana", 0)
    assert (heard.changed, heard.outdated) == ([], [1])
    assert said(known, "ana2", 1, 5) == [1]


def test_who_is_not_heard_of_expires_and_is_forgotten_later() -> None:
    known = states()
    said(known, "ana", 1, 1, now=0)
    said(known, "bob", 2, 1, now=20)
    assert known.expire(31, 30) == [1]
    assert known.encode([1, 2]) == encode([Entry(1, 1, NULL), Entry(2, 1, b"{}")])
    assert known.expire(49, 30) == []
    assert known.expire(62, 30) == [2]
    assert known.expire(200, 30) == []
    assert len(known) == 0


def test_a_hundred_thousand_comings_and_goings_leave_nothing_behind() -> None:
    known: States[str] = States(AwarenessLimits())
    for number in range(100_000):
        said(known, f"ana{number}", number, 1, now=number)
        known.leave(f"ana{number}")
        if number % 1_000 == 0:
            known.expire(number, 30)
    assert len(known) <= 1_031
    known.expire(200_000, 30)
    assert len(known) == 0


def test_a_session_announces_a_bounded_number_of_clients() -> None:
    known = states()
    heard = known.hear([Entry(client, 1, b"{}") for client in range(8)], "eve", "eve", 0)
    assert heard.changed == [0, 1, 2]


def test_a_room_remembers_a_bounded_number_of_clients() -> None:
    known = states()
    changed = [said(known, f"user{chr(97 + number)}", number, 1) for number in range(8)]
    assert changed[6:] == [[], []]
    assert len(known) == 6
