"""What somebody who types notices of an attack on the same issue: the time until a reader has an edit, in peace and
right after it under attack, for every case of `tests/attacks/cases.py`; and the same while the same attackers attack
nobody (`bench.sink`), which is no fault of the server's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from bench.cores import Cores, starting_on
from bench.inside import COMMIT, LOOP, Inside
from bench.mob import stepping_back
from bench.plan import LoadFailed, Result
from bench.report import Report, Value, middle
from bench.scale import Scale
from bench.servers import CHECKOUT, WORKSPACE, Server, ask, cli, syncline
from bench.witness import Visit
from tests.attacks.cases import CASES, FEW, MANY

EDITS_PER_S: Final = 400.0
TARGET: Final = 2.0
FLAGS: Final = ("--trusted-proxy", "127.0.0.1")
WARM_UPS: Final = 50
BREATH_S: Final = 0.03  # between asking the server for its figures and an attack


class Aide:
    """A process that is told what to do, a line at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    @contextmanager
    def starting(cls, core: int, module: str, *arguments: str) -> Iterator[Aide]:
        """`python -m MODULE`, until the end of the block."""
        command = [sys.executable, "-m", module, *arguments]
        with starting_on(core), tempfile.TemporaryFile("w+") as said:
            pipe = subprocess.PIPE
            process = subprocess.Popen(command, cwd=CHECKOUT, stdin=pipe, stdout=pipe, stderr=said, text=True)
            try:
                yield cls(process)
            except BrokenPipeError:
                said.seek(0)
                raise LoadFailed(said.read()[-2_000:]) from None
            finally:
                process.kill()
                process.communicate()

    def tell(self, what: object) -> None:
        """A line to it. Raises BrokenPipeError when it is gone."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """A line from it. Raises BrokenPipeError when it is gone."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BrokenPipeError
        heard: dict[str, Any] = json.loads(line)
        return heard


@dataclass(frozen=True, slots=True)
class Noticed:
    """By the reader, in peace, when the attack begins, and under it, from its beginning on. `goes`: of the attackers, a
    second · `wrong`: what they were answered that is no refusal · `inside`: the p99 that the server has of itself, in
    peace and under attack, by histogram, in ms."""

    peace: Result
    first: Result
    war: Result
    goes: float
    wrong: Sequence[int]
    inside: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    control: Noticed | None = None  # of the same on nobody


class Field:
    """Who types and who attacks, on one server."""

    def __init__(self, server: Server, witness: Aide, mob: Aide, sink: Aide, scale: Scale) -> None:
        self._server, self._witness, self._mob, self._sink, self._scale = server, witness, mob, sink, scale
        self._sink_port = sink.hear()["port"]

    def warm_up(self, name: str) -> None:
        """Until attackers come through: engines that are starting use the same core. Raises LoadFailed."""
        for _ in range(WARM_UPS):
            if self._visit(name).goes > 0:
                return
        raise LoadFailed("no attacker comes through")

    def measure(self, name: str, *, with_control: bool) -> Noticed:
        """One case. Raises LoadFailed where there was no attack, or what attacked was not refused."""
        noticed, case = self._visit(name), CASES[name]
        if noticed.wrong or not noticed.goes:
            raise LoadFailed(f"{name}: {noticed.goes:g} goes/s, answered {noticed.wrong} and not {case.refusals}")
        if not with_control:
            return noticed
        self._sink.tell({"rate": noticed.goes if case.refusals else 0.0})
        self._sink.hear()
        return replace(noticed, control=self._visit(name, {"port": self._sink_port}))

    def _visit(self, name: str, to: Mapping[str, int] = MappingProxyType({})) -> Noticed:
        (url,) = self._server.new_documents(1)
        before = Inside.of(self._server.http)
        self._witness.tell(asdict(Visit(url, EDITS_PER_S, self._scale.warmup_s / 10, self._scale.attack_s)))
        peace = Result(**self._witness.hear())
        between = Inside.of(self._server.http)
        time.sleep(BREATH_S)
        self._mob.tell({"case": name, "issue": url.partition("?")[0].rpartition("/")[2], **to})
        self._witness.tell("now")
        first, war = (Result(**self._witness.hear()) for _ in range(2))
        after = Inside.of(self._server.http)
        self._mob.tell("enough")
        did = self._mob.hear()
        inside = {each: (between.p99_ms(before, each), after.p99_ms(between, each)) for each in (LOOP, COMMIT)}
        return Noticed(peace, first, war, did["goes"] / war.seconds, did["wrong"], inside)


