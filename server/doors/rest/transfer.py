"""`GET …/export`, `POST …/import` and what became of imports: whole workspaces in and out, for admins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from tempfile import SpooledTemporaryFile
from typing import IO, Final, cast
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from server.doors.rest.headers import ETAG, IDEMPOTENCY_KEY, IF_NONE_MATCH, SEQ
from server.doors.rest.operations import Answer, Call, Nothing, Operation, Query, Reply, Served
from server.doors.rest.paths import InWorkspace
from server.doors.rest.problems import (
    BUSY,
    FORBIDDEN,
    SOON,
    TOO_LARGE,
    UNAVAILABLE,
    UNKNOWN_IMPORT,
    UNREADABLE_FILE,
    Problem,
)
from server.doors.rest.tags import names
from server.doors.rest.transfer_models import Batch, Batches, ExportQuery, Imported, ImportQuery, OfImport, Undone
from server.import_undo import undo
from server.imports import Importer, ImportPlan, ImportServices
from server.permissions import may_export
from server.portability import Format, chunks
from server.portability.imported import NotReadable
from server.portability.readers import detect, has_our_words, read
from server.record_errors import Forbidden, NotThere, Unavailable
from storage.export import Export, ExportLimits, open_export

_IN_MEMORY_BYTES: Final = 8 * 1024 * 1024  # of a file, before it goes to disk
_WORKSPACE: Final = "/v1/workspaces/{workspace}"
_UPLOADS: Final = ("application/json", "application/x-ndjson", "text/csv", "application/octet-stream")

EXPORT: Final = Operation(
    method="GET",
    path=_WORKSPACE + "/export",
    id="exportWorkspace",
    tag="import and export",
    summary="The workspace as a file, all of one seq",
    description="Streamed. It waits until what is committed is projected. docs/import-export.md tells the formats.",
    place=InWorkspace,
    query=ExportQuery,
    body=Nothing,
    needs=may_export,
    audited=("format",),
    answers={
        HTTPStatus.OK: Answer("The file.", headers=(ETAG, SEQ), media=tuple(each.media_type for each in Format)),
        HTTPStatus.NOT_MODIFIED: Answer("It is what `If-None-Match` names.", headers=(ETAG,)),
    },
    problems=(BUSY,),
    headers=(IF_NONE_MATCH,),
)
IMPORT: Final = Operation(
    method="POST",
    path=_WORKSPACE + "/import",
    id="importFile",
    tag="import and export",
    summary="Bring a file in, or see what that would do",
    description="Repeating it changes nothing, and one that was cut off goes on. The answer comes when everything is "
    "committed.",
    place=InWorkspace,
    query=ImportQuery,
    body=Nothing,
    needs=may_export,
    audited=("name", "dry_run", "role"),
    answers={HTTPStatus.OK: Answer("What was done.", Imported)},
    problems=(UNREADABLE_FILE, BUSY),
    headers=(IDEMPOTENCY_KEY,),
    uploads=_UPLOADS,
)
IMPORTS: Final = Operation(
    method="GET",
    path=_WORKSPACE + "/imports",
    id="listImports",
    tag="import and export",
    summary="The last imports",
    place=InWorkspace,
    query=Query,
    body=Nothing,
    needs=may_export,
    answers={HTTPStatus.OK: Answer("Newest first.", Batches)},
)
UNDO: Final = Operation(
    method="POST",
    path=_WORKSPACE + "/imports/{batch}/undo",
    id="undoImport",
    tag="import and export",
    summary="Mark as deleted what an import created and nobody has touched since",
    place=OfImport,
    query=Query,
    body=Nothing,
    needs=may_export,
    audited=(),
    answers={HTTPStatus.OK: Answer("What stays is told.", Undone)},
    problems=(BUSY,),
    headers=(IDEMPOTENCY_KEY,),
)


@dataclass(frozen=True, slots=True)
class TransferServices:
    """What these stand on. `at_once`: exports, and imports, that run at a time on this node."""

    imports: ImportServices
    dsn: str
    max_import_bytes: int = 1024 * 1024 * 1024
    at_once: int = 2
    export: ExportLimits = ExportLimits()  # noqa: RUF009 - frozen


class Transfer:
    """All four."""

    def __init__(self, services: TransferServices) -> None:
        self._services = services
        self._exports = _Places(services.at_once)
        self._imports = _Places(services.at_once)

    def operations(self) -> list[Served]:
        """What is served here."""
        return [EXPORT.by(self.export), IMPORT.by(self.bring), IMPORTS.by(self.list), UNDO.by(self.undo)]

    async def export(self, call: Call[InWorkspace, ExportQuery, Nothing]) -> Response:
        """Open, so that what goes wrong is still a problem document; then stream, and close whatever happens."""
        stack = AsyncExitStack()
        try:
            await stack.enter_async_context(self._exports.one())
            slug = call.workspace.slug
            export = await stack.enter_async_context(open_export(self._services.dsn, slug, self._services.export))
            download = _Download(stack, export, call.query)
            if names(call.header(IF_NONE_MATCH), tag := download.headers[ETAG.name]):
                await stack.aclose()
                return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={ETAG.name: tag})
            return download
        except BaseException:
            await stack.aclose()
            raise

    async def bring(self, call: Call[InWorkspace, ImportQuery, Nothing]) -> Reply | Response:
        """The body is kept in a file until it is whole: only then anything is written."""
        with SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spool:
            file = cast("IO[bytes]", spool)
            async with self._imports.one():
                digest = await self._keep(call.request, file)
                return await call.answered(digest, partial(self._bring, call, file))

    async def list(self, call: Call[InWorkspace, Query, Nothing]) -> Reply:
        """The account."""
        batches = await self._services.imports.ledger.batches(call.workspace.id)
        return Reply(Batches(imports=[Batch.of(batch) for batch in batches]))

    async def undo(self, call: Call[OfImport, Query, Nothing]) -> Reply:
        """As far as that loses nothing."""
        try:
            async with self._imports.one():
                report = await undo(self._services.imports, call.workspace, call.identity, call.place.batch)
        except NotThere:
            raise Problem(UNKNOWN_IMPORT) from None
        except Unavailable as error:
            raise Problem(UNAVAILABLE, str(error), headers=SOON) from None
        return Reply(Undone.of(report))

    async def _bring(self, call: Call[InWorkspace, ImportQuery, Nothing], file: IO[bytes]) -> Reply:
        asked = call.query
        importer = Importer(self._services.imports)
        try:
            source = await asyncio.to_thread(detect, file) if asked.format is None else asked.format
            words = asked.vocabulary(is_ours=await asyncio.to_thread(has_our_words, file, source))
            plan = ImportPlan(asked.name, source.value, words, asked.dry_run, asked.overwrite, asked.role)
            items = read(file, source, asked.source)
            report = await importer.bring(call.workspace, call.identity, items, plan)
        except Forbidden as error:
            raise Problem(FORBIDDEN, str(error)) from None
        except NotReadable as error:
            raise Problem(UNREADABLE_FILE, str(error)) from None
        except Unavailable as error:
            raise Problem(UNAVAILABLE, str(error), headers=SOON) from None
        return Reply(Imported.of(report, source))

    async def _keep(self, request: Request, file: IO[bytes]) -> bytes:
        """Its digest."""
        size, digest = 0, sha256()
        async for chunk in request.stream():
            size += len(chunk)
            if size > self._services.max_import_bytes:
                most = f"a file has at most {self._services.max_import_bytes} bytes here; `syncline import` takes any"
                raise Problem(TOO_LARGE, most)
            digest.update(chunk)
            file.write(chunk)
        file.seek(0)
        return digest.digest()


class _Places:
    """So many at a time; more are sent away, for each holds a connection or a file for long."""

    def __init__(self, count: int) -> None:
        self._free = count

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """A place. Raises `Problem`."""
        if not self._free:
            raise Problem(BUSY, headers={"Retry-After": "10"})
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


class _Download(StreamingResponse):
    """A file of one seq. `held` is closed when it is sent, or its reader is gone."""

    def __init__(self, held: AsyncExitStack, export: Export, asked: ExportQuery) -> None:
        header = export.header
        written_as, state = asked.format, "+state" if asked.with_state else ""
        name = quote(f"{header.workspace}-{header.seq}.{written_as.suffix}", safe="")
        super().__init__(
            chunks(export, written_as, with_state=asked.with_state),
            media_type=written_as.media_type,
            headers={
                "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
                ETAG.name: f'"{header.epoch}.{header.seq}.{written_as}{state}"',
                SEQ.name: str(header.seq),
                "Cache-Control": "private, no-store",
            },
        )
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)
