"""Every way `/v1` says no (RFC 9457): the catalogue of problem types. A slug and its status never change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict

PROBLEM_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:syncline:problem:"
SOON: Final = {"Retry-After": "1"}


@dataclass(frozen=True, slots=True)
class ProblemType:
    """What a client can rely on. `when` and `remedy` are sentences for people who meet it."""

    slug: str
    status: HTTPStatus
    title: str
    when: str
    remedy: str

    @property
    def uri(self) -> str:
        """The `type` of its documents."""
        return TYPE_PREFIX + self.slug


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one parameter or field. The message never repeats what was sent."""

    field: str
    message: str


class Problem(Exception):
    """An answer that is not what was asked for. `detail` is for the client and holds no content of documents; `more`
    are members of the document beside the usual ones; `issue_id`: which they tell about, where no path says so."""

    def __init__(
        self,
        kind: ProblemType,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
        issue_id: UUID | None = None,
    ) -> None:
        super().__init__(detail or kind.title)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})
        self.more = dict(more or {})
        self.issue_id = issue_id

    def document(self, request_id: str) -> dict[str, object]:
        """The body of the answer."""
        body: dict[str, object] = {"type": self.kind.uri, "title": self.kind.title, "status": int(self.kind.status)}
        if self.detail:
            body["detail"] = self.detail
        if self.errors:
            body["errors"] = [{"field": each.field, "message": each.message} for each in self.errors]
        return body | {"request_id": request_id} | self.more


class FieldProblem(BaseModel):
    """What is wrong with one field; dots lead into objects and arrays."""

    field: str
    message: str


