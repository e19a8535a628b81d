"""Programs of several devices that queue operations, lose answers and send again, beside Yjs clients: against a model
that knows who had heard of what, and nothing of how the server finds out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from server.outbox_batch import OutboxLimits
from storage.conflicts import EVERY_FIELD, USER_DECISION, ConflictQuery
from storage.errors import StoreUnavailable
from storage.store import NewDelta
from tests.server.rest.conftest import Api
from tests.server.rest.queues.model import DELETED, Model, told
from tests.server.rest.queues.players import PAGES, Device, Replica, Sent

FIELDS: Final = ("status", "priority", "user_id")
numbers = count(1)


@pytest.fixture
def outbox_limits() -> OutboxLimits:
    return OutboxLimits(rows_seconds=0.02)  # nobody projects meanwhile


@dataclass(frozen=True)
class Do:
    """A device changes a record and queues that."""

    device: int
    issue: int
    kind: Any
    columns: list[str]
    clock: int
    is_blind: bool


@dataclass(frozen=True)
class Send:
    """A device sends so many of what it has queued of each issue. `fate`: what becomes of the request."""

    device: int
    counts: tuple[int, int]
    fate: str


@dataclass(frozen=True)
class Repeat:
    """An old request of a device arrives again, late."""

    device: int
    which: int


@dataclass(frozen=True)
class Read:
    """A device reads a record, unless something of it is on its way."""

    device: int
    issue: int


@dataclass(frozen=True)
class Type:
    """A replica edits its document, and sends that or not; or hears of the others first."""

    replica: int
    name: str
    clock: int
    is_stamped: bool
    hears: bool
    sends: bool


DEVICES, ISSUES = st.integers(0, 2), st.sampled_from([0, 0, 0, 0, 1])
CLOCKS = st.integers(0, 100)
KINDS = st.sampled_from(["set", "set", "set", "word", "label", "delete", "comment", "reply", "insert"])
COLUMNS = st.one_of(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=2, unique=True), st.just([DELETED]))
FATES = st.sampled_from(["heard", "heard", "lost", "twice", "dies before", "dies after"])
DO = st.builds(Do, DEVICES, ISSUES, KINDS, COLUMNS, CLOCKS, st.sampled_from([False, False, False, True]))
SEND = st.builds(Send, DEVICES, st.tuples(st.integers(0, 4), st.integers(0, 4)), FATES)
TYPE = st.builds(
    Type, st.integers(0, 1), st.sampled_from([*FIELDS, *PAGES]), CLOCKS, st.booleans(), st.booleans(), st.booleans()
)
STEP = st.one_of(
    DO, DO, DO, SEND, SEND, st.builds(Read, DEVICES, ISSUES), TYPE, st.builds(Repeat, DEVICES, st.integers(0, 9))
)
PROGRAMS = st.lists(STEP, min_size=15, max_size=50)


class World:
    """One program on a node that other programs were on before."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        self.api = api
        self.patch = monkeypatch
        number = next(numbers)
        self.issues = [UUID(int=2 * number), UUID(int=2 * number + 1)]
        self.models = {issue: Model() for issue in self.issues}
        names = [("main", "ana", "phone"), ("main", "ana", "desk"), ("admin", "root", "tablet")]
        self.devices = [Device(token, user, f"{name}{number}", self.issues) for token, user, name in names]
        self.replicas = [Replica(self.issues[0], 2 * number + at) for at in range(2)]
        self.taken: dict[str, str] = {}  # operation → what it was to become

    async def run(self, program: list[Any]) -> None:
        await self.begin()
        for step in program:
            match step:
                case Do():
                    device = self.devices[step.device]
                    device.do(self.issues[step.issue], step.kind, step.columns, step.clock, is_blind=step.is_blind)
                case Send():
                    device = self.devices[step.device]
                    await self.send(device, device.batch(dict(zip(self.issues, step.counts, strict=True))), step.fate)
                case Repeat():
                    device = self.devices[step.device]
                    if device.requests:
                        await self.send(device, device.requests[step.which % len(device.requests)], "lost")
                case Read():
                    await self.read(self.devices[step.device], self.issues[step.issue])
                case Type():
                    await self.type(self.replicas[step.replica], step)
        await self.end()

    async def begin(self) -> None:
        """One issue is there and everybody has read it; the other is whoever's comes first."""
        policy: Any = {EVERY_FIELD: USER_DECISION}
        await self.api.home.store.ledger.set_policy(self.api.workspace, policy)
        first, issue = self.devices[0], self.issues[0]
        first.do(issue, "insert", ["status"], 0, is_blind=False)
        first.do(issue, "comment", [], 0, is_blind=False)
        await self.send(first, first.batch({issue: 2}), "heard")
        for device in self.devices:
            await self.read(device, issue)
        for replica in self.replicas:
            await replica.hear(self.api, set(self.models[issue].events))

    async def send(self, device: Device, batch: list[Sent], fate: str) -> None:
        if not batch:
            return
        device.requests.append(batch)
        if fate == "twice":
            both = await asyncio.gather(device.send(self.api, batch), device.send(self.api, batch))
            done = {id for told in both for id, answer in told.items() if answer["status"] != "retry"}
        elif fate.startswith("dies"):
            with self.dying(commits=fate == "dies after"):
                answers = await device.send(self.api, batch, is_lost=True)
            done = {id for id, answer in answers.items() if answer["status"] != "retry" or fate == "dies after"}
        else:
            answers = await device.send(self.api, batch, is_lost=fate == "lost")
            assert all(answer["status"] != "retry" for answer in answers.values())
            done = set(answers)
        self.commit([sent for sent in batch if sent.done.id in done])
        if fate == "dies before":
            await self.send(device, batch, "heard")

    def commit(self, batch: list[Sent]) -> None:
        for sent in batch:
            if sent.done.id not in self.taken:
                self.taken[sent.done.id] = self.models[sent.issue].take(sent.done)

    @contextmanager
    def dying(self, *, commits: bool) -> Iterator[None]:
        """The database takes batches, or not, and then does not answer."""
        append = self.api.home.store.append

        async def dies(batch: list[NewDelta]) -> list[int]:
            if commits:
                await append(batch)
            raise StoreUnavailable("gone")

        with self.patch.context() as patch:
            patch.setattr(self.api.home.store, "append", dies)
            yield

    async def read(self, device: Device, issue: UUID) -> None:
        copy = device.copies[issue]
        if self.models[issue].is_there and not copy.unanswered:
            copy.read(await self.api.content(issue), await self.api.head(), set(self.models[issue].events))

    async def type(self, replica: Replica, step: Type) -> None:
        model = self.models[replica.issue]
        if step.hears:
            await self.publish(replica)
            await replica.hear(self.api, set(model.events))
        replica.do(step.name, step.clock, is_stamped=step.is_stamped)
        if step.sends:
            await self.publish(replica)

    async def publish(self, replica: Replica) -> None:
        """What a replica has not sent yet. Which of two values stands then is for Yjs to say."""
        sets, words = replica.sets, replica.words
        if not sets and not words:
            return
        await replica.send(self.api)
        content, model = await self.api.content(replica.issue), self.models[replica.issue]
        for each in sets:
            shown = getattr(content, each.name)
            model.overwrite(each.id, replica.user, each.name, each.value, each.knew, shown, each.clock)
        for word, place in words:
            model.words.setdefault(place, {})[word] = word
            model.events[word] = replica.user

    async def end(self) -> None:
        """Everything is sent, then everything once more."""
        for replica in self.replicas:
            await self.publish(replica)
        for device in self.devices:
            await self.send(device, device.batch(dict.fromkeys(self.issues, 1_000)), "heard")
        await self.api.project()
        for device in self.devices:
            for batch in device.requests:
                answers = await self.repeated(device, batch)
                assert {answer["status"] for answer in answers.values()} == {"duplicate"}
                for sent in batch:
                    _, record, _ = await self.api.get(f"/issues/{sent.issue}")
                    assert answers[sent.done.id]["record"] == record
            self.expect_one_outcome_each(device)
        for issue, model in self.models.items():
            if model.is_there:
                await self.expect_issue(issue, model)

    async def repeated(self, device: Device, batch: list[Sent]) -> dict[str, Any]:
        """The answer to a request that comes again, once the rows in it could be read in time."""
        while True:
            answers = await device.send(self.api, batch)
            if all(answer["record"] for answer in answers.values()):
                return answers

    def expect_one_outcome_each(self, device: Device) -> None:
        newest: dict[UUID, int] = {}
        seen: set[str] = set()
        for batch in device.requests:
            for sent in batch:
                if sent.done.id in seen:
                    continue
                seen.add(sent.done.id)
                made = [answer for answer in sent.answers if answer["status"] not in ("duplicate", "retry")]
                again = [answer for answer in sent.answers if answer["status"] == "duplicate"]
                assert len(made) <= 1, "made twice"
                outcomes = {answer["status"] for answer in made} | {answer["outcome"] for answer in again}
                assert outcomes == {self.taken[sent.done.id]}, sent.done
                (seq,) = {answer["seq"] for answer in (*made, *again)}
                assert seq >= newest.get(sent.issue, 0), "out of order"
                newest[sent.issue] = seq

    async def expect_issue(self, issue: UUID, model: Model) -> None:
        content = await self.api.content(issue)
        for name in FIELDS:
            if name in model.fields:
                assert getattr(content, name) == model.fields[name].value, name
        assert (content.deleted_at is not None) == model.is_deleted
        assert set(content.labels) == set(model.labels)
        texts = {"title": content.title, "description": content.description}
        texts |= {comment.id: comment.body for comment in content.comments}
        for place, text in texts.items():
            assert sorted(text.split()) == sorted(model.words.get(place, {})), place
        assert model.words.keys() <= texts.keys()
        rows = await self.api.home.store.ledger.page(self.api.workspace, ConflictQuery(limit=1_000, issue_id=issue))
        assert Counter(map(told, rows)) == model.lost


