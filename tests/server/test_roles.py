"""Every role with every message of every dialect. The messages come from the dialects' own lists: a new one without an
expectation fails here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, get_args
from uuid import UUID

import pytest
from pycrdt import Doc, Map, Text

from crdt import native
from crdt.awareness import Entry
from crdt.awareness import encode as encode_awareness
from crdt.native import Ack, Nack, PushEntry
from crdt.sync import SyncStep1, SyncStep2, Update
from crdt.update import EMPTY_STATE_VECTOR
from server import close_codes
from server.dialects import hocuspocus, y_websocket
from server.dialects.hocuspocus import Authenticate, Leave, Stateless
from server.dialects.y_websocket import AwarenessUpdate, QueryAwareness
from server.permissions import Role, at_least
from tests.server import test_hocuspocus as providers
from tests.server.house import settle
from tests.server.native_client import NativeClient
from tests.server.native_house import native_house
from tests.server.rest.test_changes import get as get_changes
from tests.server.test_native import ISSUE, welcome
from tests.simulation.time import in_virtual_time

ROLES: Final = tuple(Role)
OTHERS: Final = tuple(f"sam:{role}:ghosts" for role in Role)  # tokens for another workspace

# What is written → the least role it is taken from; None: from nobody.
WRITES: Final[dict[str, Role | None]] = {
    "what is known": Role.VIEWER,
    "a comment of one's own": Role.COMMENTER,
    "text in another's comment": Role.AGENT,
    "the title": Role.AGENT,
    "a field": Role.AGENT,
    "a deletion": Role.AGENT,
    "a comment in another's name": None,
    "a stamp in another's name": None,
}

# What may be said without writing, by any role → what becomes of it.
ANSWERED: Final = "answered"
TOLD: Final = "told to everybody"
IGNORED: Final = "ignored"
ENDED: Final = "ended"

Y_WEBSOCKET: Final = {SyncStep1: ANSWERED, AwarenessUpdate: TOLD, QueryAwareness: ANSWERED}
HOCUSPOCUS: Final = {
    SyncStep1: ANSWERED,
    AwarenessUpdate: TOLD,
    QueryAwareness: IGNORED,
    Authenticate: ANSWERED,
    Stateless: IGNORED,
    Leave: ENDED,
}
NATIVE: Final = {
    native.Hello: ENDED,  # a second one
    native.Renew: IGNORED,
    native.Ping: ANSWERED,
    native.Pong: IGNORED,
    native.Open: ANSWERED,
    native.Close: IGNORED,
    native.Awareness: TOLD,
    native.Follow: ANSWERED,
}
CARRYING_UPDATES: Final = {SyncStep2, Update}


def test_no_message_is_without_an_expectation() -> None:
    assert set(get_args(y_websocket.Event)) == CARRYING_UPDATES | Y_WEBSOCKET.keys()
    assert set(get_args(hocuspocus.Event)) == CARRYING_UPDATES | HOCUSPOCUS.keys()
    assert set(get_args(native.ClientFrame)) == {native.Push} | NATIVE.keys()


# What is written.


class Writer:
    """A replica of the issue that ana has begun."""

    def __init__(self, client: int, state: bytes = b"\x00\x00") -> None:
        self.doc: Doc[Any] = Doc(client_id=client)
        self.doc.apply_update(state)
        self.title: Text = self.doc.get("title", type=Text)
        self.fields: Map[Any] = self.doc.get("fields", type=Map)
        self.comments: Map[Any] = self.doc.get("comments", type=Map)
        self.stamps: Map[Any] = self.doc.get("stamps", type=Map)

    def update(self, case: str) -> bytes:
        """The bytes of one of `WRITES`."""
        before = self.doc.get_state()
        match case:
            case "what is known":
                return self.doc.get_update()
            case "a comment of one's own":
                self.comments["own"] = Map({"author": "sam", "body": Text("mine")})
            case "text in another's comment":
                self.comments["hers"]["body"].insert(0, "x")
            case "the title":
                self.title.insert(0, "x")
            case "a field":
                self.fields["status"] = "done"
            case "a deletion":
                del self.fields["priority"]
            case "a comment in another's name":
                self.comments["forged"] = Map({"author": "ana"})
            case "a stamp in another's name":
                self.stamps["status"] = {"by": "ana"}
            case _:
                raise AssertionError(case)
        return self.doc.get_update(before)


def begun() -> bytes:
    """What ana has written."""
    ana = Writer(11)
    ana.title.insert(0, "title")
    ana.fields["priority"] = "high"
    ana.comments["hers"] = Map({"author": "ana", "body": Text("by ana")})
    return ana.doc.get_update()


def expected(case: str, role: Role) -> str:
    least = WRITES[case]
    if case == "what is known":
        return "nothing new"
    return "stored" if least is not None and at_least(role, least) else "refused"


@dataclass
class Outcome:
    """What somebody's write came to. `refused`: they were told so."""

    stored: bool
    refused: bool

    def __str__(self) -> str:
        assert not (self.stored and self.refused)
        return "stored" if self.stored else "refused" if self.refused else "nothing new"


