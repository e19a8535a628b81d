"""JSON: one object with `users` and `issues`, a record a line; with its state, `workspace`, `seq` and `epoch` first."""

from __future__ import annotations

from collections.abc import AsyncIterator

from server.portability.records import dumped, header_record, issue_record, user_record
from storage.export import ExportHeader, User
from storage.store import ProjectedIssue


async def write(
    header: ExportHeader, users: AsyncIterator[User], issues: AsyncIterator[ProjectedIssue], *, with_state: bool = False
) -> AsyncIterator[str]:
    """The file in chunks."""
    yield (dumped(header_record(header))[:-1] + ",\n" if with_state else "{") + '"users":['
    separator = "\n"
    async for user in users:
        yield separator + dumped(user_record(user))
        separator = ",\n"
    yield '],\n"issues":['
    separator = "\n"
    async for issue in issues:
        yield separator + dumped(issue_record(issue, with_state=with_state))
        separator = ",\n"
    yield "]}\n"
