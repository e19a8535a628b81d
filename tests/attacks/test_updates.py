"""Updates and state vectors that lie about their size, their order, their place or their author."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

import pytest

from crdt.encoding import write_var_uint
from server import close_codes
from server.dialects import y_websocket
from tests.attacks.arena import Arena
from tests.attacks.forging import (
    END,
    HUGE,
    behind,
    embed,
    formatting,
    garbage,
    number,
    section,
    shared,
    shared_in,
    string,
    text,
    update,
    value,
)
from tests.hostile import BASE, BREAKING, HANGING, KILLING, MEMORY_BOMB

pytestmark = pytest.mark.asyncio(loop_scope="module")

BAD: Final = close_codes.BAD_REQUEST
MUCH: Final = close_codes.TOO_MUCH
EVE: Final = 4242


def nested_types(depth: int) -> bytes:
    """Maps in maps."""
    structs = [shared("fields", "k", 1), *(shared_in(EVE, clock, "k", 1) for clock in range(depth))]
    return update(EVE, 0, *structs)


def many_clients(count: int) -> bytes:
    """One letter each."""
    return number(count) + b"".join(section(9_000 + at, 0, text("notes", "x")) for at in range(count)) + END


ALLOCATION: Final = {
    "2^28 client sections": number(HUGE),
    "2^28 structs in a section": number(1) + number(HUGE) + number(EVE) + number(0),
    "a string of 2^53 bytes": number(1)
    + number(1)
    + number(EVE)
    + number(0)
    + b"\x04\x01"
    + string("t")
    + number(1 << 52),
    "a binary of 2^28 bytes": update(EVE, 0, b"\x23\x01" + string("f") + string("k") + number(HUGE)),
    "2^28 values": update(EVE, 0, b"\x28\x01" + string("f") + string("k") + number(HUGE)),
    "an array of 2^28": update(EVE, 0, value("f", "k", b"\x75" + number(HUGE))),
    "an object of 2^28": update(EVE, 0, value("f", "k", b"\x76" + number(HUGE))),
    "2^28 clients in the delete set": number(0) + number(HUGE),
    "2^28 ranges in the delete set": number(0) + number(1) + number(EVE) + number(HUGE),
    "a deleted range of 2^50 clocks": number(0) + number(1) + number(EVE) + number(1) + number(0) + number(1 << 50),
    "garbage of 2^40 clocks in ten bytes": update(EVE, 0, garbage(1 << 40)),
    "a hole of 2^40 clocks": update(EVE, 0, b"\x0a" + number(1 << 40)),
}
MALFORMED: Final = {
    "nothing": b"",
    "a section without structs": number(1) + number(0) + number(EVE) + number(0) + END,
    "a client twice": number(2) + section(EVE, 0, text("t", "a")) + section(EVE, 1, text("t", "b")) + END,
    "a struct of length zero": update(EVE, 0, text("t", "")),
    "garbage of length zero": update(EVE, 0, garbage(0)),
    "text that is not UTF-8": update(EVE, 0, text("t", b"\xff\xfe")),
    "a name that is not UTF-8": update(EVE, 0, b"\x04\x01" + string(b"\xc3\x28") + string("x")),
    "an integer of eleven bytes": b"\x80" * 10 + b"\x01",
    "an integer beyond 53 bits": b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    "an integer longer than it needs": b"\x80\x00",
    "bytes behind the end": update(EVE, 0, text("t", "a")) + b"more",
    "an unknown value": update(EVE, 0, value("f", "k", b"\x01")),
    "content nobody knows": update(EVE, 0, b"\x1f\x01" + string("t") + b"x"),
    "JSON that is none": update(EVE, 0, embed("{")),
    "JSON with NaN": update(EVE, 0, embed('{"a":NaN}')),
    "half a surrogate pair in JSON": update(EVE, 0, embed('{"a":"\\ud800"}')),
    "formatting that is no JSON": update(EVE, 0, formatting("bold")),
    "a sub-document": update(EVE, 0, b"\x29\x01" + string("f") + string("k") + string("guid") + b"\x76\x00"),
    "content of Yjs 12": update(EVE, 0, b"\x02\x01" + string("t") + number(1) + string('"x"')),
    "a moved range": update(EVE, 0, b"\x0b\x01" + string("t") + b"\x00\x00"),
    "an XML hook": update(EVE, 0, shared("fields", "k", 5)),
}
IMPOSSIBLE: Final = {
    "a struct behind itself": update(EVE, 0, behind(EVE, 0, "x")),
    "two that wait for each other": number(2)
    + section(4242, 0, behind(4243, 0, "x"))
    + section(4243, 0, behind(4242, 0, "x"))
    + END,
    "text in a map": update(EVE, 0, shared("fields", "m", 1), b"\x04\x00" + number(EVE) + number(0) + string("x")),
    "text in an array": update(EVE, 0, shared("fields", "a", 0), b"\x04\x00" + number(EVE) + number(0) + string("x")),
    "a list with text in it": update(EVE, 0, text("odd", "x"), b"\x08\x01" + string("odd") + number(1) + b"\x7d\x01"),
    "a child of a letter": update(EVE, 0, text("t", "x"), b"\x04\x00" + number(EVE) + number(0) + string("y")),
}
TOO_LARGE: Final = {
    "values 10,000 deep": update(EVE, 0, value("fields", "k", b"\x75\x01" * 10_000 + b"\x7e")),
    "JSON 10,000 deep": update(EVE, 0, embed("[" * 10_000 + "]" * 10_000)),
    "types 65 deep": nested_types(65),
    "a key of 2,000 characters": update(EVE, 0, value("fields", "k" * 2_000, b"\x7e")),
    "a root with a name of 2,000 characters": update(EVE, 0, text("t" * 2_000, "x")),
    "4,097 client ids": many_clients(4_097),
    "2^31 clocks of garbage": update(EVE, 1, garbage((1 << 31) - 1)),
}
ENGINE_KILLERS: Final = KILLING | HANGING | BREAKING | {"memory bomb": MEMORY_BOMB}


@pytest.mark.parametrize("name", [*ALLOCATION, *MALFORMED, *IMPOSSIBLE])
async def test_an_update_that_cannot_be(attacked: Arena, name: str) -> None:
    before = attacked.resident_bytes()
    eve = await attacked.over_yjs()
    eve.send(y_websocket.update((ALLOCATION | MALFORMED | IMPOSSIBLE)[name]))
    assert await eve.close_code() == BAD
    assert attacked.resident_bytes() - before < 64 << 20


@pytest.mark.parametrize("name", TOO_LARGE)
async def test_an_update_that_is_too_large(attacked: Arena, name: str) -> None:
    eve = await attacked.over_yjs()
    eve.send(y_websocket.update(TOO_LARGE[name]))
    assert await eve.close_code() in (MUCH, BAD)


@pytest.mark.parametrize("name", ENGINE_KILLERS)
async def test_what_kills_or_hangs_an_engine_does_not_come_to_one(attacked: Arena, name: str) -> None:
    issue = uuid4()
    eve = await attacked.over_yjs(issue)
    eve.send(y_websocket.update(BASE))
    eve.send(y_websocket.update(bytes.fromhex(ENGINE_KILLERS[name])))
    assert await eve.close_code() in (BAD, MUCH)


async def test_a_million_structs(attacked: Arena) -> None:
    """Two bytes each, so it fits into a message; an engine would need minutes."""
    eve = await attacked.over_yjs()
    eve.send(y_websocket.update(number(1) + number(1_000_001) + number(EVE) + number(0) + garbage(1) * 1_000_001 + END))
    assert await eve.close_code() == MUCH


async def test_an_update_above_its_bound(attacked: Arena) -> None:
    eve = await attacked.over_yjs()
    eve.send(y_websocket.update(update(EVE, 0, text("t", "x" * (16 * 2**20 + 1)))))
    assert await eve.close_code() == MUCH


VECTORS: Final = {
    "2^28 entries": number(HUGE),
    "a client twice": number(2) + (number(1) + number(1)) * 2,
    "bytes behind the end": number(0) + b"x",
}


@pytest.mark.parametrize("name", VECTORS)
async def test_a_state_vector_that_lies(attacked: Arena, name: str) -> None:
    eve = await attacked.over_yjs()
    eve.send(y_websocket.sync_step1(VECTORS[name]))
    assert await eve.close_code() == BAD


async def test_a_state_vector_above_its_bound(attacked: Arena) -> None:
    out = bytearray(number(300_000))
    for client in range(300_000):
        write_var_uint(out, 1_000_000 + client)
        write_var_uint(out, 1)
    eve = await attacked.over_yjs()
    eve.send(y_websocket.sync_step1(bytes(out)))
    assert await eve.close_code() == MUCH


@pytest.mark.parametrize("victim", [101, 102])
async def test_garbage_that_burns_the_clocks_of_a_victim(attacked: Arena, victim: int) -> None:
    """Ten bytes with somebody's client id would use up all clocks they could ever write with."""
    eve = await attacked.over_yjs()
    eve.send(y_websocket.update(update(victim, 0, garbage((1 << 31) - 1))))
    assert await eve.close_code() == close_codes.NOT_ALLOWED


async def test_garbage_that_burns_all_clocks_of_its_own(attacked: Arena) -> None:
    """Its author can write no more; nobody else is concerned, and the issue still opens."""
    issue = uuid4()
    eve = await attacked.over_yjs(issue)
    eve.send(y_websocket.update(update(EVE, 0, garbage((1 << 31) - 1))))
    eve.send(y_websocket.update(update(EVE, (1 << 31) - 1, text("t", "x"))))
    assert await eve.close_code() == BAD
    late = await attacked.over_yjs(issue)
    assert (await late.message())[:2] == y_websocket.sync_step1(b"")[:2]
    late.cut()
