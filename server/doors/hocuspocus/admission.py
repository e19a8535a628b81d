"""Who sends a token for a document: asked in the background, one token at a time, a newer one in place of an older."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from server import close_codes
from server.auth import IdentityUnavailable, NotAllowed, TokenRefused
from server.doors.hocuspocus.socket import SharedSocket
from server.doors.hocuspocus.surroundings import Surroundings
from server.visits import Guest, Visit


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the document hears: a visit has begun or goes on, or the token is no good and why."""

    admitted: Callable[[Visit], None]
    denied: Callable[[str], None]


def _unheard(_: object) -> None:
    """Nobody is there to hear."""


class Admission:
    """Of one document in `workspace`. `visit` is the one that its user is on."""

    def __init__(
        self, workspace: str, socket: SharedSocket, around: Surroundings, guest: Guest, verdicts: Verdicts, log: Any
    ) -> None:
        self.visit: Visit | None = None
        self._workspace = workspace
        self._socket = socket
        self._around = around
        self._guest = guest
        self._verdicts = verdicts
        self._log = log
        self._checking: asyncio.Task[None] | None = None

    def check(self, token: str) -> None:
        """The verdict comes from the loop, if no other token comes before it."""
        self.stop()
        self._checking = self._around.spawn(self._check(token))

    def stop(self) -> None:
        """No verdict is wanted any more."""
        checking, self._checking = self._checking, None
        if checking is not None and checking is not asyncio.current_task():
            checking.cancel()

    def end(self) -> None:
        """Nobody will ever ask again. Lets go of the document, which holds this."""
        self.stop()
        self.leave()
        self._guest = Guest(self._guest.dialect, _unheard, _unheard)
        self._verdicts = Verdicts(_unheard, _unheard)

    def refused(self, reason: str) -> None:
        """Something the user sent was not taken; see `Visit.refused`."""
        if self.visit is not None:
            self.visit.refused(reason)

    def leave(self) -> None:
        """The user is in no more."""
        visit, self.visit = self.visit, None
        if visit is not None:
            visit.leave()

    async def _check(self, token: str) -> None:
        credentials = self._socket.credentials.with_token(token)
        visits = self._around.services.visits
        try:
            visit = await visits.enter(credentials, self._workspace, self._guest, before=self.visit)
        except (TokenRefused, NotAllowed) as refused:
            self._log.info("token refused", reason=str(refused))
            self._verdicts.denied(str(refused))
        except IdentityUnavailable as error:
            # Denied is for good, and that is not what is known.
            self._log.warning("token not checked", reason=str(error))
            self._socket.close(close_codes.TRY_LATER, "try again later")
        except Exception as error:  # noqa: BLE001 -- the top of a task
            self._around.services.metrics.loop_failures.labels("hocuspocus token").inc()
            self._log.exception("token not checked", reason=type(error).__name__)
            self._socket.close(close_codes.INTERNAL_ERROR, "internal error")
        else:
            self._verdicts.admitted(visit)