def measure(cores: Cores, scale: Scale, only: Sequence[str] = ()) -> Iterator[Report]:
    """Yields one table, with all cases or `only` some."""
    with ExitStack() as stack:
        data_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncline-bench-")))
        server = stack.enter_context(syncline(cores, data_dir, *FLAGS))
        yield under_attack(server, data_dir, cores, scale, only or _chosen(scale), _played(server, data_dir))


def under_attack(
    server: Server, data_dir: Path, cores: Cores, scale: Scale, names: Sequence[str], played: str
) -> Report:
    """These cases on a server that runs with `FLAGS` on `data_dir`. `played`: a refresh token that was used."""
    port = str(urlsplit(server.http).port)
    with (
        Aide.starting(cores.load, "bench.witness", str(cores.load)) as witness,
        Aide.starting(cores.load, "bench.mob", port, str(data_dir), played) as mob,
        Aide.starting(cores.server, "bench.sink") as sink,
    ):
        mob.hear()  # that it is there
        ground = Field(server, witness, mob, sink, scale)
        ground.warm_up(names[0])
        with stepping_back():
            rounds = [
                {name: ground.measure(name, with_control=number == 0) for name in names}
                for number in range(scale.rounds)
            ]
    return Report(
        "Under attack: one types, one reads, others attack in the same issue",
        [_row_with_its_control(name, [each[name] for each in rounds]) for name in names],
        (
            f"{EDITS_PER_S:g} edits a second; ms from sending an edit to its reader's having it, committed. Each figure"
            f" is the median of {scale.rounds} rounds over",
            f"all cases; a round measures {2 * scale.attack_s:g} s in peace and {3 * scale.attack_s:g} s under it, from"
            " its first moment on, in a new issue.",
            f"At first: the first {scale.attack_s:g} s of it, attackers from an address, and as a user, that the server"
            " has never seen.",
            f"times: p99 by p99 in peace; the aim is {TARGET:g} under it. {int(3 * EDITS_PER_S * scale.attack_s)}"
            " edits under it: the p99 of few is near their worst.",
            "of nobody, one round: the same attackers attack a listener on the server's core that throws away what"
            " comes and says no as often.",
            "loop, commit: the p99 that the server has of itself, from its histograms: how late its loop is, how long"
            " the database takes.",
            f"{FEW} sockets attack, {MANY} where it is slowness they attack with. They share a core with the driver and"
            " Postgres, and come behind both.",
        ),
    )


def _chosen(scale: Scale) -> list[str]:
    """All, or one of every kind."""
    first = {case.kind: name for name, case in reversed(list(CASES.items()))}
    return [name for name, case in CASES.items() if scale.every_attack or first[case.kind] == name]


def _played(server: Server, data_dir: Path) -> str:
    """Another workspace is made, and a refresh token is used, for whoever plays it again."""
    ask(*cli("workspace", data_dir)[:-2], "create", "other", "--data-dir", str(data_dir))
    token = ask(*cli("token", data_dir), "--workspace", WORKSPACE, "--user", "vic", "--refresh")
    body = json.dumps({"refresh_token": token}).encode()
    with urllib.request.urlopen(f"{server.http}/v1/auth/token", body):
        return token


def _row(name: str, rounds: Sequence[Noticed]) -> dict[str, Value]:
    windows = {
        "in peace": [one.peace for one in rounds],
        "at first": [one.first for one in rounds],
        "under it": [one.war for one in rounds],
    }
    figures = {
        f"{percentile} {when}": middle(one.latency_ms[percentile] for one in results)
        for percentile in ("p50", "p99")
        for when, results in windows.items()
    }
    times = {f"times {when}": figures[f"p99 {when}"] / figures["p99 in peace"] for when in ("at first", "under it")}
    return {"attack": name, "goes/s": middle(one.goes for one in rounds), **figures, **times}


def _row_with_its_control(name: str, rounds: Sequence[Noticed]) -> dict[str, Value]:
    control = _row(name, [one.control for one in rounds if one.control is not None])
    inside = {
        f"{short} {when}": middle(one.inside[each][at] for one in rounds)
        for short, each in (("loop", LOOP), ("commit", COMMIT))
        for at, when in enumerate(("in peace", "attacked"))
    }
    of_nobody = {f"of nobody, {when}": control[f"times {when}"] for when in ("at first", "under it")}
    return {**_row(name, rounds), **of_nobody, **inside}
