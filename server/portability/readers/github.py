"""GitHub issues: the JSON of the REST API, pages one after the other, or what `gh issue list --json` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, Final

from crdt.issue import DEFAULT_PRIORITY, Comment, IssueContent
from server.portability.fields import Fields
from server.portability.imported import BadRow, ImportedIssue, Item, Skipped, issue_id_of
from server.portability.json_stream import elements_of

_NOT_DONE: Final = frozenset({"not_planned", "duplicate"})


def read(file: IO[bytes], source: str) -> Iterator[Item]:
    """Issues; pull requests are passed over, and said so."""
    for _, number, value in elements_of(file):
        if number < 0:
            continue
        place = f"issues[{number}]"
        try:
            yield _issue(place, Fields.of(value), source)
        except BadRow as bad:
            yield Skipped(place, str(bad))


def _issue(place: str, fields: Fields, source: str) -> ImportedIssue:
    if fields.value("pull_request", "isPullRequest"):
        raise BadRow("a pull request")
    address = fields.text("html_url", "url")
    if not address:
        raise BadRow("it has no address (html_url or url), which is what tells issues of repositories apart")
    assignees = fields.items("assignees")
    content = IssueContent(
        title=fields.text("title"),
        description=fields.text("body"),
        status=_status(fields),
        priority=DEFAULT_PRIORITY,
        user_id=_login(fields.value("assignee")) or next(filter(None, map(_login, assignees)), None),
        labels=fields.texts("labels"),
        created_by=_login(fields.value("user", "author")),
        created_at=fields.moment("created_at", "createdAt"),
        completed_at=fields.moment("closed_at", "closedAt"),
        comments=_comments(fields.value("comments")),
    )
    return ImportedIssue(place, issue_id_of(source, address), content)


def _status(fields: Fields) -> str:
    if fields.text("state").lower() != "closed":
        return "open"
    return "cancelled" if fields.text("state_reason", "stateReason").lower() in _NOT_DONE else "done"


def _comments(value: Any) -> tuple[Comment, ...]:
    """The API only tells how many there are, unless somebody put them there."""
    if not isinstance(value, list):
        return ()
    found: dict[str, Comment] = {}
    for item in value:
        fields = Fields.of(item)
        key = fields.text("id", "node_id", "url")
        if not key:
            raise BadRow("a comment without an id")
        created_at, updated_at = fields.moment("created_at", "createdAt"), fields.moment("updated_at", "updatedAt")
        edited_at = updated_at if updated_at != created_at else None
        author = _login(fields.value("user", "author"))
        found[key] = Comment(key, author, created_at, edited_at, None, fields.text("body"))
    return tuple(found.values())


def _login(value: Any) -> str | None:
    return Fields.of(value).short("login") if isinstance(value, dict) else None
