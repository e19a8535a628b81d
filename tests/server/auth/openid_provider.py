"""An OpenID provider of the suite's own: it signs, serves its keys over HTTP, rotates them and goes away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from server.auth.provider import CONFIGURATION, ProviderAway

AUDIENCE = "syncline-test"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


class OpenIdProvider:
    """`fetch` answers without a network; `serving` puts it on a port."""

    def __init__(self, issuer: str = "https://id.example.org") -> None:
        self.issuer = issuer
        self.is_away = False
        self.fetched = 0
        self.asked = 0  # over HTTP
        self.keys: dict[str, tuple[str, PrivateKeyTypes]] = {"rsa-1": ("RS256", RSA_KEY), "ec-1": ("ES256", EC_KEY)}

    def token(self, user: str = "ana", key: str = "rsa-1", *, now: datetime | None = None, **changes: Any) -> str:
        """Signed by one of its keys; claims that are None are left out."""
        issued = now or datetime.now(UTC)
        claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": user,
            "iat": issued.timestamp(),
            "exp": (issued + timedelta(hours=1)).timestamp(),
            "name": user.title(),
            "email": f"{user}@example.org",
            **changes,
        }
        algorithm, private = self.keys[key]
        said = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(said, private, algorithm=algorithm, headers={"kid": key})  # type: ignore[arg-type]

    def documents(self) -> dict[str, Any]:
        """By path."""
        address = f"{self.issuer}/keys"
        return {
            CONFIGURATION: {"issuer": self.issuer, "jwks_uri": address},
            "/keys": {"keys": [_public(name, *key) for name, key in self.keys.items()]},
        }

    async def fetch(self, address: str) -> object:
        """A `Fetch`."""
        self.fetched += 1
        if self.is_away:
            raise ProviderAway("nobody answers")
        return self.documents()[address.removeprefix(self.issuer)]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """On a port of this machine, which its issuer then names."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.issuer = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        document = None if self.is_away else self.documents().get(head.split()[1].decode())
        status, body = ("200 OK", json.dumps(document)) if document is not None else ("503 Away", "")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()


def _public(name: str, algorithm: str, key: Any) -> dict[str, Any]:
    kind = RSAAlgorithm if algorithm.startswith("RS") else ECAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig", "alg": algorithm}
