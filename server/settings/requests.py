"""Settings: what one HTTP request may ask for."""

from __future__ import annotations

from pydantic import ByteSize

from server.settings.group import GIB, KIB, MIB, Group, setting


class Requests(Group):
    """What one HTTP request may ask for."""

    handshake_timeout_seconds: float = setting(10.0, "for a whole HTTP request head to arrive", gt=0)
    max_head_bytes: ByteSize = setting(64 * KIB, "of such a head; longer ones are answered 431", ge=KIB)
    min_progress_bytes: ByteSize = setting(
        KIB, "of a request's body that come, or of an answer that are taken, in any such time; else it is cut off", ge=1
    )
    max_body_bytes: ByteSize = setting(20 * MIB, "a body of JSON; bigger ones are answered 413", ge=KIB)
    max_page: int = setting(
        1_000, "rows of one page, whatever is listed; issues, comments and others have a lower bound of their own", ge=1
    )
    min_seq_timeout_seconds: float = setting(5.0, "for the rows a read with min_seq waits for; then 503", gt=0)
    list_timeout_seconds: float = setting(5.0, "for one list or search in Postgres before it is given up: 503", gt=0)
    user_reads_at_once: int = setting(
        2, "lists, searches and histories of one user at a time; the next ones wait, as long as for a list", ge=1
    )
    max_bulk_issues: int = setting(1_000, "items of one bulk request; more are answered 422", ge=1, le=1_000)
    bulk_issues_at_once: int = setting(64, "issues of one bulk request that are written at a time", ge=1)
    max_outbox_operations: int = setting(
        1_000, "queued operations in one request; more are answered 422", ge=1, le=1_000
    )
    max_outbox_bytes: ByteSize = setting(20 * MIB, "such a request; a bigger one is answered 413", ge=KIB)
    outbox_issues_at_once: int = setting(32, "issues of such a request that are written at a time", ge=1)
    outbox_commit_operations: int = setting(
        100, "queued operations on one issue that are made in one commit; the next ones wait for it", ge=1
    )
    outbox_rows_seconds: float = setting(5.0, "for the rows of what such a request wrote, which its answer shows", gt=0)
    outbox_claim_seconds: float = setting(
        10.0, "for a queued operation to be made before another request may make it, after a crash for instance", gt=0
    )
    outbox_retries: int = setting(
        100, "times that a rejected operation which is sent again is tried again; then it stays rejected", ge=0
    )
    max_import_bytes: ByteSize = setting(GIB, "a file that is imported over HTTP", ge=MIB)
    transfers_at_once: int = setting(2, "exports, and imports, over HTTP at a time; more are answered 503", ge=1)
    history_page_deltas: int = setting(5_000, "deltas read for one page of a history", ge=1)
    history_page_bytes: ByteSize = setting(8 * MIB, "bytes of them", ge=KIB)
    history_page_chars: int = setting(1_000_000, "characters of changes that such a page tells", ge=1)
    max_history_deltas: int = setting(
        20_000, "deltas read for a blame, a revert or the base of a queued operation; with more it is refused", ge=1
    )
    max_history_bytes: ByteSize = setting(32 * MIB, "bytes of them", ge=KIB)
    history_job_seconds: float = setting(30.0, "for an engine to tell what is in them", gt=0)
    activity_page_deltas: int = setting(2_000, "deltas looked at for one page of a workspace's activity", ge=1)
    activity_issues_at_once: int = setting(4, "issues of such a page that are read at a time", ge=1)
