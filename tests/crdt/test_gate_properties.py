"""The gate against honest clients in any delivery order, and against honest updates that were tampered with."""

import json
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crdt.errors import REASONS, Refused
from crdt.gate import check, fold, index_of
from crdt.index import Index
from crdt.records import Limits
from crdt.update import merge
from tests.crdt.adversary import nonsense
from tests.crdt.honest import STEPS, Client, loaded, program, shown, what_is_missing

LIMITS = Limits()

Offered = tuple[list[bytes], list[tuple[int, int]]]  # a log and the surrogate pairs cut in it


class Door:
    """A room reduced to its gate: what was accepted, in order."""

    def __init__(self) -> None:
        self.index = Index()
        self.log: list[tuple[str, bytes]] = []

    def receive(self, client: Client, update: bytes) -> bool:
        """Submit one update; on a gap ask the peer for what is missing. Returns whether it closed."""
        if self._submit(client, update):
            return True
        return self._submit(client, what_is_missing(client.doc.get_update(), self.index.state_vector))

    def _submit(self, client: Client, update: bytes) -> bool:
        # The programs let replicas learn from each other past the server, so one relays the other's edits: same user.
        verdict = check(self.index, update, "user", LIMITS)
        if verdict.update:
            self.log.append(("user", verdict.update))
        return not verdict.gap


@given(STEPS, st.randoms(use_true_random=False))
def test_honest_edits_in_any_order_with_losses_and_repeats_converge(
    steps: list[tuple[int, int, int, int]], rng: random.Random
) -> None:
    clients = program(steps)
    stream = [(client, update) for client in clients for update in client.made]
    rng.shuffle(stream)
    stream = [entry for entry in stream for _ in range(rng.choice([0, 1, 1, 2]))]
    stream += [(client, client.doc.get_update()) for client in clients]
    door = Door()
    for client, update in stream:
        assert door.receive(client, update)
    assert shown(loaded(merge([update for _, update in door.log]))) == clients[0].shown()


@given(STEPS)
def test_the_log_is_causally_closed_at_every_prefix(steps: list[tuple[int, int, int, int]]) -> None:
    door = Door()
    for client in program(steps):
        for update in reversed(client.made):
            door.receive(client, update)
    replayed = Index()
    for actor, update in door.log:
        verdict = fold(replayed, update, actor)
        assert not verdict.gap
        assert verdict.update == update  # nothing in the log was known before
    assert replayed.state_vector == door.index.state_vector
    assert replayed.encode() == door.index.encode()


@given(STEPS, st.integers(0, 100))
def test_the_index_of_a_snapshot_judges_like_the_one_that_grew(
    steps: list[tuple[int, int, int, int]], cut: int
) -> None:
    clients = program(steps)
    updates = [update for client in clients for update in client.made]
    door = Door()
    for client in clients:
        for update in client.made:
            door.receive(client, update)
    rebuilt = index_of(merge([update for _, update in door.log]), door.index.owners)
    assert rebuilt.state_vector == door.index.state_vector
    assert rebuilt.deleted == door.index.deleted
    assert Index.decode(rebuilt.encode()).encode() == rebuilt.encode()
    again = updates[cut % len(updates)] if updates else b"\x00\x00"
    assert check(rebuilt, again, "user", LIMITS).update == b""


def honest_updates(seed: int) -> list[bytes]:
    rng = random.Random(seed)
    steps = [(rng.randrange(3), rng.randrange(10), rng.randrange(50), rng.randrange(50)) for _ in range(30)]
    return [update for client in program(steps) for update in client.made]


def tampered(rng: random.Random, update: bytes, other: bytes) -> bytes:
    """Flip bits, cut, splice, swap or repeat a few bytes."""
    data = bytearray(update)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(data)) if data else 0
        match rng.randrange(6):
            case 0 if data:
                data[at] ^= 1 << rng.randrange(8)
            case 1 if data:
                data[at] = rng.choice([0, 1, 7, 10, 0x27, 0x84, 0xFF, rng.randrange(256)])
            case 2:
                del data[at : at + rng.randrange(1, 4)]
            case 3:
                data[at:at] = other[: rng.randrange(len(other))]
            case 4:
                data[at:at] = data[at : at + rng.randrange(1, 6)]
            case _:
                data[at:at] = bytes([rng.randrange(256)])
    return bytes(data)


def logs_with_tampered_updates(seed: int, attempts: int) -> tuple[list[Offered], int]:
    """Logs of rooms that were offered honest and tampered updates, and how many tampered ones got in."""
    rng = random.Random(seed)
    logs: list[Offered] = []
    accepted = 0
    while attempts > 0:
        honest = honest_updates(rng.randrange(1 << 30))
        index, log = Index(), []
        for update in honest:
            dishonest = [tampered(rng, update, rng.choice(honest)) for _ in range(8)]
            for offered in [update, *dishonest, nonsense(rng, index), nonsense(rng, index)]:
                before = index.encode()
                try:
                    verdict = check(index, offered, "user", LIMITS)
                except Refused as refusal:
                    unchanged = refusal.reason in REASONS and index.encode() == before
                    assert unchanged
                else:
                    accepted += offered is not update and bool(verdict.update)
                    if verdict.update:
                        log.append(verdict.update)
                attempts -= 1
        logs.append((log, sorted(index.cuts)))
    return logs, accepted


def engine_outcomes(logs: list[Offered]) -> list[str]:
    """Load every log in a child with a memory limit and a deadline; the child says "ok" or what went wrong for each."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.crdt.loading"],
        input=json.dumps([([update.hex() for update in log], cuts) for log, cuts in logs]).encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == 0, child.stderr.decode()[-500:]
    return child.stdout.decode().splitlines()


def check_tampering(seed: int, attempts: int) -> None:
    logs, accepted = logs_with_tampered_updates(seed, attempts)
    assert accepted > attempts // 100  # else nothing was tested
    assert engine_outcomes(logs) == ["ok"] * len(logs)


def test_nothing_unloadable_gets_past_the_gate() -> None:
    check_tampering(seed=1, attempts=3_000)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 12))
def test_nothing_unloadable_gets_past_the_gate_long(seed: int) -> None:
    check_tampering(seed, attempts=20_000)


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes_give_a_verdict_or_a_refusal(raw: bytes) -> None:
    index = Index()
    try:
        check(index, raw, "user", LIMITS)
    except Refused as refusal:
        unchanged = refusal.reason in REASONS and index.encode() == Index().encode()
        assert unchanged


@given(st.binary(max_size=200))
def test_an_index_decodes_or_is_refused(raw: bytes) -> None:
    try:
        Index.decode(b"\x01" + raw)
    except Refused:
        return
