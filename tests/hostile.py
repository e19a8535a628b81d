"""The smallest updates known to make the engine panic, crash, hang, break or eat memory when no gate stops them."""

from types import MappingProxyType

# Roots m (Map with a nested Map and Text), t (Text) and a (Array), all by client 1 up to clock 27.
BASE = bytes.fromhex(
    "010e01000101017402840101016c840102086c6f20776f726c642101016d016b01a8010b01770276322801016d016e017c3fc00000270101"
    "6d066e6573746564012800010e0178017c3f8000002700010e02747402040001100361626308010161017c3f800000810114018801150277"
    "057468726565760104666f757275017c40800000c4010201030358595a01010300020b011501"
)
# A later update of BASE by the same honest client.
NEXT = bytes.fromhex("0102011b84010a05206d6f7265a8010c017702763301010300020b021501")

_DEEP = 40_000  # levels and sections; 26,300 and 33,000 were enough for the stack of the main thread
_CLIENT = 9


def _number(value: int) -> bytes:
    """lib0's varUint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _lists_in_lists() -> bytes:
    """One plain value: a list that holds a list that holds a list …"""
    return b"\x01\x01" + bytes([_CLIENT]) + b"\x00\x08\x01\x01z\x01" + b"\x75\x01" * _DEEP + b"\x7f\x00"


def _maps_in_maps() -> bytes:
    """Shared maps, each in the one before, and the deletion of the outermost."""
    inner = (b"\x27\x00" + bytes([_CLIENT]) + _number(clock) + b"\x01k\x01" for clock in range(_DEEP - 1))
    head = b"\x01" + _number(_DEEP) + bytes([_CLIENT]) + b"\x00\x27\x01\x01z\x01k\x01"
    return head + b"".join(inner) + b"\x01" + bytes([_CLIENT]) + b"\x01\x00\x01"


def _empty_sections() -> bytes:
    """Clients who wrote nothing."""
    count = 2 * _DEEP + 8_000
    return _number(count) + b"".join(b"\x00" + _number(100 + client) + b"\x00" for client in range(count)) + b"\x00"


KILLING = MappingProxyType(
    {
        "panic in apply: empty section": "0100010000",
        "panic in the next innocent apply": "0101011e000000",
        "panic in every later snapshot": "01010701000000",
        "segmentation fault in the next innocent apply": "0200070203011b00010a030801016d017f00",
        "segmentation fault after a panic": "020107000401017401780107000401017402797900",
        "stack overflow: lists in lists": _lists_in_lists().hex(),
        "stack overflow: maps in maps": _maps_in_maps().hex(),
        "stack overflow: empty sections": _empty_sections().hex(),
    }
)
HANGING = MappingProxyType(
    {
        "endless read of a nested list": "01020200a801140179a4020004f09f988000",
        "endless read of a root list": "010107000401016104f09f988000",
    }
)
BREAKING = MappingProxyType(
    {
        "partly applied": "0102011b00010700010c0100",
        "later innocent update refused": "0101011b0100011b1400",
        "snapshot that does not load": "0101020082010d00013100",
    }
)
MEMORY_BOMB = "0202011a2601016d016e0162046e756c6c8101160502011aa4011904f09f98800a00010104180108020a021001"


def hostile(hexadecimal: str) -> list[bytes]:
    """The update between an honest document and its honest next update."""
    return [BASE, bytes.fromhex(hexadecimal), NEXT]
