"""Where a page of a list ended, as a text that clients hand back and do not look into."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from uuid import UUID

from storage.tables.issue_queries import Keyset, Sort


def written(sort: Sort, keyset: Keyset) -> str:
    """Printable in a URL as it is."""
    moment = None if keyset.updated_at is None else keyset.updated_at.isoformat()
    return urlsafe_b64encode(json.dumps([sort, moment, str(keyset.id)]).encode()).decode().rstrip("=")


def read(cursor: str, sort: Sort) -> Keyset:
    """Raises ValueError for what is no cursor, or one of another order."""
    try:
        of, moment, issue_id = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        updated_at = None if moment is None else datetime.fromisoformat(moment)
        keyset = Keyset(UUID(issue_id), updated_at)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ValueError("not a cursor") from None
    if of != sort or (updated_at is not None and updated_at.tzinfo is None):
        raise ValueError("a cursor of another list")
    return keyset