async def over_y_websocket(role: Role, frame: Callable[[bytes], bytes], case: str) -> Outcome:
    async with providers.world() as node:
        ana, sam = (providers.Client(node.yjs, f"/yjs/{providers.ISSUE}", token) for token in ("ana", f"sam:{role}"))
        ana.peer.received(y_websocket.update(begun()))
        await settle()
        head = await node.head()
        assert head == 1
        sam.peer.received(frame(Writer(22, begun()).update(case)))
        await settle()
        closing = sam.connection.closing
        assert not closing.done() or closing.result() == close_codes.NOT_ALLOWED
        return Outcome(await node.head() > head, closing.done())


async def over_hocuspocus(role: Role, frame: Callable[[bytes], bytes], case: str) -> Outcome:
    async with providers.world() as node:
        ana, sam = await node.entered("ana", "4.8.0"), await node.entered(f"sam:{role}", "4.8.0")
        ana.say(y_websocket.update(begun()))
        await ana.hears(hocuspocus.STORED)
        await sam.hears(y_websocket.update(begun()))
        head = await node.head()
        sam.say(frame(Writer(22, begun()).update(case)))
        _, answer = await sam.hear()
        assert answer in (hocuspocus.STORED, hocuspocus.REFUSED)
        if answer == hocuspocus.REFUSED:
            await sam.hears(providers.FORBIDDEN)  # the message that an application sees
        return Outcome(await node.head() > head, answer == hocuspocus.REFUSED)


@pytest.mark.parametrize("case", WRITES)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("frame", [y_websocket.update, y_websocket.sync_step2])
@pytest.mark.parametrize("over", [over_y_websocket, over_hocuspocus])
async def test_who_may_write_what_with_yjs(
    over: Callable[..., Awaitable[Outcome]], frame: Callable[[bytes], bytes], role: Role, case: str
) -> None:
    assert str(await over(role, frame, case)) == expected(case, role)


@pytest.mark.parametrize("case", WRITES)
@pytest.mark.parametrize("role", ROLES)
@in_virtual_time
async def test_who_may_write_what_natively(role: Role, case: str) -> None:
    async with native_house() as node:
        ana, sam = await welcome(node.client()), await welcome(node.client("sam", 2), f"sam:{role}")
        ana.say(native.Push((PushEntry(1, ISSUE, begun()),)))
        await ana.until(Ack)
        head = (await node.house.store.workspaces())[0].head
        sam.say(native.Push((PushEntry(1, ISSUE, Writer(22, begun()).update(case)),)))
        await settle()
        sam.hear()
        answers = [answer for answer in sam.heard if isinstance(answer, Ack | Nack)]
        refusals = [answer.code for answer in answers if isinstance(answer, Nack)]
        assert len(answers) == 1
        assert refusals in ([], ["forbidden"])
        outcome = Outcome((await node.house.store.workspaces())[0].head > head, bool(refusals))
        assert str(outcome) == expected(case, role)


