"""A replica in Node, behind whichever provider: what watched.mjs is to the scripts."""

from __future__ import annotations

from typing import Any, Final

from tests.js.toolchain import Script

PATIENCE: Final = 60.0  # seconds a condition may take before the test fails


class Watched:
    """One document behind one provider. Conditions are waited for, never slept for."""

    def __init__(self, script: Script, name: str, client_id: int) -> None:
        self.name = name
        self.client_id = client_id
        self._script = script

    async def append(self, text: str, root: str = "description") -> None:
        """Write at the end of a text."""
        await self._call("edit", operations=[appending(text, root)])

    async def show(self, name: str | None) -> None:
        """Be present under `name`, or (None) no longer."""
        await self._call("awareness", state=None if name is None else {"name": name})

    async def wait(self, until: str, *, deadline: float = PATIENCE, **condition: Any) -> None:
        """Wait for a condition of the script. Raises NodeFailed after `deadline` seconds."""
        await self._call("wait", until=until, seconds=deadline, deadline=deadline + 5, **condition)

    async def wait_contains(self, text: str, root: str = "description", *, deadline: float = PATIENCE) -> None:
        """Wait until a text of this replica has `text` in it."""
        await self.wait("contains", root=root, text=text, deadline=deadline)

    async def destroy(self) -> None:
        """`provider.destroy()`, and the replica is gone."""
        await self._call("destroy")

    async def _call(self, command: str, **arguments: Any) -> Any:
        return await self._script.call(command, replica=self.name, **arguments)


def appending(text: str, root: str = "description") -> dict[str, str]:
    """The operation (content.mjs) that writes at the end of a text."""
    return {"op": "append", "root": root, "text": text}
