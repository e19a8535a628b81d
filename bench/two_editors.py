"""`python -m bench.two_editors`: two editors who are offline set one status differently; the conflict is shown over
REST, a person decides it, and both editors agree.

The editors are two clients of the SDK, each with its own copy of the workspace; the server is one of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from rich.console import Console
from rich.markup import escape

from server.permissions import Role
from syncline import Client
from syncline.status import State
from tests.peers.server_process import ServerProcess, serving

ANA_SAYS: Final = "blocked"
BEN_SAYS: Final = "done"
AGREE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What each of them shows in the end, and what was decided. `chosen`: the value that had lost."""

    statuses: dict[str, str]
    chosen: str
    open_conflicts: int

    @property
    def is_good(self) -> bool:
        """Everybody shows what the person chose, and nothing is left to decide."""
        return set(self.statuses.values()) == {self.chosen} and not self.open_conflicts


class Api:
    """`/v1` of one workspace for one user; each exchange is printed."""

    def __init__(self, server: ServerProcess, user: str, role: Role, console: Console) -> None:
        self._root = f"http://127.0.0.1:{server.port}/v1/workspaces/main"
        self._token = server.token(user, role)
        self._user = user
        self._console = console

    async def __call__(self, method: str, path: str, body: object = None) -> Any:
        """The answer as JSON. Raises HTTPError where it is no."""
        sent = "" if body is None else json.dumps(body)
        self._console.print(f"  [dim]{self._user}:[/] {method} {escape(path)} {escape(sent)}", soft_wrap=True)
        return await asyncio.to_thread(self._ask, method, path, body)

    def _ask(self, method: str, path: str, body: object) -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(self._root + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=AGREE_SECONDS) as answer:
            return json.load(answer)


def main() -> None:
    """Run it; exit 0 only if everybody agrees on what was decided."""
    console = Console()
    outcome = asyncio.run(play(console))
    console.print("[bold green]Everybody agrees.[/]" if outcome.is_good else "[bold red]They do not agree.[/]")
    sys.exit(0 if outcome.is_good else 1)


async def play(console: Console) -> Outcome:
    """The whole story, on a server of its own."""
    async with serving() as server:
        url = f"http://127.0.0.1:{server.port}"
        async with Client(url, token=server.token("ana")) as ana, Client(url, token=server.token("ben")) as ben:
            console.print("[bold]1. One issue, two editors.[/] Conflicts over a status wait for a person.")
            policy = {"fields": {"status": "user_decision"}}
            await Api(server, "admin", Role.ADMIN, console)("PUT", "/conflict-policy", policy)
            issue = (await ana.issues.create(title="Search is slow", status="open")).id
            await shown(ben, issue, "open")
            await edit_offline(server, ana, ben, issue, console)
            return await decide(server, ana, ben, issue, console)


async def edit_offline(server: ServerProcess, ana: Client, ben: Client, issue: UUID, console: Console) -> None:
    """Both set the status while there is no server, then it is there again."""
    console.print("\n[bold]2. Both are offline[/] and set the status, without knowing of each other.")
    await server.terminate()
    for client in (ana, ben):
        await client.status.until(State.OFFLINE)
    for name, client, status in (("ana", ana, ANA_SAYS), ("ben", ben, BEN_SAYS)):
        await client.issues.update(issue, status=status)
        console.print(f"  {name} sees {(await client.issues.get(issue)).status}")
    await server.start()
    for client in (ana, ben):
        client.try_now()
        await client.sent()


async def decide(server: ServerProcess, ana: Client, ben: Client, issue: UUID, console: Console) -> Outcome:
    """The conflict is read and resolved over REST; returns what everybody shows then."""
    console.print("\n[bold]3. Online again:[/] one value stands, the other one is kept.")
    api = Api(server, "carla", Role.MEMBER, console)
    [conflict] = (await api("GET", f"/conflicts?state=open&issue={issue}"))["conflicts"]
    for what in ("standing", "losing"):
        side = conflict[what]
        console.print(f"  {what:>8}: {side['value']} by {side['actor_id']} at {side['at']}")
    await shown(ana, issue, conflict["standing"]["value"])
    await shown(ben, issue, conflict["standing"]["value"])

    console.print("\n[bold]4. Carla gives back what was lost.[/]")
    chosen = conflict["losing"]["value"]
    resolved = await api("POST", f"/conflicts/{conflict['id']}/resolve", {"keep": "losing"})
    console.print(f"  {resolved['state']}: {resolved['resolution']} kept, by {resolved['resolved_by']}")
    await shown(ana, issue, chosen)
    await shown(ben, issue, chosen)

    console.print("\n[bold]5. What everybody shows:[/]")
    left = (await api("GET", "/conflicts?state=open"))["conflicts"]
    row = await api("GET", f"/issues/{issue}?min_seq={(await ana.issues.get(issue)).seq}")
    statuses = {name: (await client.issues.get(issue)).status for name, client in (("ana", ana), ("ben", ben))}
    statuses["REST"] = row["status"]
    for name, status in statuses.items():
        console.print(f"  {name:>4}: {status}")
    return Outcome(statuses, chosen, len(left))


async def shown(client: Client, issue: UUID, status: str) -> None:
    """Wait until a client's own copy shows a status. Raises TimeoutError."""
    async with asyncio.timeout(AGREE_SECONDS):
        async for seen in client.issues.watch():
            if seen.id == issue and seen.status == status:
                return


if __name__ == "__main__":
    main()
