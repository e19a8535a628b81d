"""The attacks whose effect on others is measured: of every kind there is, each by a name of its own.

`tests/attacks/test_cases.py` carries out each of them, `make bench ARGS=attacks` does so for as long as it takes to see
what somebody notices who types beside it.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from server import close_codes
from server.dialects import y_websocket
from server.permissions import Role
from tests.attacks import goes
from tests.attacks.forging import END, garbage, number
from tests.attacks.goes import DENIED, ISSUES, Attack, asked, bearing, flood, said, written
from tests.attacks.test_presence import TOO_MUCH
from tests.attacks.test_transport import HOCUSPOCUS, NATIVE, REQUESTS, UNREADABLE
from tests.attacks.test_updates import ALLOCATION, IMPOSSIBLE, MALFORMED, TOO_LARGE, VECTORS
from tests.server.websocket_client import PING

FEW: Final = 4
MANY: Final = 50
BAD: Final = close_codes.BAD_REQUEST
MUCH: Final = close_codes.TOO_MUCH
NOT_ALLOWED: Final = close_codes.NOT_ALLOWED
WORKSPACE: Final = "/v1/workspaces/main"
SQL: Final = "x%27;%20DROP%20TABLE%20issues;%20--"
BAD_AT_ITS_END: Final = 12_000  # structs: little to send, and much to check


@dataclass(frozen=True, slots=True)
class Case:
    """`refusals`: what the server may say to a go. None: it is not refused but slowed, and goes on until it is ended.
    `at_once`: how many attack."""

    kind: str
    attack: Attack
    refusals: tuple[int, ...]
    at_once: int = FEW


def many_structs(count: int, last: bytes) -> bytes:
    """Garbage, two bytes each, and something else."""
    return number(1) + number(count) + number(4_242) + number(0) + garbage(1) * (count - 1) + last + END


def from_table(table: Mapping[str, bytes], *names: str) -> dict[str, Attack]:
    """Updates that other tests know by these names."""
    return {name: written(table[name]) for name in names}


Group = tuple[str, tuple[int, ...], dict[str, Attack]]

# Kind, what it is answered, and the cases of it.
GROUPS: Final[tuple[Group, ...]] = (
    (
        "allocation bombs",
        (BAD,),
        {
            **from_table(
                ALLOCATION,
                "2^28 client sections",
                "2^28 structs in a section",
                "a string of 2^53 bytes",
                "an array of 2^28",
                "2^28 ranges in the delete set",
            ),
            "a state vector of 2^28": said(y_websocket.sync_step1(VECTORS["2^28 entries"])),
            "a map of 2^32, natively": goes.in_frame(NATIVE["a map of 2^32"]),
        },
    ),
    (
        "forged client ids",
        (NOT_ALLOWED,),
        {
            "the clocks of a victim": goes.clocks_of_a_victim,
            "letters of a victim": goes.letters_of_a_victim,
        },
    ),
    ("forged client ids", (), {"the clocks of a victim, natively": goes.pushes_of_a_victim}),
    (
        "garbage of ten bytes",
        (BAD,),
        {
            **from_table(ALLOCATION, "garbage of 2^40 clocks in ten bytes", "a hole of 2^40 clocks"),
            "all clocks of its own": goes.clocks_of_its_own,
        },
    ),
    (
        "poison documents",
        (BAD, MUCH),
        {
            name: goes.poison(name)
            for name in (
                "panic in apply: empty section",
                "segmentation fault in the next innocent apply",
                "endless read of a nested list",
                "memory bomb",
            )
        },
    ),
    (
        "malformed updates",
        (BAD,),
        {
            **from_table(MALFORMED, "text that is not UTF-8"),
            **from_table(IMPOSSIBLE, "two that wait for each other"),
            "bad at its end, 24 kB": written(many_structs(BAD_AT_ITS_END, b"\x1f")),
            "bad at its end, 400 kB": written(many_structs(200_000, b"\x1f")),
            "an unknown message": said(UNREADABLE["an unknown type"]),
        },
    ),
    (
        "malformed updates",
        (DENIED,),
        {"an unknown message, over Hocuspocus": goes.in_document(HOCUSPOCUS["an unknown type"])},
    ),
    (
        "deep nesting",
        (MUCH, BAD),
        {
            **from_table(TOO_LARGE, "values 10,000 deep", "JSON 10,000 deep", "types 65 deep"),
            "presence 100 levels deep": said(TOO_MUCH["a state 100 levels deep"]),
            "arrays 100,000 deep, natively": goes.in_frame(NATIVE["arrays 100,000 deep"]),
        },
    ),
    (
        "deep nesting",
        (400, 422),
        {"JSON 100,000 deep": asked(ISSUES, "POST", b'{"title":' + b"[" * 100_000 + b"]" * 100_000 + b"}")},
    ),
    (
        "frames",
        (close_codes.MESSAGE_TOO_BIG,),
        {
            "100 MB announced": goes.too_big,
            "fragments without end": goes.fragments,
            "empty fragments without end": goes.empty_fragments,
        },
    ),
    (
        "frames",
        (close_codes.PROTOCOL_ERROR,),
        {name: goes.framed(name) for name in ("a reserved bit", "a compressed frame nobody agreed on")},
    ),
    (
        "floods",
        (),
        {
            "pings": flood(lambda ways, at: b"x" * 100, 100, PING),
            "questions": flood(lambda ways, at: y_websocket.sync_step1(b"\x00"), 2),
            "presence asked for": flood(lambda ways, at: b"\x03", 20),
            "a reader who does not read": goes.deaf,
        },
    ),
    (
        "presence",
        (),
        {
            "a flood of presence": flood(goes.twenty_faces, 20),
            "a thousand faces": flood(lambda ways, at: goes.face(at % 1_000, at, b"{}"), 50),
            "the face of a victim": flood(lambda ways, at: goes.face(ways.victim, at, b'{"user": {"id": "ana"}}'), 5),
        },
    ),
    ("presence", (MUCH,), {name: said(TOO_MUCH[name]) for name in ("a state of 17 KiB", "5,000 clients in an update")}),
    (
        "before the token",
        (close_codes.RESET,),
        {
            "messages": goes.before_the_token(lambda ways: [ways.addressed(y_websocket.update(bytes(100)))] * 1_100),
            "bytes": goes.before_the_token(lambda ways: [ways.addressed(y_websocket.update(bytes(2**20)))] * 6),
            "documents": goes.before_the_token(
                lambda ways: [ways.addressed(y_websocket.sync_step1(b"\x00"), f"main/{at}") for at in range(120)]
            ),
        },
    ),
    (
        "before the token",
        (close_codes.UNAUTHORIZED,),
        {"a hundred hellos": goes.hellos, "bad tokens over y-websocket": goes.bad_tokens},
    ),
    (
        "before the token",
        (),
        {
            "bad tokens over Hocuspocus": goes.guesses,
        },
    ),
    (
        "token confusion",
        (401,),
        {
            name: bearing(name)
            for name in (
                "algorithm none",
                "HS256 with the public key, PEM",
                "RS256 with a key of one's own",
                "a key brought along",
                "another audience",
                "expired",
                "a role raised",
            )
        },
    ),
    ("token confusion", (NOT_ALLOWED,), {"of another workspace": goes.token_of_another_workspace}),
    ("token confusion", (401,), {"a refresh token, replayed": goes.replayed}),
    (
        "other workspaces",
        (403,),
        {
            "read over HTTP": asked("/v1/workspaces/other/issues/ISSUE"),
            "written over HTTP": asked("/v1/workspaces/other/issues", "POST", b'{"title": "x"}'),
        },
    ),
    ("other workspaces", (DENIED,), {"over Hocuspocus": goes.of_document("other/{}")}),
    ("other workspaces", (NOT_ALLOWED,), {"natively": goes.other_workspace_natively}),
    (
        "pages of other sites",
        (403,),
        {
            "over y-websocket": goes.from_page("another site", "/yjs/main/ISSUE"),
            "a site that begins like us": goes.from_page("a site that begins like us", "/v1/workspaces/main/sync"),
        },
    ),
    (
        "injection",
        (400, 401, 404, 422),
        {
            "SQL in a parameter": asked(f"{ISSUES}?limit={SQL}"),
            "SQL in a path": asked(f"{ISSUES}/{SQL}"),
            "a JSON path in a cursor": asked(f"{ISSUES}?cursor=%24.**%20%3F%20(%40%20starts%20with%20%22s%22)"),
            "a line of the log": asked(f"{ISSUES}/x%0a%7B%22level%22:1%7D", User_Agent='","event":"forged'),
            "a header of the answer": asked(f"{ISSUES}/x%0d%0aX-Evil:%201", X_Request_Id="x\x1b[31m"),
        },
    ),
    (
        "paths",
        (400, 404),
        {
            "out of the reference": asked("/v1/docs/..%2f..%2f..%2fetc%2fpasswd"),
            "in the name of an import": asked(
                f"{WORKSPACE}/imports/..%2f..%2fetc%2fpasswd/undo", "POST", role=Role.ADMIN
            ),
        },
    ),
    (
        "compressed bombs",
        (400, 415, 422),
        {
            "a body of gzip": asked(ISSUES, "POST", gzip.compress(bytes(2**24)), Content_Encoding="gzip"),
        },
    ),
    (
        "compressed bombs",
        (415, 422, 503),  # 503: another import is under way
        {
            "an import of gzip": asked(
                f"{WORKSPACE}/import", "POST", gzip.compress(bytes(2**24)), Role.ADMIN, Content_Type="text/csv"
            ),
        },
    ),
    (
        "requests",
        (0, 400, 431),
        {name: goes.raw(REQUESTS[name]) for name in ("a head of 1 MB", "a length and chunks", "no HTTP at all")},
    ),
    (
        "reads that cost",
        (200,),
        {
            "history": asked(f"{ISSUES}/ISSUE/history"),
            "search": asked(f"{ISSUES}?q=a%20b%20c%20d&limit=200"),
        },
    ),
)
SLOW: Final[Group] = (
    "slowness",
    (),
    {
        "a head that trickles": goes.trickle(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"x"),
        "a body that trickles": goes.trickle(
            f"POST {ISSUES} HTTP/1.1\r\nHost: x\r\nBEARER\r\nContent-Length: 500000\r\n\r\n".encode(), b" "
        ),
        "a handshake that trickles": goes.trickle(b"GET /yjs/main/ISSUE HTTP/1.1\r\nUpgrade: websocket\r\nX: ", b"x"),
        "a frame that never ends": goes.unfinished,
        "connections that say nothing": goes.trickle(b"", b""),
    },
)

CASES: Final[Mapping[str, Case]] = MappingProxyType(
    {
        f"{kind}: {name}": Case(kind, attack, refusals, at_once)
        for groups, at_once in ((GROUPS, FEW), ((SLOW,), MANY))
        for kind, refusals, attacks in groups
        for name, attack in attacks.items()
    }
)
