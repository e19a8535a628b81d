"""What every room of a hub stands on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence

from server.clock import Clock
from server.conflict_desk import ConflictDesk
from server.limits import RoomLimits
from server.metrics import Metrics
from server.rota import Rota
from storage.appender import Appender
from storage.engine import Engine, EngineFailed, IssueKey


class Ground:
    """The hub's side of a room: services, and whom to tell what. Plain data; compiled with the rooms.

    `spawn`: a task the hub owns · `catch_up`: until what other nodes committed in a workspace was fed · `committed`:
    seqs of a workspace that this node committed · `settled`: nothing of the room waits or is in flight any more ·
    `may_begin`: whether the workspace may have one more issue · `begun`: it has · `closed`: the room is of no use any
    more: forget it.
    """

    def __init__(
        self,
        *,
        appender: Appender,
        rota: Rota,
        engine: Engine,
        limits: RoomLimits,
        clock: Clock,
        metrics: Metrics,
        conflicts: ConflictDesk,
        spawn: Callable[[Coroutine[None, None, None]], None],
        catch_up: Callable[[int], Awaitable[None]],
        committed: Callable[[int, Sequence[int]], None],
        quarantine: Callable[[EngineFailed], None],
        settled: Callable[[IssueKey], None],
        may_begin: Callable[[int], bool],
        begun: Callable[[int], None],
        closed: Callable[[IssueKey], None],
    ) -> None:
        self.appender = appender
        self.rota = rota
        self.engine = engine
        self.limits = limits
        self.clock = clock
        self.metrics = metrics
        self.conflicts = conflicts
        self.spawn = spawn
        self.catch_up = catch_up
        self.committed = committed
        self.quarantine = quarantine
        self.settled = settled
        self.may_begin = may_begin
        self.begun = begun
        self.closed = closed
