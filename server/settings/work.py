"""Settings: how a node works: rooms, commits, feeds, engines."""

from __future__ import annotations

from typing import Literal

from pydantic import ByteSize

from server.settings.group import GIB, KIB, MIB, Group, setting


class Work(Group):
    """How a node works: rooms, commits, feeds, engines."""

    max_rooms: int = setting(20_000, "issues open at a time", ge=1)
    max_resident_bytes: ByteSize = setting(512 * MIB, "updates held by open issues; idle ones make room", ge=MIB)
    max_room_sessions: int = setting(1_000, "sockets on one issue", ge=1)
    max_room_waiting_bytes: ByteSize = setting(
        4 * MIB, "updates of one issue that wait for their commit; above it its writers are not read from", ge=KIB
    )
    max_inline_bytes: ByteSize = setting(128 * KIB, "issues above this are merged and compared by an engine", ge=KIB)
    max_inline_update_bytes: ByteSize = setting(64 * KIB, "updates above this are checked by an engine", ge=KIB)
    max_inline_update_items: int = setting(
        1_000, "structs, ranges and values of one; an update with more is checked by an engine", ge=1
    )
    load_timeout_seconds: float = setting(10.0, "for opening an issue", gt=0)
    idle_timeout_seconds: float = setting(60.0, "before an issue nobody has open is dropped from memory", ge=0)
    catch_up_timeout_seconds: float = setting(2.0, "on a gap, for what other nodes committed", gt=0)
    ask_timeout_seconds: float = setting(2.0, "on a gap, for the client's answer before it is asked again", gt=0)
    overload_timeout_seconds: float = setting(10.0, "for room in a full queue before writers are sent away", gt=0)
    max_queued_bytes: ByteSize = setting(64 * MIB, "updates of all issues that wait for their commit", ge=KIB)
    max_batch_deltas: int = setting(1_000, "deltas in one commit", ge=1)
    max_batch_bytes: ByteSize = setting(8 * MIB, "bytes in one commit", ge=KIB)
    commit_timeout_seconds: float = setting(10.0, "for one commit", gt=0)
    stuck_after_seconds: float = setting(5.0, "age of the oldest waiting update at which readiness turns red", gt=0)
    wakeups: Literal["notify", "poll"] = setting(
        "notify", "how nodes hear of each other's commits; notify is Postgres LISTEN/NOTIFY, poll only looks"
    )
    relay_interval_seconds: float = setting(0.25, "between two looks at what other nodes committed", gt=0)
    relay_page_deltas: int = setting(500, "deltas read in one such look", ge=1)
    feed_interval_seconds: float = setting(
        0.25, "what is committed to a workspace in this time goes to those who follow it as one page", ge=0
    )
    feed_page_deltas: int = setting(2_000, "deltas merged into one page of a feed", ge=1)
    feed_page_bytes: ByteSize = setting(256 * KIB, "bytes of them; one entry alone may be bigger", ge=KIB)
    feed_page_conflicts: int = setting(500, "conflicts in one page of how they change", ge=1)
    conflict_feed_interval_seconds: float = setting(
        1.0, "between two looks for conflicts that another node recorded, for those who follow them", gt=0
    )
    max_feed_reads: int = setting(4, "pages that are made at a time for all who catch up", ge=1)
    conflict_interval_seconds: float = setting(
        5.0, "between two looks for conflicts that another node left for the last write to win", gt=0
    )
    engine_processes: int = setting(2, "processes that work on live documents", ge=1)
    engine_memory_bytes: ByteSize = setting(GIB, "address space of one of them", ge=128 * MIB)
    engine_resident_issues: int = setting(4_096, "documents one of them keeps", ge=1)
    engine_resident_bytes: ByteSize = setting(256 * MIB, "bytes of documents one of them keeps", ge=MIB)
    engine_job_seconds: float = setting(10.0, "for one job before its process is replaced", gt=0)
    projection_page_deltas: int = setting(8_000, "deltas projected in one transaction", ge=1)
    projection_page_issues: int = setting(1_000, "issues of them, each a row to write", ge=1)
    projection_settle_seconds: float = setting(0.1, "to gather what is written before it is projected", ge=0)
    projection_poll_seconds: float = setting(1.0, "between two looks for what other nodes wrote", gt=0)
    search_settle_seconds: float = setting(0.5, "to gather edits before the words of an issue are read anew", ge=0)
