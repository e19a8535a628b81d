"""A real server with honest people in one issue, and whoever attacks it there.

During each attack and after it they must stay connected, hear each other and be acknowledged. How quickly is measured
by `make bench ARGS=attacks`, on many samples; here only that nothing keeps them from it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID, uuid4

from server.auth import keys_of
from server.auth.tokens import Key
from server.permissions import Role
from tests.attacks.honest import ANA, People
from tests.attacks.ways import Ways
from tests.peers.forked_server import forking
from tests.peers.server_process import ServerProcess

QUICK: Final = (
    *("--handshake-timeout-seconds", "1"),
    *("--authentication-timeout-seconds", "2"),
    *("--hello-timeout-seconds", "1"),
    # Seldom: between two tests nobody runs the loop of the honest people, who answer no ping then.
    *("--ping-interval-seconds", "25", "--pong-timeout-seconds", "25"),
    *("--user-offence-rate", "0"),  # eve is caught more often here than anybody should be
)


class Arena(Ways):
    """One issue on one server."""

    def __init__(self, server: ServerProcess, issue: UUID) -> None:
        super().__init__(server.port, issue, ANA)
        self.server = server

    def key(self) -> Key:
        """What the server signs with."""
        return keys_of(self.server.settings()).signing()

    def token(self, user: str = "eve", role: Role = Role.MEMBER, workspace: str = "main") -> str:
        """A good token."""
        return self.server.token(user, role, workspace)

    def resident_bytes(self) -> int:
        """Memory of the server's main process."""
        with open(f"/proc/{self.server.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    async def expect_calm(self, people: People) -> None:
        """They still hear each other, and the server is well."""
        await people.talk()
        assert await self.server.status("/healthz") == 200


@asynccontextmanager
async def arena(*flags: str) -> AsyncIterator[tuple[Arena, People]]:
    """A server for the length of a file, with people in an issue."""
    async with forking(*QUICK, *flags) as server:
        made = Arena(server, uuid4())
        people = await People.enter(made)
        await made.expect_calm(people)
        yield made, people
        await people.leave()
