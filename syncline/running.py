"""How a command of `syncline issues` runs: with a client in step with the server, and a line for what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

import typer

from syncline import screen
from syncline.client import Client
from syncline.errors import NotAccepted, SynclineError
from syncline.places import Place
from syncline.status import State

T = TypeVar("T")

TROUBLE: Final = (State.OFFLINE, State.NEEDS_AUTH, State.ERROR)
FAILED: Final = 1
MISUSED: Final = 2


def run(place: Place, work: Callable[[Client], Awaitable[None]], *, needs_the_server: bool = True) -> None:
    """Open, get in step as far as the time allows, work. What goes wrong for a known reason ends in one line."""
    try:
        asyncio.run(_open(place, work, needs_the_server))
    except (NotAccepted, SynclineError) as error:
        complain(str(error))
        raise typer.Exit(FAILED) from None
    except ValueError as error:
        complain(str(error))
        raise typer.Exit(MISUSED) from None


async def _open(place: Place, work: Callable[[Client], Awaitable[None]], needs_the_server: bool) -> None:
    async with Client(place.url, token=place.token, workspace=place.workspace, path=place.path()) as client:
        if needs_the_server and place.wait:
            await within(_in_step(client), place.wait)
        await work(client)


async def _in_step(client: Client) -> None:
    """Caught up, and what earlier commands left in the outbox is sent. Offline is an end, too: what is here is all
    there is to work on."""
    async for now in client.status:
        if now.state in TROUBLE or (now.state is State.LIVE and not now.pending):
            return


def where_it_stands(client: Client) -> str:
    """Why the server may know more, or less; nothing while the two are in step."""
    now = client.status.now
    if now.state is State.LIVE:
        return ""
    return f"; {now.state.value}, {screen.plain(now.reason)}" if now.reason else f"; {now.state.value}"


async def within(work: Awaitable[T], seconds: float) -> T | None:
    """What comes of it in that time, else None."""
    with suppress(TimeoutError):
        return await asyncio.wait_for(work, seconds)
    return None


def complain(message: str) -> None:
    """One line, where it is in no output's way."""
    screen.console(stderr=True).print(f"syncline: {screen.plain(message)}", style="red", soft_wrap=True)