async def judge(api: Api, monkeypatch: pytest.MonkeyPatch, examples: int) -> None:
    """Programs one after the other; Hypothesis calls from a thread of its own."""
    loop = asyncio.get_running_loop()

    # A program takes a fifth of a second, so that making one smaller would take minutes.
    phases = [Phase.explicit, Phase.reuse, Phase.generate]

    @settings(max_examples=examples, deadline=None, phases=phases, suppress_health_check=list(HealthCheck))
    @given(PROGRAMS)
    def one(program: list[Any]) -> None:
        asyncio.run_coroutine_threadsafe(World(api, monkeypatch).run(program), loop).result()

    await asyncio.to_thread(one)


async def test_what_a_few_programs_do_is_what_the_model_says(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await judge(api, monkeypatch, 3)


@pytest.mark.long(seconds=20)
async def test_what_many_programs_do_is_what_the_model_says(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await judge(api, monkeypatch, 80)


@pytest.mark.parametrize("seen", [Send(1, (1, 0), "heard"), Read(1, 0)])
async def test_what_lost_to_a_value_that_was_seen_is_no_conflict_a_second_time(
    api: Api, monkeypatch: pytest.MonkeyPatch, seen: Any
) -> None:
    first = Do(1, 0, "set", ["status"], 50, False)
    again = Do(1, 0, "set", ["status"], 60, False)
    late = Type(0, "status", 0, is_stamped=True, hears=False, sends=True)
    await World(api, monkeypatch).run([first, Send(1, (1, 0), "heard"), seen, late, again])


async def test_every_label_put_on_an_issue_that_was_deleted_meanwhile_is_a_conflict(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Do(2, 0, "label", [], 10, False), Do(2, 0, "label", [], 20, False)
    deleted = Do(0, 0, "delete", [], 30, False)
    await World(api, monkeypatch).run([first, second, deleted, Send(0, (1, 0), "heard"), Send(2, (2, 0), "heard")])
