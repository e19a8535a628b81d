"""What can be said of an address without asking anybody: is it this machine, can it be trusted."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias
from urllib.parse import urlsplit

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Whether who listens there is heard on this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_trusted(url: str) -> bool:
    """Whether what is fetched there cannot be replaced on the way."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    host = parts.hostname or ""
    return (parts.scheme == "https" and bool(host)) or (parts.scheme == "http" and is_loopback(host))


def proxies(listed: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks of proxies. Raises ValueError for what is neither."""
    try:
        return tuple(ipaddress.ip_network(one) for one in listed)
    except ValueError as error:
        raise ValueError(f"--trusted-proxy: {error}") from None


def host_of(address: str) -> str:
    """`host:port` without the port."""
    return address.rpartition(":")[0] or address


def peer_of(address: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """Who is behind a peer (`host:port`), given its `X-Forwarded-For`. That is read from the right, as far as those who
    wrote it are trusted: what stands further left, anybody may have made up. Port 0: the client's is not known."""
    found = address
    for hop in (one.strip() for one in reversed(forwarded.split(","))):
        if not _is_one_of(host_of(found), trusted) or _parsed(hop) is None:
            break
        found = f"{hop}:0"
    return found


def _is_one_of(host: str, networks: Sequence[Network]) -> bool:
    parsed = _parsed(host)
    return parsed is not None and any(parsed in network for network in networks)


def _parsed(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
