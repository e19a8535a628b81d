"""NDJSON: a line `{"export": …}` that says which state it is, a line `{"user": …}` a user, then an issue a line."""

from __future__ import annotations

from collections.abc import AsyncIterator

from server.portability.records import dumped, header_record, issue_record, user_record
from storage.export import ExportHeader, User
from storage.store import ProjectedIssue


async def write(
    header: ExportHeader, users: AsyncIterator[User], issues: AsyncIterator[ProjectedIssue]
) -> AsyncIterator[str]:
    """The file in chunks, a line each."""
    yield dumped({"export": header_record(header)}) + "\n"
    async for user in users:
        yield dumped({"user": user_record(user)}) + "\n"
    async for issue in issues:
        yield dumped(issue_record(issue)) + "\n"
