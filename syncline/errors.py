"""What can go wrong for a user of the SDK, as one small tree below `SynclineError`."""

from __future__ import annotations

from uuid import UUID


class SynclineError(Exception):
    """Whatever this package raises on its own account."""


class StoreFailed(SynclineError):
    """The local store cannot be read or written: disk full, locked for too long, damaged, or of a newer version."""


class IssueNotFound(SynclineError):
    """No such issue in the local store. It may exist on the server and not have been caught up with yet."""

    def __init__(self, issue_id: UUID) -> None:
        super().__init__(f"no issue {issue_id}")
        self.issue_id = issue_id


class IssueExists(SynclineError):
    """`create` was given the id of an issue that begins with other text."""

    def __init__(self, issue_id: UUID) -> None:
        super().__init__(f"issue {issue_id} exists with another beginning; use update")
        self.issue_id = issue_id


class ConflictNotFound(SynclineError):
    """No such conflict in the local store: it may have been decided long ago, or not have been caught up with yet."""

    def __init__(self, conflict_id: UUID) -> None:
        super().__init__(f"no conflict {conflict_id}")
        self.conflict_id = conflict_id


class ConflictResolved(SynclineError):
    """Somebody has decided it first; `by` says who, `resolution` how: standing, losing, value or superseded."""

    def __init__(self, conflict_id: UUID, by: str, resolution: str) -> None:
        super().__init__(f"{by} has resolved it: {resolution}")
        self.conflict_id = conflict_id
        self.by = by
        self.resolution = resolution


class ServerUnreachable(SynclineError):
    """What cannot wait in the outbox needs the server, which did not answer. It may or may not have been done."""


class TooManyRequests(ServerUnreachable):
    """The server takes no more requests of this user for longer than somebody waits. It was not done."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the server takes too many requests; come again in {retry_after} s")
        self.retry_after = retry_after


class CommentNotFound(SynclineError):
    """No such comment on that issue."""

    def __init__(self, comment_id: str) -> None:
        super().__init__(f"no comment {comment_id}")
        self.comment_id = comment_id


class NotEditable(SynclineError):
    """The document holds something in that place which text cannot replace, such as an embedded object."""


class NotAccepted(SynclineError):
    """The server refused an edit for good. It is taken out of the local document and kept aside in the store.

    `code` is one of the codes of docs/protocol.md, `message` says what and where, without content.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message


class ClientClosed(SynclineError):
    """The client was closed while this was waited for. What is durable is sent when it is opened again."""
