"""A node: every part made and wired here, started from the ground up and stopped from the top down."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta

import structlog
from starlette.routing import Route

from server import auth, bounds, exposure
from server.audit import Note
from server.bases import Bases
from server.clock import SystemClock
from server.config import Settings
from server.decisions import Decisions
from server.doors.http import NotReady, http_app
from server.doors.rest.accounts import Accounts
from server.doors.rest.api import ApiServices, operations_of
from server.doors.rest.conflicts import ConflictServices
from server.doors.rest.frame import Frame
from server.doors.rest.once import Repeats
from server.doors.rest.past import Past
from server.doors.rest.routes import routes_of
from server.doors.rest.transfer import TransferServices
from server.doors.yjs import YjsServices
from server.engine import EnginePool
from server.entrance import Entrance
from server.feeds import Feeds
from server.gatehouse import Gatehouse
from server.hub import Hub, HubServices
from server.imports import ImportServices
from server.listener import Listener, bind, listen
from server.loop_lag import LoopLag
from server.metrics import Metrics
from server.observation import Observation
from server.opening import Opened, open_store
from server.outbox import Outbox
from server.outbox_batch import OutboxServices
from server.permissions import Identity, Role
from server.rates import Rates
from server.records import Records, RecordServices
from server.referee import Referee
from server.relay import LogRelay
from server.restraint import Restraint
from server.stopping import Stop
from server.supervisor import Supervisor
from server.websocket.asgi import AsgiEndpoint
from server.websocket.picows import PicowsEndpoint
from server.websocket.strangers import Strangers
from storage.activity import Activity
from storage.appender import Appender, CommitStats
from storage.compactor import Compactor
from storage.conflicts import Conflict
from storage.engine import IssueKey
from storage.errors import StoreUnavailable
from storage.history import History
from storage.projector import PageStats, Projector
from storage.purger import Purger
from storage.sweeper import Sweeper
from storage.timeline import Timeline
from storage.wakeups import PostgresWakeups

log = structlog.get_logger()

MAIN_WORKSPACE = "main"
READY_TOKEN_DAYS = 30  # of the token that is printed where nobody else can reach the node
FILES_BESIDE_SOCKETS = 256  # connections to Postgres, pipes to engines, the log


@dataclass(frozen=True, slots=True)
class Ready:
    """What a person needs to use a node that has just started. `token`: none where others may read what is printed."""

    host: str
    port: int
    is_secure: bool
    workspace: str
    token: str | None
    database_url: str


async def serve(settings: Settings, announce: Callable[[Ready], None], restraint: Restraint) -> None:
    """Run a node until SIGTERM or SIGINT; `restraint`: of its log. Raises `StoreError`, `AddressUnavailable` and
    `BadSettings` when it cannot start."""
    exposure.check(settings)
    stop = Stop()
    stop.listen()
    _allow_open_files(settings.max_connections + FILES_BESIDE_SOCKETS)
    try:
        with bind(settings.host, settings.port) as bound:
            async with open_store(settings, serving=True) as opened:
                await opened.store.create_workspace(MAIN_WORKSPACE, "Main")
                node = Node(settings, opened, auth.keys_of(settings), restraint)
                await node.run(bound, stop, announce)
    except asyncio.CancelledError:
        if not stop.asked.is_set():
            raise
    log.info("stopped")


def _allow_open_files(wanted: int) -> None:
    """Every socket is an open file, and the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("the system allows fewer open files than max-connections needs", allowed=allowed, wanted=wanted)


