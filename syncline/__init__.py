"""Syncline for Python programs: the issues of a workspace, on this device, in step with the server.

Works offline, shows the edits of others as they are committed, and says of each own edit when it is committed.
"""

from crdt.issue import Comment, IssueContent
from syncline.client import Client
from syncline.conflict import Conflict, Side
from syncline.conflicts import Conflicts
from syncline.document import Document
from syncline.errors import (
    ClientClosed,
    CommentNotFound,
    ConflictNotFound,
    ConflictResolved,
    IssueExists,
    IssueNotFound,
    NotAccepted,
    NotEditable,
    ServerUnreachable,
    StoreFailed,
    SynclineError,
    TooManyRequests,
)
from syncline.issue import Issue
from syncline.issues import Issues
from syncline.presence import Presence
from syncline.receipts import Receipt
from syncline.records import Change
from syncline.status import State, Status, StatusBoard

__all__ = [
    "Change",
    "Client",
    "ClientClosed",
    "Comment",
    "CommentNotFound",
    "Conflict",
    "ConflictNotFound",
    "ConflictResolved",
    "Conflicts",
    "Document",
    "Issue",
    "IssueContent",
    "IssueExists",
    "IssueNotFound",
    "Issues",
    "NotAccepted",
    "NotEditable",
    "Presence",
    "Receipt",
    "ServerUnreachable",
    "Side",
    "State",
    "Status",
    "StatusBoard",
    "StoreFailed",
    "SynclineError",
    "TooManyRequests",
]
