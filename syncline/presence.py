"""Who else is in an open issue, and what they say of themselves: a cursor, a name. Never stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Any

from crdt.awareness import NULL, AwarenessLimits, Entry, decode, encode
from syncline.pulse import Pulse

RENEW_SECONDS = 15.0  # the server forgets who is silent for 30


class Presence:
    """Presence in one open document, as a state of JSON for each client id. Own state first: `set`."""

    __slots__ = ("_client_id", "_clock", "_limits", "_others", "_own", "_pulse", "_send")

    def __init__(self, client_id: int, started_at: int, send: Callable[[bytes], None]) -> None:
        """`started_at`: seconds since 1970. A clock that begins there is above that of an earlier life."""
        self._client_id = client_id
        self._clock = started_at
        self._send = send
        self._limits = AwarenessLimits()
        self._own: bytes = NULL
        self._others: dict[int, tuple[int, Mapping[str, Any]]] = {}
        self._pulse = Pulse()

    @property
    def others(self) -> Mapping[int, Mapping[str, Any]]:
        """Client id → state of everybody else who is here."""
        return MappingProxyType({client: state for client, (_, state) in self._others.items()})

    def set(self, state: Mapping[str, Any]) -> None:
        """Tell the others. Raises TypeError or ValueError for what is no JSON."""
        self._say(json.dumps(state, allow_nan=False).encode())

    def clear(self) -> None:
        """Leave, as far as the others can see."""
        if self._own != NULL:
            self._say(NULL)

    async def __aiter__(self) -> AsyncIterator[Mapping[int, Mapping[str, Any]]]:
        """`others` now, then whenever they change. Ends when the document is closed."""
        async for _ in self._pulse.beats():
            yield self.others

    def renew(self) -> None:
        """For the client: say it again, to be kept or because the connection is new."""
        if self._own != NULL:
            self._say(self._own)

    def forget(self) -> None:
        """For the client: the connection is gone, so nobody is known to be here."""
        if self._others:
            self._others.clear()
            self._pulse.beat()

    def stop(self) -> None:
        """For the client: the document is closed."""
        self.clear()
        self._pulse.stop()

    def hear(self, update: bytes) -> None:
        """For the client: what the server tells. Raises crdt.errors.Refused."""
        changed = False
        for client, clock, state in decode(update, self._limits):
            if client == self._client_id:
                self._clock = max(self._clock, clock)
            elif clock >= self._others.get(client, (0, {}))[0]:
                changed = self._take(client, clock, state) or changed
        if changed:
            self._pulse.beat()

    def _take(self, client: int, clock: int, state: bytes) -> bool:
        said = json.loads(state)
        if isinstance(said, dict):
            before = self._others.get(client)
            self._others[client] = (clock, said)
            return before is None or before[1] != said
        return self._others.pop(client, None) is not None

    def _say(self, state: bytes) -> None:
        self._own = state
        self._clock += 1
        self._send(encode([Entry(self._client_id, self._clock, state)]))
