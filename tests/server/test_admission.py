from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.websocket import Connection, Door, Handshake, Peer
from server.websocket.admission import Admission, HttpRefusal


def door(handshake: Handshake, connection: Connection) -> Peer:
    raise NotImplementedError


def everywhere(handshake: Handshake) -> Door | None:
    return door


def asks(origin: str, host: str = "tracker.example:8080") -> Handshake:
    return Handshake.of("/yjs/x", {"origin": origin, "host": host}, "")


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://tracker.example", True),
        ("http://tracker.example:3000", True),
        ("http://TRACKER.example", True),
        ("http://[::1]:3000", True),
        ("https://tracker.example.evil.example", False),
        ("https://evil.example?tracker.example", False),
        ("https://tracker.example@evil.example", False),
        ("file://", False),
        ("null", False),
        ("", False),
    ],
)
def test_the_host_itself_and_loopback_are_allowed_by_default(origin: str, is_allowed: bool) -> None:
    admitted = Admission(everywhere, (), 1).admit(asks(origin), 0)
    assert (admitted is door) == is_allowed


def test_a_star_allows_every_site() -> None:
    assert Admission(everywhere, ("*",), 1).admit(asks("https://evil.example"), 0) is door


def test_no_host_is_the_same_as_no_origin_of_nobody() -> None:
    assert Admission(everywhere, (), 1).admit(asks("null", host=""), 0) == HttpRefusal(403, "Origin not allowed")


def test_the_first_of_two_query_parameters_counts() -> None:
    handshake = Handshake.of("/a%20b?token=1&token=2&empty=", {}, "")
    assert (handshake.path, handshake.query) == ("/a b", {"token": "1", "empty": ""})


@given(st.text(), st.text(), st.text())
def test_any_request_is_admitted_or_refused(target: str, origin: str, host: str) -> None:
    handshake = Handshake.of(target, {"origin": origin, "host": host}, "")
    assert isinstance(Admission(lambda _: None, (), 1).admit(handshake, 0), HttpRefusal)