class ProblemDocument(BaseModel):
    """RFC 9457. `type` is one of the catalogue, the rest is for people and logs."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str = ""
    errors: list[FieldProblem] = []
    request_id: str = ""


UNAUTHORIZED: Final = ProblemType(
    "unauthorized",
    HTTPStatus.UNAUTHORIZED,
    "No valid token",
    "The request has no token, or one that is expired or not ours.",
    "Send `Authorization: Bearer` with a token of `syncline token`.",
)
FORBIDDEN: Final = ProblemType(
    "forbidden",
    HTTPStatus.FORBIDDEN,
    "Not allowed",
    "The token is for another workspace, or its role does not allow this.",
    "Use a token of the workspace; ask an admin for a role that may.",
)
UNKNOWN_ROUTE: Final = ProblemType(
    "unknown-route",
    HTTPStatus.NOT_FOUND,
    "No such address",
    "Nothing is served under this path.",
    "`/v1/docs` lists what is.",
)
UNKNOWN_WORKSPACE: Final = ProblemType(
    "unknown-workspace",
    HTTPStatus.NOT_FOUND,
    "No such workspace",
    "The workspace in the path does not exist.",
    "Check its slug.",
)
UNKNOWN_ISSUE: Final = ProblemType(
    "unknown-issue",
    HTTPStatus.NOT_FOUND,
    "No such issue",
    "Nobody has written this issue, or its id is not a UUID. Deleted issues are there still.",
    "Check the id. What was just written may not be projected yet: name its `min_seq`.",
)
UNKNOWN_COMMENT: Final = ProblemType(
    "unknown-comment",
    HTTPStatus.NOT_FOUND,
    "No such comment",
    "The issue is there and has no comment of this id. Deleted comments are there still.",
    "List the comments of the issue.",
)
UNKNOWN_IMPORT: Final = ProblemType(
    "unknown-import",
    HTTPStatus.NOT_FOUND,
    "No such import",
    "There is no import of this id in the workspace.",
    "Look for it in `GET …/imports`.",
)
UNKNOWN_CONFLICT: Final = ProblemType(
    "unknown-conflict",
    HTTPStatus.NOT_FOUND,
    "No such conflict",
    "No conflict of this workspace has the id, or its issue was deleted for good.",
    "List the conflicts of the workspace.",
)
RESOLVED: Final = ProblemType(
    "resolved",
    HTTPStatus.CONFLICT,
    "Resolved already",
    "Somebody resolved the conflict first; `conflict` says who, and how.",
    "Edit the issue if it is to read otherwise.",
)
PURGED: Final = ProblemType(
    "purged",
    HTTPStatus.GONE,
    "The issue is gone",
    "The issue was deleted for good, some time after it was marked as deleted. Its id is not used again.",
    "Forget it. What it said belongs into a new issue.",
)
TRIMMED: Final = ProblemType(
    "history-trimmed",
    HTTPStatus.GONE,
    "No longer kept",
    "The moment lies before what is kept of this issue's history (the setting `history-days`).",
    "Ask for a later moment; `floor` is the seq where its history begins.",
)
OUT_OF_REACH: Final = ProblemType(
    "out-of-reach",
    HTTPStatus.GONE,
    "The log does not lead on from here",
    "The cursor is below the log's floor, above its head, or of another epoch: `reason` says which.",
    "Get the pages at `reload` and what they name as `next`.",
)
UNREADABLE: Final = ProblemType(
    "unreadable",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "The issue cannot be read",
    "No engine digests the document. It is synced as it is, and flagged for the operator.",
    "Ask the operator to look at `syncline quarantine`.",
)
UNKNOWN_USER: Final = ProblemType(
    "unknown-user",
    HTTPStatus.NOT_FOUND,
    "No such user",
    "Nobody of that id was here or was given a role.",
    "Check the id: it is the `sub` of their tokens.",
)
UNKNOWN_DEVICE: Final = ProblemType(
    "unknown-device",
    HTTPStatus.NOT_FOUND,
    "No such device",
    "The user has no device of that id, or it is not yours to revoke.",
    "List the devices.",
)
UNKNOWN_SESSION: Final = ProblemType(
    "unknown-session",
    HTTPStatus.NOT_FOUND,
    "No such session",
    "It is over already, or it is not yours to end.",
    "List the sessions.",
)
UNKNOWN_TOKEN: Final = ProblemType(
    "unknown-token",
    HTTPStatus.NOT_FOUND,
    "No such token",
    "No token of that id was recorded or used here, or it is not yours to revoke.",
    "List the tokens. Signing the user out ends all of theirs.",
)
LAST_OWNER: Final = ProblemType(
    "last-owner",
    HTTPStatus.CONFLICT,
    "The only owner",
    "Nobody would be left to say who is an owner.",
    "Make somebody else an owner first.",
)
METHOD_NOT_ALLOWED: Final = ProblemType(
    "method-not-allowed",
    HTTPStatus.METHOD_NOT_ALLOWED,
    "Not this method",
    "The path is served, but not with this method.",
    "Use one of the `Allow` header.",
)
EXISTS: Final = ProblemType(
    "exists",
    HTTPStatus.CONFLICT,
    "The id is taken",
    "Something else was created under this id.",
    "Take another id, or read what is there.",
)
PRECONDITION: Final = ProblemType(
    "precondition-failed",
    HTTPStatus.PRECONDITION_FAILED,
    "It has changed",
    "The issue is at none of the versions that `If-Match` names. Nothing was written.",
    "Read the issue again, and decide on what it is now.",
)
FULL: Final = ProblemType(
    "full",
    HTTPStatus.CONFLICT,
    "Full",
    "The issue holds as many bytes, structs, tombstones or comments as it may, or the workspace as many issues; "
    "`detail` says which, and how many that is.",
    "Delete something, or write into a new issue. Deletions and changes of fields are still taken.",
)
IN_PROGRESS: Final = ProblemType(
    "in-progress",
    HTTPStatus.CONFLICT,
    "Somebody is at it",
    "A request with this `Idempotency-Key` is being done.",
    "Wait as `Retry-After` says and send it again.",
)
KEY_REUSED: Final = ProblemType(
    "key-reused",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "The key is taken",
    "Another request had this `Idempotency-Key` less than a day ago.",
    "Take a new key for each request, and the same one only to send it again.",
)
ENCODED: Final = ProblemType(
    "encoded",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "Compressed bodies are not taken",
    "The body has a `Content-Encoding`.",
    "Send it as it is.",
)
TOO_LARGE: Final = ProblemType(
    "too-large",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "Body too large",
    "The body has more bytes than this operation takes.",
    "Send less at a time.",
)
INVALID: Final = ProblemType(
    "invalid",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "Not valid",
    "A parameter, header or field is not what it should be; `errors` names each.",
    "Correct what `errors` names. Sending it again as it is does not help.",
)
UNREADABLE_FILE: Final = ProblemType(
    "unreadable-file",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "The file cannot be read",
    "The file of an import is in no format that is known, not UTF-8, or breaks off. What was read before stands.",
    "`detail` says where and what to do; the same import then goes on.",
)
UNWRITABLE: Final = ProblemType(
    "unwritable",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "The document does not take the edit",
    "An editor put something into the document, such as an image into a text, that plain text cannot replace; or the "
    "document is damaged.",
    "Make the edit in an editor.",
)
TOO_MANY: Final = ProblemType(
    "too-many-requests",
    HTTPStatus.TOO_MANY_REQUESTS,
    "Too many requests",
    "The user, the workspace or the address makes more requests than it may (`RateLimit-Policy` says which), or more "
    "edits, or has more requests waiting for changes (`detail` says so).",
    "Wait as `Retry-After` says and send it again. Nothing was done.",
)
BUSY: Final = ProblemType(
    "busy",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "Others are at it",
    "As many exports or imports run here as may at a time.",
    "Wait as `Retry-After` says and ask again.",
)
INTERNAL: Final = ProblemType(
    "internal",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "A defect of the server",
    "Something failed that should not. It is in the server's log under `request_id`.",
    "Report it. Writes may or may not have happened.",
)
UNAVAILABLE: Final = ProblemType(
    "unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "Not now",
    "The database is away, or the server too busy. Whether a write happened is unknown.",
    "Wait as `Retry-After` says and send it again, writes with the same ids.",
)
NOT_PROJECTED: Final = ProblemType(
    "not-projected-yet",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The rows are not that far yet",
    "The read names a `min_seq` that the tables did not reach in time.",
    "Wait as `Retry-After` says and read again. A seq above the workspace's newest never comes.",
)


def too_many_edits(retry_after: int) -> Problem:
    """Nothing was made of it; whole seconds until it may be."""
    told = "the user or the workspace makes more edits than it may"
    return Problem(TOO_MANY, told, headers={"Retry-After": str(retry_after)}, more={"retry_after": retry_after})


CATALOGUE: Final = tuple(kind for kind in tuple(globals().values()) if isinstance(kind, ProblemType))
