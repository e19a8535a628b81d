"""An editor for the tests: while its file is open, another program edits the same issue, then it appends a line.

python -m tests.sdk.slow_editor STORE ISSUE FILE
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import UUID

from syncline import Client


async def meanwhile(store: str, issue: str) -> None:
    async with Client("http://127.0.0.1:9", token="", path=store) as client:
        seen = await client.issues.get(UUID(issue))
        await client.issues.update(seen.id, description=f"Since Tuesday: {seen.description}")


if __name__ == "__main__":
    asyncio.run(meanwhile(*sys.argv[1:3]))
    with Path(sys.argv[3]).open("a", encoding="utf-8") as file:
        file.write("Says who?\n")