# What is said without writing.

PRESENCE: Final = encode_awareness([Entry(1001, 1, b"{}")])


def in_yjs(kind: type, role: Role) -> bytes:
    """A message of a kind, as Yjs clients frame it."""
    return {
        SyncStep1: y_websocket.sync_step1(EMPTY_STATE_VECTOR),
        AwarenessUpdate: y_websocket.awareness(PRESENCE),
        QueryAwareness: b"\x03",
        Authenticate: providers.auth(f"sam:{role}", "4.8.0"),
        Stateless: hocuspocus.stateless("hello"),
        Leave: providers.LEAVE,
    }[kind]


def is_told(client: providers.Client, header: bytes = b"") -> bool:
    return any(
        client.connection.frames.get_nowait()[len(header) :][:1] == b"\x01"
        for _ in range(client.connection.frames.qsize())
    )


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", Y_WEBSOCKET)
async def test_what_anybody_may_say_over_y_websocket(role: Role, kind: type) -> None:
    async with providers.world() as node:
        ana, sam = (providers.Client(node.yjs, f"/yjs/{providers.ISSUE}", token) for token in ("ana", f"sam:{role}"))
        await settle()
        ana.peer.received(y_websocket.awareness(encode_awareness([Entry(7, 1, b"{}")])))  # somebody to ask about
        await settle()
        for client in (ana, sam):
            while client.connection.frames.qsize():
                client.connection.frames.get_nowait()
        sam.peer.received(in_yjs(kind, role))
        await settle()
        assert not sam.connection.closing.done()
        answers = sam.connection.frames.qsize()
        assert (TOLD if is_told(ana) else ANSWERED if answers else IGNORED) == Y_WEBSOCKET[kind]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", HOCUSPOCUS)
async def test_what_anybody_may_say_over_hocuspocus(role: Role, kind: type) -> None:
    async with providers.world() as node:
        ana, sam = await node.entered("ana", "4.8.0"), await node.entered(f"sam:{role}", "4.8.0")
        sam.say(in_yjs(kind, role))
        await settle()
        answers = [sam.connection.frames.get_nowait() for _ in range(sam.connection.frames.qsize())]
        header = hocuspocus.header(providers.ISSUE)
        has_ended = header + hocuspocus.close("provider_initiated") in answers
        outcome = TOLD if is_told(ana, header) else ENDED if has_ended else ANSWERED if answers else IGNORED
        assert outcome == HOCUSPOCUS[kind]
        assert not sam.connection.closing.done()
        if kind is Authenticate:
            scope = hocuspocus.authenticated(may_write=role is not Role.VIEWER)
            assert answers == [header + scope]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", NATIVE)
@in_virtual_time
async def test_what_anybody_may_say_natively(role: Role, kind: type) -> None:
    async with native_house() as node:
        ana, sam = await welcome(node.client()), await welcome(node.client("sam", 2), f"sam:{role}")
        for client in (ana, sam):
            client.say(native.Open(ISSUE, None))
        await settle()
        for client in (ana, sam):
            client.hear()
        sam.say(natively(kind, role))
        await settle()
        answers, told = sam.hear(), ana.hear()
        outcome = TOLD if told else ENDED if sam.socket.closed else ANSWERED if answers else IGNORED
        assert outcome == NATIVE[kind]
        assert all(isinstance(frame, native.Awareness) for frame in told)


