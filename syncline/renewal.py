"""Another token before the present one runs out, on a connection that stays."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from syncline import tokens
from syncline.backoff import Backoff

AHEAD_SECONDS: Final = 60.0  # half of what is left of a token, if that is less

_log = logging.getLogger("syncline")


class Renewal:
    """The token of one connection. `fetch` gives what the program has now, `renew` sends it to the server.

    Times are the server's: the token is good for as long as it thinks.
    """

    def __init__(
        self, token: str, fetch: Callable[[], Awaitable[str]], renew: Callable[[str], None], backoff: Backoff
    ) -> None:
        self.token = token
        self._fetch = fetch
        self._renew = renew
        self._backoff = backoff
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """There may be another one now."""
        self._asked.set()

    async def run(self, server_time: float) -> None:
        """Until cancelled. `server_time`: by the server's clock now, in seconds since 1970."""
        loop = asyncio.get_running_loop()
        ahead_of_loop = server_time - loop.time()
        wait = _until_due(self.token, server_time)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._asked.wait()
            self._asked.clear()
            if await self._change():
                self._backoff.reset()
                wait = _until_due(self.token, loop.time() + ahead_of_loop)
            else:
                wait = self._backoff.next_seconds()

    async def _change(self) -> bool:
        """Ask for a token, and use it if it is another one."""
        try:
            fresh = await self._fetch()
        except Exception as error:  # noqa: BLE001 - whatever the program's own function raises
            _log.warning("no new token: %s", error)
            return False
        if fresh == self.token:
            return False
        self.token = fresh
        self._renew(fresh)
        return True


def _until_due(token: str, now: float) -> float | None:
    """Seconds until it is time for another one; None: this one does not run out."""
    expiry = tokens.expiry(token)
    if expiry is None:
        return None
    left = max(0.0, expiry - now)
    return left - min(AHEAD_SECONDS, left / 2)
