"""Bytes that no honest client sends, built from the layouts of lib0, Yjs v1 and the dialects."""

from __future__ import annotations

from typing import Final

from crdt.encoding import write_string, write_var_uint

HUGE: Final = 1 << 28
END: Final = b"\x00"  # an empty delete set


def number(value: int) -> bytes:
    """A varUint."""
    out = bytearray()
    write_var_uint(out, value)
    return bytes(out)


def string(text: str | bytes) -> bytes:
    """A varString."""
    if isinstance(text, bytes):
        return number(len(text)) + text
    out = bytearray()
    write_string(out, text)
    return bytes(out)


def update(client: int, clock: int, *structs: bytes, deletes: bytes = END) -> bytes:
    """An update of one client."""
    return number(1) + section(client, clock, *structs) + deletes


def section(client: int, clock: int, *structs: bytes) -> bytes:
    """The structs of one client in an update."""
    return number(len(structs)) + number(client) + number(clock) + b"".join(structs)


def text(root: str, content: str | bytes) -> bytes:
    """A string at the start of a root."""
    return b"\x04\x01" + string(root) + string(content)


def value(root: str, key: str, content: bytes, count: int = 1) -> bytes:
    """A key of a root set to a lib0 `any`."""
    return b"\x28\x01" + string(root) + string(key) + number(count) + content


def shared(root: str, key: str, reference: int) -> bytes:
    """A key of a root set to a shared type."""
    return b"\x27\x01" + string(root) + string(key) + number(reference)


def shared_in(client: int, clock: int, key: str, reference: int) -> bytes:
    """A key of a shared type set to another one."""
    return b"\x27\x00" + number(client) + number(clock) + string(key) + number(reference)


def behind(client: int, clock: int, content: str) -> bytes:
    """A string to the right of a struct."""
    return b"\x84" + number(client) + number(clock) + string(content)


def garbage(length: int) -> bytes:
    """A struct that is collected."""
    return b"\x00" + number(length)


def embed(json: str | bytes) -> bytes:
    """An embedded object at the start of the description."""
    return b"\x05\x01" + string("description") + string(json)


def formatting(json: str) -> bytes:
    """A formatting mark at the start of the description."""
    return b"\x06\x01" + string("description") + string("bold") + string(json)
