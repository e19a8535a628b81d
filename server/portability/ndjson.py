"""NDJSON: a line `{"user": …}` a user, then an issue a line; with its state, a line `{"export": …}` first."""

from __future__ import annotations

from collections.abc import AsyncIterator

from server.portability.records import dumped, header_record, issue_record, user_record
from storage.export import ExportHeader, User
from storage.store import ProjectedIssue


async def write(
    header: ExportHeader, users: AsyncIterator[User], issues: AsyncIterator[ProjectedIssue], *, with_state: bool = False
) -> AsyncIterator[str]:
    """The file in chunks, a line each."""
    if with_state:
        yield dumped({"export": header_record(header)}) + "\n"
    async for user in users:
        yield dumped({"user": user_record(user)}) + "\n"
    async for issue in issues:
        yield dumped(issue_record(issue, with_state=with_state)) + "\n"
