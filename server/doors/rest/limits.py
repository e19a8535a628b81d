"""Bounds of what one request of `/v1` may ask for, each a setting; and how operations state them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from annotated_types import Le

from server.doors.rest.lanes import Lanes
from server.doors.rest.operations import MAX_BODY_BYTES, Operation, Served
from server.doors.rest.polls import PollLimits

PAGE: Final = "limit"  # the parameter of a query that says how many a page holds


@dataclass(frozen=True, slots=True)
class RestLimits:
    """`body_bytes`: of JSON, where an operation has no bound of its own · `page`: rows of one, whatever the list, which
    may have a lower bound of its own · `bulk_issues`: items of a bulk request, `bulk_issues_at_once`: of its issues,
    written at a time · `min_seq_seconds`: how long a read waits for the projection · `user_reads_at_once`: of those
    that cost; the next ones of that user wait for `read_wait_seconds`."""

    body_bytes: int = MAX_BODY_BYTES
    page: int = 1_000
    bulk_issues: int = 1_000
    bulk_issues_at_once: int = 64
    min_seq_seconds: float = 5.0
    user_reads_at_once: int = 2
    read_wait_seconds: float = 5.0
    polls: PollLimits = field(default_factory=PollLimits)


def within(limits: RestLimits, served: Iterable[Served]) -> list[Served]:
    """The same operations, each with the bounds that hold for all."""
    lanes = Lanes(limits.user_reads_at_once, limits.read_wait_seconds)
    return [lanes.around(replace(each, operation=_bounded(limits, each.operation))) for each in served]


def _bounded(limits: RestLimits, operation: Operation[Any, Any, Any]) -> Operation[Any, Any, Any]:
    body_bytes = operation.max_body_bytes or limits.body_bytes
    own = operation.query.model_fields.get(PAGE)
    pages = [] if own is None else [int(str(bound.le)) for bound in own.metadata if isinstance(bound, Le)]
    return replace(operation, max_body_bytes=body_bytes, max_page=min(*pages, limits.page) if pages else None)
