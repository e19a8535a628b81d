"""Any interleaving of edits, pushes, lost answers, feed pages and crashes converges, and loses and doubles nothing."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from uuid import UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdt.document import Document
from crdt.gate import index_of
from crdt.issue import read
from crdt.novelty import says_something_new
from crdt.records import UNBOUNDED
from crdt.shape import Changes, add_comment
from syncline.records import Acked, Event
from tests.sdk.device import Device
from tests.sdk.log import Log

IDS = [uuid5(UUID(int=3), str(number)) for number in range(3)]
USERS = ("ana", "ben", "cleo")
STEPS = ("create", "type", "set", "say", "push", "push and hear", "hear late", "pull", "crash", "settle")


class World:
    """Devices around one log, and the answers that are still under way to them."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.log = Log()
        self.chance = random.Random(seed)
        self.devices = [Device(directory / f"{user}.db", self.log, user) for user in USERS]
        self.under_way: dict[str, list[Event]] = {user: [] for user in USERS}
        self.acked: list[tuple[str, int]] = []
        self.written: dict[UUID, list[str]] = {issue_id: [] for issue_id in IDS}

    def step(self, device: Device, what: str) -> None:
        issue_id = self.chance.choice(IDS)
        known = {issue.id for issue in device.store.read_all()}
        match what:
            case "create":
                if issue_id not in known:
                    device.create(issue_id, f"Issue {IDS.index(issue_id)}")
            case "push":
                self.under_way[device.user] += device.push(self.chance.randint(1, 4))
            case "push and hear":
                self.hear(device, device.push(self.chance.randint(1, 4)))
            case "hear late":
                self.hear(device, self.under_way[device.user])
                self.under_way[device.user] = []
            case "pull":
                device.pull(self.chance.randint(1, 5))
            case "crash":
                device.crash()
                self.under_way[device.user] = []
            case "settle":
                device.settle()
            case _ if issue_id in known:
                self.write(device, issue_id, what)

    def write(self, device: Device, issue_id: UUID, what: str) -> None:
        mark = f"<{device.user} {self.chance.randrange(10**9)} 🙂>"
        match what:
            case "type":
                text = device.content(issue_id).description
                places = [0, *(at + 1 for at, char in enumerate(text) if char == ">")]
                place = self.chance.choice(places)
                device.edit(issue_id, Changes(description=text[:place] + mark + text[place:]))
                self.written[issue_id].append(mark)
            case "set":
                device.edit(issue_id, Changes(fields={"status": mark}, add_labels=(device.user,)))
            case "say":
                device.store.edit(issue_id, lambda shape, author: add_comment(shape, mark, mark, author))
                self.written[issue_id].append(mark)

    def hear(self, device: Device, answers: list[Event]) -> None:
        device.take(answers)
        self.acked += [(device.user, answer.entry_id) for answer in answers if isinstance(answer, Acked)]

    def finish(self) -> None:
        for device in (*self.devices, *self.devices):
            device.settle()

    def expect_consistent(self) -> None:
        """At any moment: what a device believes committed up to its cursor is what the log says up to there."""
        for device in self.devices:
            feed = device.store.feed()
            if feed.epoch is None or feed.reload is not None:
                continue
            prefix = Log(deltas=self.log.deltas[: feed.cursor])
            for issue_id in prefix.issues():
                held = index_of(device.committed(issue_id), {})
                assert not says_something_new(held, prefix.state(issue_id), UNBOUNDED)


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(STEPS)), max_size=60), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_any_interleaving_converges_and_loses_nothing(steps: list[tuple[int, str]], seed: int) -> None:
    run(steps, seed)


@pytest.mark.long
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(STEPS)), max_size=200), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_any_long_interleaving_converges_and_loses_nothing(steps: list[tuple[int, str]], seed: int) -> None:
    run(steps, seed)


def run(steps: list[tuple[int, str]], seed: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory), seed)
        for number, what in steps:
            world.step(world.devices[number], what)
            world.expect_consistent()
        world.finish()
        for issue_id in world.log.issues():
            truth = read(Document.load(world.log.state(issue_id)))
            for device in world.devices:
                assert device.content(issue_id) == truth
            said = truth.description + "".join(comment.body for comment in truth.comments)
            for mark in world.written[issue_id]:
                assert said.count(mark) == 1, mark
        for device in world.devices:
            assert device.store.pending() == 0
            device.store.close()
