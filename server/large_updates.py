"""Updates too big for the loop: an engine judges them one at a time on a copy of the room's index, and the room goes
on. What a session sends behind a large one waits with it; what others send does not.

What the room accepts meanwhile is taken in on the engine's copy as well, once that is back. Where neither makes a
difference to the other they could have come in any order, and the copy becomes the room's index. Where one does (a
field that both write, structs that both bring), the large one is judged again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from crdt.capacity import has_room
from crdt.errors import Refused
from crdt.gate import fold
from crdt.index import Index
from crdt.jobs import Check, Checked
from crdt.records import Arrival, Capacity, Overwrite
from server.gaps import Submission
from server.ground import Ground
from server.session import Session
from storage.engine import EngineError, IssueKey

ATTEMPTS: Final = 3  # beside others; then the room waits for it

Judgement = Checked | Refused | EngineError


class Hearing:
    """One large update at an engine, and what the room accepted since. `is_outdated`: the room has another index now ·
    `defect`: what no engine should raise."""

    __slots__ = ("_meanwhile", "defect", "is_outdated", "judgement", "submission")

    def __init__(self, submission: Submission) -> None:
        self.submission = submission
        self.judgement: Judgement | None = None
        self.defect: Exception | None = None
        self.is_outdated = False
        self._meanwhile: list[tuple[bytes, str, Arrival, Sequence[Overwrite]]] = []

    @property
    def is_over(self) -> bool:
        """Whether the engine has answered."""
        return self.judgement is not None or self.defect is not None

    @property
    def had_company(self) -> bool:
        """Whether anything was accepted meanwhile."""
        return bool(self._meanwhile)

    def accepted(self, update: bytes, actor: str, arrival: Arrival, overwrites: Sequence[Overwrite]) -> None:
        """The gate took this in, or the log told of it."""
        self._meanwhile.append((update, actor, arrival, overwrites))

    def caught_up(self, checked: Checked, now: Index, capacity: Capacity) -> Index | None:
        """The index with the large update and with all that was accepted meanwhile, which `now` has; None: it has to
        be judged again."""
        if self.is_outdated:
            return None
        index = Index.decode(checked.index)
        for update, actor, arrival, overwrites in self._meanwhile:
            try:
                verdict = fold(index, update, actor, arrival)
            except Refused:
                return None
            if verdict.gap or verdict.update != update or _ids(verdict.overwrites) != _ids(overwrites):
                return None
        index.owners.update(now.owners)  # which the log may have put right
        index.stored_bytes = now.stored_bytes
        return index if not self._meanwhile or has_room(index, capacity, len(checked.update), 0) else None


class LargeUpdates:
    """Of one room, in line. `wake`: the first has been judged."""

    __slots__ = ("_attempts", "_behind", "_ground", "_key", "_line", "_wake", "hearing")

    def __init__(self, key: IssueKey, ground: Ground, wake: Callable[[], None]) -> None:
        self._key = key
        self._ground = ground
        self._wake = wake
        self._line: list[Submission] = []  # one a session
        self._behind: dict[Session, list[Submission]] = {}
        self._attempts = 0  # at the first in line
        self.hearing: Hearing | None = None

    @property
    def is_empty(self) -> bool:
        """Whether none waits."""
        return not self._line

    @property
    def is_judged(self) -> bool:
        """Whether the first in line is."""
        return self.hearing is not None and self.hearing.is_over

    @property
    def is_due(self) -> bool:
        """Whether there is something for a turn to do."""
        return self.is_judged or (self.hearing is None and bool(self._line))

    def holds(self, session: Session) -> bool:
        """Whether an update of this session waits here, so that its next ones must wait too."""
        return session in self._behind

    def put(self, submissions: Sequence[Submission]) -> None:
        """A large one, and what its session sent behind it. Of that session nothing more is read for now."""
        session = submissions[0][0]
        self._line.append(submissions[0])
        self._behind[session] = list(submissions[1:])
        session.connection.pause_reading()

    def wait(self, submission: Submission) -> None:
        """Behind the large one of its session."""
        self._behind[submission[0]].append(submission)

    def judge_next(self, job: Callable[[Submission], Check]) -> None:
        """Send the first in line to an engine, if none is there; one that others touched again and again goes alone."""
        if self._line and self.hearing is None and self._attempts < ATTEMPTS:
            self.hearing = Hearing(self._line[0])
            self._ground.spawn(self._judge(self.hearing, job(self._line[0])))

    def next_alone(self) -> Submission | None:
        """The first in line, if it is to be judged while the room waits."""
        return self._line[0] if self._line and self._attempts >= ATTEMPTS else None

    def judge_again(self) -> None:
        """What others did meanwhile may make another judgement of it."""
        self.hearing = None
        self._attempts += 1

    def release(self, session: Session) -> list[Submission]:
        """The first in line, which is this session's, is through: what waited behind it, in order."""
        self.hearing = None
        self._attempts = 0
        self._line.pop(0)
        return self._behind.pop(session)

    def clear(self) -> None:
        """The room has ended, and is let go of."""
        self.hearing = None
        self._wake = _nobody
        self._line.clear()
        self._behind.clear()

    async def ask(self, job: Check) -> Judgement:
        """What an engine says."""
        try:
            return await self._ground.engine.run(job, key=self._key, deadline=self._ground.limits.engine_timeout)
        except (Refused, EngineError) as error:
            return error

    async def _judge(self, hearing: Hearing, job: Check) -> None:
        try:
            hearing.judgement = await self.ask(job)
        except Exception as error:  # noqa: BLE001 -- the turn that takes it raises it
            hearing.defect = error
        if hearing is self.hearing:
            self._wake()


def _nobody() -> None:
    """Is woken."""


def _ids(overwrites: Sequence[Overwrite]) -> list[tuple[str, int, int, int, int, tuple[int, int]]]:
    return [
        (one.key, one.standing.client, one.standing.clock, one.losing.client, one.losing.clock, one.replaced)
        for one in overwrites
    ]
