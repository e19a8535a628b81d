"""Well-formed updates with random meaning: every byte is sound, references exist, no honest client wrote them."""

import random

from crdt.encoding import write_string, write_var_uint
from crdt.index import Index

ROOTS = ["title", "description", "fields", "list", "comments", "other"]
ANYS = [(1, b"\x7d\x05"), (2, b"\x7f\x7e"), (1, b"\x77\x04\xf0\x9f\x98\x80"), (1, b"\x75\x01\x76\x00")]
TEXTS = ["a", "é", "😀", "x😀y", "\ufffd"]


def nonsense(rng: random.Random, index: Index) -> bytes:
    """An update of one or two sections with one to four structs each, over what `index` knows."""
    out = bytearray()
    clients = rng.sample([11, 22, 33, 44, 1 << 40], rng.choice([1, 1, 2]))
    known = dict(index.state_vector)
    write_var_uint(out, len(clients))
    for client in clients:
        count = rng.randrange(1, 5)
        clock = max(0, known.get(client, 0) - rng.choice([0, 0, 0, 1]))
        write_var_uint(out, count)
        write_var_uint(out, client)
        write_var_uint(out, clock)
        for _ in range(count):
            clock += struct(out, rng, known)
            known[client] = max(known.get(client, 0), clock)
    write_var_uint(out, 1 if known and rng.random() < 0.3 else 0)
    if out[-1]:
        client, clock = rng.choice(sorted(known.items()))
        for value in (client, 1, rng.randrange(clock + 1), rng.randrange(1, 4)):
            write_var_uint(out, value)
    return bytes(out)


def struct(out: bytearray, rng: random.Random, known: dict[int, int]) -> int:
    """One struct; returns its length in clocks."""
    kind = rng.choice([0, 1, 3, 4, 4, 5, 6, 7, 7, 8, 8])
    if kind == 0:
        length = rng.randrange(1, 4)
        out.append(0)
        write_var_uint(out, length)
        return length
    origin, right, key = (bool(known) and rng.random() < 0.6, bool(known) and rng.random() < 0.3, rng.random() < 0.4)
    out.append(kind | origin << 7 | right << 6 | key << 5)
    for wanted in (origin, right):
        if wanted:
            reference(out, rng, known)
    if not origin and not right:
        by_name = not known or rng.random() < 0.5
        out.append(by_name)
        if by_name:
            write_string(out, rng.choice(ROOTS))
        else:
            reference(out, rng, known)
        if key:
            write_string(out, rng.choice(["k", "body", "c0"]))
    return content(out, rng, kind)


def reference(out: bytearray, rng: random.Random, known: dict[int, int]) -> None:
    """The id of something known."""
    client, clock = rng.choice(sorted(known.items()))
    write_var_uint(out, client)
    write_var_uint(out, rng.randrange(max(clock, 1)))


def content(out: bytearray, rng: random.Random, kind: int) -> int:
    """Random content of a kind; returns its length in clocks."""
    match kind:
        case 1:
            length = rng.randrange(1, 4)
            write_var_uint(out, length)
            return length
        case 3:
            out += b"\x02\x00\xff"
        case 4:
            text = rng.choice(TEXTS)
            write_string(out, text)
            return len(text.encode("utf-16-le")) // 2
        case 5:
            write_string(out, '{"a":[1,"\\u0000"]}')
        case 6:
            write_string(out, rng.choice(["bold", "k"]))
            write_string(out, rng.choice(["true", "null", '"x"']))
        case 7:
            type_ref = rng.randrange(7)
            out.append(type_ref)
            if type_ref in (3, 5):
                write_string(out, "p")
        case _:
            length, values = rng.choice(ANYS)
            out.append(length)
            out += values
            return length
    return 1
