"""What somebody brings to prove who they are, and what else their first message tells of their device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

MAX_NAME_LENGTH: Final = 200  # of the format: names are columns of keys

DEVICE: Final = "x-device-id"
PUBLIC_KEY: Final = "x-device-key"
_PLATFORM: Final = "sec-ch-ua-platform"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, maybe none, and where it came from. Everything but the token is only what the client says.

    `device_id`: None unless it is a name · `address`: `host:port` of the peer.
    """

    token: str
    device_id: str | None = None
    platform: str | None = None
    user_agent: str | None = None
    public_key: str | None = None
    address: str = ""

    @classmethod
    def of(cls, headers: Mapping[str, str], query: Mapping[str, str], address: str) -> Credentials:
        """From a request: `Authorization: Bearer` or `?token=`, which is all a browser can send with a WebSocket;
        `X-Device-Id` or `?device=`. Header names are lower-case."""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        return cls(
            token=bearer.strip() if scheme.lower() == "bearer" else query.get("token", ""),
            device_id=_name(headers.get(DEVICE) or query.get("device")),
            platform=_name(headers.get(_PLATFORM, "").strip('"')),
            user_agent=_name(headers.get("user-agent")),
            public_key=_name(headers.get(PUBLIC_KEY)),
            address=address,
        )

    def with_token(self, token: str, device_id: str | None = None) -> Credentials:
        """The same client, with a token that came later, and maybe the name of its device."""
        return replace(self, token=token, device_id=_name(device_id) or self.device_id)


def is_name(value: str) -> bool:
    """Whether a user, a workspace or a device may be called that."""
    return value.isprintable() and 0 < len(value) <= MAX_NAME_LENGTH


def _name(value: str | None) -> str | None:
    """What fits into a name; None when nothing does."""
    cut = (value or "")[:MAX_NAME_LENGTH]
    return cut if is_name(cut) else None
