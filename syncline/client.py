"""The client of one workspace: a local store, and a connection whenever there is one to be had."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from uuid import UUID

from crdt.native import ClientFrame
from syncline import tokens
from syncline.backoff import Backoff
from syncline.caller import Caller, sync_url
from syncline.conflict import Conflict
from syncline.conflicts import Conflicts
from syncline.desk import Desk
from syncline.disk import Disk
from syncline.document import Document
from syncline.errors import ClientClosed, TooManyRequests
from syncline.issues import Issues
from syncline.link import House
from syncline.local_store import Beginning, Clock, LocalStore, Write
from syncline.presence import RENEW_SECONDS
from syncline.pulse import Pulse
from syncline.receipts import Receipt, Receipts
from syncline.records import Acked, Change, Feed, Written
from syncline.resolving import ANSWER_SECONDS, resolve
from syncline.status import State, StatusBoard
from syncline.tokens import TokenSource

_log = logging.getLogger("syncline")

IN_MEMORY: Final = ":memory:"

_LOOK_SECONDS: Final = 0.5  # between two looks for what other processes wrote to the store
_PAGE: Final = 500


def _now() -> datetime:
    return datetime.now(UTC)


class Client:
    """One workspace, on this device. Use it with `async with`; everything works offline, and catches up by itself.

        async with Client("http://127.0.0.1:8080", token=token, path="local.db") as client:
            receipt = await client.issues.create(title="Search is slow")
            await receipt.committed

    `token`: the text, or a function that gives one (awaitable or not), called for every connection and before the one
    in use runs out · `path`: the local store, shared by any number of processes; without one, nothing outlives the
    client · `clock`: for stamps and dates.
    """

    def __init__(
        self,
        url: str,
        *,
        token: TokenSource,
        workspace: str = "main",
        path: str | Path | None = None,
        clock: Clock = _now,
        backoff: Backoff | None = None,
    ) -> None:
        """Raises ValueError for a bad address. Nothing is opened yet."""
        self._url = sync_url(url, workspace)
        self._token = token
        self._path = IN_MEMORY if path is None else str(path)
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._disk = Disk()
        self._moved = Pulse()
        self._receipts = Receipts()
        self.status = StatusBoard()
        self._desk = Desk(self._disk, self._receipts, clock, self._post, self._grown)
        self.issues = Issues(self._disk, self._moved, self._create, self._write)
        self.conflicts = Conflicts(self._disk, self._moved, self._resolve)
        self._user: str | None = None
        self._caller: Caller | None = None
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Client:
        """Open the store and begin to connect. Raises StoreFailed."""
        await self._disk.open(self._path, self._clock)
        try:
            self._caller = await self._prepared()
        except BaseException:
            await self._disk.close()
            raise
        self._running = asyncio.get_running_loop().create_task(self._run(self._caller))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Keep what was edited, close connection and store. What is not committed is sent when it is opened again."""
        if self._running is None:
            return
        running, self._running = self._running, None
        try:
            await self._desk.close()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            self._receipts.close()
            self.status.close()
            self._moved.stop()
            await self._disk.close()

    async def open(self, issue_id: UUID) -> Document:
        """An issue, live. One that nobody has written yet is empty, and begins with the first edit. Close it."""
        document = await self._desk.open(issue_id)
        await self._on_line.open(issue_id)
        return document

    async def changes(self, since: int | None = None) -> AsyncIterator[Change]:
        """What is committed to the workspace, in the order of the log: each issue as it is now, with the seq to go on
        from. Several deltas of one issue may be one change; none is left out. `since` None: from now on; 0: everything.

        Ends when the client is closed.
        """
        seq = (await self._disk.call(LocalStore.feed)).cursor if since is None else since
        async for _ in self._moved.beats():
            while page := await self._disk.page(LocalStore.committed_after, seq, _PAGE):
                for issue in page:
                    seq = issue.seq
                    yield Change(seq, issue)

    async def sent(self) -> None:
        """Wait until nothing is pending. Also returns when the client is closed, or fails for good."""
        async for status in self.status:
            if not status.pending or status.state in (State.NEEDS_AUTH, State.ERROR):
                return

    def use_token(self, token: TokenSource) -> None:
        """A new token for the same user, as soon as there is one; the way out of needs-auth.

        A connection that is open goes on with it. Raises ValueError for a text that names another user.
        """
        if isinstance(token, str):
            self._expect_own(token)
        self._token = token
        self._on_line.renew()

    def try_now(self) -> None:
        """Do not wait for the next attempt to connect; the way out of error."""
        self._on_line.try_now()

    @property
    def _on_line(self) -> Caller:
        if self._caller is None or self._running is None:
            raise ClientClosed("the client is not open")
        return self._caller

    async def _prepared(self) -> Caller:
        device_id, feed = await self._disk.call(_device_and_feed)
        if isinstance(self._token, str):
            await self._belong_to(self._token)
        self.status.synced(feed.synced_at)
        self.status.count(await self._disk.call(LocalStore.pending))
        house = House(self._disk, self._desk, self._receipts, self.status, self._moved, self._clock)
        return Caller(self._url, self._fetch_token, device_id, house, self._backoff)

    async def _run(self, caller: Caller) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(caller.run())
                tasks.create_task(self._look())
                tasks.create_task(self._renew_presence())
        except* Exception as failed:  # noqa: BLE001 - the top of all that runs by itself
            # The store failed, or there is a defect here: what is durable stays so, and nothing more is sent.
            _log.exception("the client stopped")
            self.status.enter(State.ERROR, _cause(failed))

    async def _fetch_token(self) -> str:
        token = await tokens.fetch(self._token)
        await self._belong_to(token)
        return token

    async def _belong_to(self, token: str) -> None:
        user = self._expect_own(token)
        if user is not None:
            self._user = user
            await self._disk.call(LocalStore.become, user)

    def _expect_own(self, token: str) -> str | None:
        """Whom the token names, if it says so. Raises ValueError when that is somebody else."""
        user = tokens.claim(token, "sub")
        if user is not None and self._user not in (None, user):
            raise ValueError("the token names another user; that takes another client")
        return user

    async def _look(self) -> None:
        """Other processes may write to the store, and hear for us how our edits ended."""
        seen = await self._disk.call(LocalStore.version)
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            version = await self._disk.call(LocalStore.version)
            if version == seen:
                continue
            seen = version
            self._receipts.settle(await self._disk.call(LocalStore.outcomes, self._receipts.awaited()))
            await self._desk.refresh()
            self.status.count(await self._disk.call(LocalStore.pending))
            self._moved.beat()

    async def _renew_presence(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            self._desk.renew_presence()

    async def _create(self, issue_id: UUID, beginning: Beginning, write: Write) -> Receipt:
        return await self._keep(self._disk.call(LocalStore.create, issue_id, beginning, write))

    async def _write(self, issue_id: UUID, write: Write) -> Receipt:
        """In the open document where there is one: two copies must not write on one clock."""
        author = await self._disk.call(LocalStore.author)
        document = await self._desk.present(issue_id)
        if document is None:
            return await self._keep(self._disk.call(LocalStore.edit, issue_id, write))
        receipt = document.write(lambda shape: write(shape, author))
        await receipt.durable
        receipt.issue = await self._disk.call(LocalStore.read, issue_id)
        return receipt

    async def _resolve(self, conflict_id: UUID, wanted: dict[str, Any]) -> Conflict:
        token = await self._fetch_token()
        device_id = (await self._disk.call(_device_and_feed))[0]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ANSWER_SECONDS
        while True:
            try:
                return await asyncio.to_thread(resolve, self._url, token, device_id, conflict_id, wanted)
            except TooManyRequests as early:
                if loop.time() + early.retry_after > deadline:
                    raise
                await asyncio.sleep(early.retry_after)

    async def _keep(self, writing: asyncio.Future[Written]) -> Receipt:
        """The receipt of a write. Who no longer waits for it has written all the same, and it is sent."""
        promise: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        writing.add_done_callback(lambda writing: self._kept(writing, promise))
        return await promise

    def _kept(self, writing: asyncio.Future[Written], promise: asyncio.Future[Receipt]) -> None:
        """At once: the answer to an edit may be the next thing that is heard."""
        error = writing.exception()
        if error is None:
            receipt = self._receipt_of(writing.result())
            if not promise.done():
                promise.set_result(receipt)
        elif not promise.done():
            promise.set_exception(error)

    def _receipt_of(self, written: Written) -> Receipt:
        receipt = Receipt(written.issue.id, written.issue)
        if written.entry_id is None:
            receipt.settle(Acked(0, written.issue.seq))
        else:
            self._receipts.expect(written.entry_id, receipt)
            self.status.count(written.pending)
            self._moved.beat()
        return receipt

    def _grown(self) -> None:
        self.status.count(self.status.pending + 1)
        self._moved.beat()

    def _post(self, frame: ClientFrame) -> None:
        if self._caller is not None:
            self._caller.post(frame)


def _cause(failure: BaseException) -> str:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return f"{type(failure).__name__}: {failure}"


def _device_and_feed(store: LocalStore) -> tuple[str, Feed]:
    return store.device_id, store.feed()
