"""What every room of a hub stands on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass

from server.clock import Clock
from server.conflict_desk import ConflictDesk
from server.limits import RoomLimits
from server.metrics import Metrics
from server.rota import Rota
from storage.appender import Appender
from storage.engine import Engine, EngineFailed, IssueKey


@dataclass(frozen=True, slots=True)
class Ground:
    """The hub's side of a room: services, and whom to tell what."""

    appender: Appender
    rota: Rota
    engine: Engine
    limits: RoomLimits
    clock: Clock
    metrics: Metrics
    conflicts: ConflictDesk
    spawn: Callable[[Coroutine[None, None, None]], None]  # a task the hub owns
    catch_up: Callable[[int], Awaitable[None]]  # until what other nodes committed in a workspace was fed
    committed: Callable[[int, Sequence[int]], None]  # seqs of a workspace that this node committed
    quarantine: Callable[[EngineFailed], None]
    settled: Callable[[IssueKey], None]  # nothing of the room waits or is in flight any more
    may_begin: Callable[[int], bool]  # whether the workspace may have one more issue
    begun: Callable[[int], None]  # it has
    closed: Callable[[IssueKey], None]  # the room is of no use any more: forget it