def natively(kind: type, role: Role) -> native.ClientFrame:
    """A frame of a kind."""
    token = f"sam:{role}"
    frames: list[native.ClientFrame] = [
        native.Hello(token, "test", None, "updates", None, None, None),
        native.Renew(token),
        native.Ping(1),
        native.Pong(1),
        native.Open(ISSUE, None),
        native.Close(ISSUE),
        native.Awareness(ISSUE, PRESENCE),
        native.Follow(UUID(int=1), 0),
    ]
    return next(frame for frame in frames if type(frame) is kind)


# What is not for a client to say, whatever its role: it ends the issue for them, and nothing is told or stored.

NOT_THEIRS: Final = {
    "a reply of the server's": b"\x04\x00\x00\x01\x00",
    "a broadcast": b"\x06\x02hi",
    "a status of the server's": b"\x08\x01",
    "an unknown message": b"\x63",
    "an unknown kind of sync": b"\x00\x09\x00",
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", NOT_THEIRS)
async def test_what_nobody_may_say_over_hocuspocus(role: Role, name: str) -> None:
    async with providers.world() as node:
        ana, sam = await node.entered("ana", "4.8.0"), await node.entered(f"sam:{role}", "4.8.0")
        sam.say(NOT_THEIRS[name])
        await sam.hears(hocuspocus.close("malformed"))
        assert not is_told(ana, hocuspocus.header(providers.ISSUE))
        assert await node.head() == 0


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", [*NOT_THEIRS, "a verdict on a token"])
async def test_what_nobody_may_say_over_y_websocket(role: Role, name: str) -> None:
    async with providers.world() as node:
        sam = providers.Client(node.yjs, f"/yjs/{providers.ISSUE}", f"sam:{role}")
        await settle()
        sam.peer.received((NOT_THEIRS | {"a verdict on a token": b"\x02\x00\x00"})[name])
        assert await sam.close_code() == close_codes.BAD_REQUEST
        assert await node.head() == 0


# The log over HTTP, which is no operation of the registry: everybody of the workspace reads it.


@pytest.mark.parametrize("token", [*(f"sam:{role}" for role in ROLES), "", "nobody", *OTHERS])
@in_virtual_time
async def test_who_may_read_the_log(token: str) -> None:
    async with native_house() as node:
        status, page, _ = await get_changes(node, token=token)
        assert status == (403 if token in OTHERS else 401 if token in ("", "nobody") else 200)
        assert ("changes" in page) == (status == 200)


# Who may come in at all.

STRANGERS: Final = {"": close_codes.UNAUTHORIZED, "nobody": close_codes.UNAUTHORIZED}
OUTSIDERS: Final = dict.fromkeys(OTHERS, close_codes.NOT_ALLOWED)


@pytest.mark.parametrize(("token", "code"), [*STRANGERS.items(), *OUTSIDERS.items()])
async def test_nobody_else_comes_in_over_yjs(token: str, code: int) -> None:
    async with providers.world() as node:
        stranger = providers.Client(node.yjs, f"/yjs/{providers.ISSUE}", token)
        stranger.peer.received(y_websocket.update(begun()))
        assert await stranger.close_code() == code
        provider = node.connect()
        provider.say(providers.auth(token, "4.8.0"), y_websocket.update(begun()), y_websocket.awareness(PRESENCE))
        _, answer = await provider.hear()
        assert answer[:2] == hocuspocus.denied("")[:2]
        await settle()
        assert provider.connection.frames.empty()
        assert await node.head() == 0


@pytest.mark.parametrize(("token", "code"), [*STRANGERS.items(), *OUTSIDERS.items()])
@in_virtual_time
async def test_nobody_else_comes_in_natively(token: str, code: int) -> None:
    async with native_house() as node:
        client = NativeClient(lambda: node.door, "sam", 2)
        client.connect(token or "nobody")
        client.say(native.Push((PushEntry(1, ISSUE, begun()),)))
        await settle()
        client.hear()
        assert client.socket.closed is not None
        assert client.socket.closed[0] == code
        assert [type(frame) for frame in client.heard] == [native.Refusal]
        assert (await node.house.store.workspaces())[0].head == 0