class Node:
    """The parts of one server process over an open store. Made inside the running loop."""

    def __init__(self, settings: Settings, opened: Opened, keys: auth.Keys, restraint: Restraint) -> None:
        self._settings = settings
        self._restraint = restraint
        self._opened = opened
        self._keys = keys
        self._clock = SystemClock()
        self._metrics = Metrics()
        self._observe = Observation(self._metrics)
        restraint.on_left_out = self._metrics.left_out_lines.inc
        self._rates = Rates(bounds.of_rates(settings), self._clock, self._observe.over_rate)
        self._gatehouse = Gatehouse(settings, opened, keys, self._clock, self._rates, self._metrics.lost_audits.inc)
        self._is_stopping = False
        self._engine = EnginePool(
            bounds.of_engine(settings), on_job=self._observe.job, on_restart=self._observe.engine_restart
        )
        self._projector = Projector(
            opened.store,
            self._engine,
            bounds.of_projector(settings),
            now=self._clock.now,
            on_page=self._projected,
            on_failure=self._observe.failure,
            on_quarantine=self._observe.quarantine,
        )
        self._compactor = Compactor(
            opened.store,
            self._engine,
            bounds.of_compactor(settings),
            now=self._clock.now,
            on_issue=self._observe.compaction,
            on_failure=self._observe.failure,
        )
        self._purger = Purger(
            opened.store,
            bounds.of_purger(settings),
            now=self._clock.now,
            on_issue=self._purged,
            on_failure=self._observe.failure,
        )
        self._appender = Appender(
            opened.store,
            max_queued_bytes=settings.max_queued_bytes,
            max_batch_deltas=settings.max_batch_deltas,
            max_batch_bytes=settings.max_batch_bytes,
            commit_timeout=settings.commit_timeout_seconds,
            on_commit=self._committed,
        )
        self._metrics.queue_bytes.set_function(lambda: self._appender.queued_bytes)
        self._relay = LogRelay(opened.store, bounds.of_relay(settings), self._metrics)
        self._feeds = Feeds(opened.store, bounds.of_feeds(settings), self._metrics)
        self._wakeups = PostgresWakeups(opened.serving_dsn, self._wake)
        self._hub = Hub(
            HubServices(
                store=opened.store,
                appender=self._appender,
                engine=self._engine,
                relay=self._relay,
                clock=self._clock,
                metrics=self._metrics,
                on_idle=self._compactor.hint,
                on_conflicts=self._conflicting,
            ),
            bounds.of_hub(settings),
        )
        self._records = Records(RecordServices(self._hub, self._engine, self._clock))
        self._decisions, self._referee = self._make_referee()

    async def run(self, bound: socket.socket, stop: Stop, announce: Callable[[Ready], None]) -> None:
        """Serve on `bound` until `stop`, then end in good order."""
        listen(bound, self._settings.socket_receive_bytes)
        async with asyncio.TaskGroup() as tasks:
            # The end of these two is the end of the node: an error in them passes through the group.
            tasks.create_task(self._appender.run(), name="appender")
            self._supervisor = self._start_workers(tasks)
            entrance = self._entrance = self._make_entrance(tasks)
            listener = self._listener(bound, entrance)
            listening = tasks.create_task(listener.run(), name="listener")
            await listener.until_started()
            stop.started()
            _spare_the_collector()
            announce(self._ready(bound))
            await stop.asked.wait()
            await self._stop(listener, listening, entrance)

    def _start_workers(self, tasks: asyncio.TaskGroup) -> Supervisor:
        supervisor = Supervisor(tasks, self._metrics)
        if self._opened.embedded is not None:
            supervisor.keep("postgres watch", self._opened.embedded.watch)
        supervisor.keep("projector", self._projector.run)
        supervisor.keep("words", self._opened.words.run)
        supervisor.keep("compactor", self._compactor.run)
        supervisor.keep("purger", self._purger.run)
        accounts = (self._opened.sync_queue, self._opened.keyed_requests)
        sweeper = Sweeper(self._opened.store, accounts, now=self._clock.now, on_failure=self._observe.failure)
        supervisor.keep("sweeper", sweeper.run)
        supervisor.keep("referee", self._referee.run)
        supervisor.keep("relay", self._relay.run)
        supervisor.keep("loop lag", LoopLag(self._metrics.loop_lag.observe).run)
        supervisor.keep("hub", self._hub.run)
        supervisor.keep("guestbook", self._gatehouse.guestbook.run)
        supervisor.keep("audit", self._gatehouse.audit.run)
        supervisor.keep("log", self._restraint.run)
        if self._settings.wakeups == "notify":
            supervisor.keep("wake-ups", self._wakeups.run)
        return supervisor

    async def _stop(self, listener: Listener, listening: asyncio.Task[None], entrance: Entrance) -> None:
        """From the top down, each layer while those below still work; whatever is not done in time is cut."""
        self._is_stopping = True
        listener.stop_accepting()
        entrance.drain()
        self._feeds.drain()
        seconds = self._settings.shutdown_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._hub.drain("server restart", timeout=seconds / 2)
                await self._appender.close()
                listener.stop()
                await asyncio.wait([listening])
        except TimeoutError:
            log.warning("not everything ended in time", seconds=seconds)
            listening.cancel()
        entrance.close()
        await self._feeds.close()
        await self._supervisor.stop()
        await self._gatehouse.guestbook.close()
        await self._gatehouse.audit.close()
        await self._engine.close()
        self._restraint.tell(is_last=True)

    def _make_referee(self) -> tuple[Decisions, Referee]:
        settings, store = self._settings, self._opened.store
        decisions = Decisions(
            store.ledger,
            self._records,
            self._clock,
            max_clock_lead_seconds=settings.max_clock_lead_seconds,
            on_settled=self._settled_conflict,
        )
        interval = settings.conflict_interval_seconds
        referee = Referee(store, decisions, self._clock, interval_seconds=interval, on_failure=self._observe.failure)
        return decisions, referee

    def _make_entrance(self, tasks: asyncio.TaskGroup) -> Entrance:
        services = YjsServices(self._hub, self._opened.store, self._gatehouse.visits, self._clock, self._metrics)
        return Entrance(services, self._feeds, self._settings, tasks)

    def _listener(self, bound: socket.socket, entrance: Entrance) -> Listener:
        kind = PicowsEndpoint if self._settings.websocket == "picows" else AsgiEndpoint
        origins = self._settings.allowed_origins
        strangers = Strangers(bounds.of_strangers(self._settings), self._rates.after_failure, self._observe.over_rate)
        return Listener(
            bound,
            exposure.opened_to(origins, http_app(self._metrics, self._check_ready, self._routes())),
            kind(entrance.route, origins, bounds.of_sockets(self._settings), strangers, self._metrics.slowed.inc),
            requests=bounds.of_requests(self._settings),
            shutdown_timeout_seconds=self._settings.shutdown_timeout_seconds,
            certificate=self._settings.certificate,
        )

    def _routes(self) -> list[Route]:
        frame = Frame(
            self._opened.store,
            self._gatehouse.verify_requests(have_synced=False),
            self._gatehouse.audit.note,
            self._rates,
            Repeats(self._opened.keyed_requests, self._clock),
            self._gatehouse.verify_requests(have_synced=True),
        )
        opened, records = self._opened, self._records
        imports = ImportServices(records, opened.imports, opened.issues, opened.store, self._clock)
        transfer = TransferServices(
            imports, opened.serving_dsn, self._settings.max_import_bytes, self._settings.transfers_at_once
        )
        conflicts = ConflictServices(opened.store.ledger, self._decisions)
        people = (opened.people, opened.logins, opened.visitors, opened.audit_log)
        accounts = Accounts(*people, self._gatehouse.sign_ins, self._clock)
        bases = Bases(opened.log, self._timeline())
        outbox = Outbox(
            OutboxServices(
                records,
                opened.sync_queue,
                opened.store,
                opened.issues,
                self._clock,
                bases,
                self._settings.max_clock_lead_seconds,
            ),
            bounds.of_outbox(self._settings),
        )
        past = self._past()
        services = ApiServices(
            opened.issues,
            records,
            past,
            transfer,
            conflicts,
            accounts,
            outbox,
            self._gatehouse.everywhere,
            self._feeds,
            bounds.of_rest(self._settings),
        )
        return routes_of(frame, operations_of(services))

    def _past(self) -> Past:
        timeline = self._timeline()
        activity = Activity(self._opened.log, timeline, bounds.of_activity(self._settings))
        return Past(History(self._opened.store, self._engine), timeline, activity)

    def _timeline(self) -> Timeline:
        return Timeline(self._opened.log, self._engine, bounds.of_timeline(self._settings))

    def _committed(self, stats: CommitStats) -> None:
        self._observe.commit(stats)
        self._projector.wake()
        self._feeds.wake(stats.workspace_ids)
        self._wakeups.tell(stats.workspace_ids)
        self._entrance.set_read_only(is_read_only=isinstance(stats.failure, StoreUnavailable))

    def _purged(self, key: IssueKey) -> None:
        self._observe.purge(key)
        self._feeds.wake_conflicts(key.workspace_id)
        self._gatehouse.audit.note(Note(key.workspace_id, "purge", "server"))  # which: `tombstones` says

    def _conflicting(self, key: IssueKey) -> None:
        self._referee.wake()
        self._feeds.wake_conflicts(key.workspace_id)

    def _settled_conflict(self, conflict: Conflict) -> None:
        self._observe.settled_conflict(conflict)
        self._feeds.wake_conflicts(conflict.workspace_id)

    def _projected(self, stats: PageStats) -> None:
        self._observe.page(stats)
        self._opened.words.wake()
        self._feeds.wake()

    def _wake(self, workspace_ids: Collection[int] | None) -> None:
        """Another node committed something."""
        self._relay.wake()
        self._projector.wake()
        self._feeds.wake(workspace_ids)

    async def _check_ready(self) -> None:
        """Raises `NotReady` or `StoreError` while edits should go elsewhere."""
        if self._is_stopping:
            raise NotReady("shutting down")
        if self._supervisor.down:
            raise NotReady("; ".join(f"{name} is down: {reason}" for name, reason in self._supervisor.down.items()))
        waited = self._appender.stuck_for(asyncio.get_running_loop().time())
        if waited > self._settings.stuck_after_seconds:
            raise NotReady(f"an update has waited {waited:.0f} s for its commit")
        if self._appender.last_failure is not None:
            await self._opened.store.check_writable()
        else:
            await self._opened.store.workspace(MAIN_WORKSPACE)

    def _ready(self, bound: socket.socket) -> Ready:
        host, port = bound.getsockname()[:2]
        is_secure = self._settings.certificate is not None
        token = self._token_of_owner() if exposure.is_local(self._settings) else None
        return Ready(host, port, is_secure, MAIN_WORKSPACE, token, self._opened.dsn)

    def _token_of_owner(self) -> str:
        now = self._clock.now()
        you = Identity("you", MAIN_WORKSPACE, Role.OWNER, expires_at=now + timedelta(days=READY_TOKEN_DAYS))
        return auth.issue(self._keys, you, now)


def _spare_the_collector() -> None:
    """What is here at the start stays, so the collector of cycles need not look at it again and again. Edits,
    connections and rooms leave none. What others leave it takes in parts, for the loop stands still meanwhile: five
    thousand objects are two milliseconds. A busy batch makes some thousands of its own, which are gone with it: parts
    of one thousand were begun with every batch, and took a tenth of the server's time. At all there is, which may be
    many, it looks seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 1, 50)
