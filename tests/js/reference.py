"""The server that comes with y-websocket 2.1, to hold our clients against something that is not ours."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.js.browser import Address
from tests.js.toolchain import FOLDER, NODE, install
from tests.peers.server_process import free_port

PROGRAM = FOLDER / "node_modules" / "y-websocket-2" / "bin" / "server.cjs"


@asynccontextmanager
async def reference_server() -> AsyncIterator[Address]:
    """A room of a fresh reference server; anybody may edit it."""
    await asyncio.to_thread(install)
    port = free_port()
    server = await asyncio.create_subprocess_exec(
        str(NODE),
        str(PROGRAM),
        env={**os.environ, "HOST": "127.0.0.1", "PORT": str(port)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        async with asyncio.timeout(20):
            await server.stdout.readline()  # "running at …"
        yield Address(f"ws://127.0.0.1:{port}", "room", {})
    finally:
        server.kill()
        await server.wait()
