"""The settings, as the limits each part takes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from crdt.awareness import AwarenessLimits
from crdt.native import SUBPROTOCOL
from crdt.records import Capacity, Limits
from server.addresses import proxies
from server.audit import AuditLimits
from server.buckets import Allowance
from server.config import Settings
from server.doors.edit_pace import EditPace
from server.doors.hocuspocus import HocuspocusLimits
from server.doors.native.limits import NativeLimits
from server.doors.rest.limits import RestLimits
from server.doors.rest.polls import PollLimits
from server.doors.yjs import DoorLimits
from server.engine import EngineLimits
from server.engine_child import ChildLimits
from server.feed import FeedLimits
from server.feed_readers import ConflictLimits, PageLimits
from server.guestbook import GuestbookLimits
from server.limits import HubLimits, RelayLimits, RoomLimits
from server.listener import RequestLimits
from server.outbox_batch import OutboxLimits
from server.rates import RateLimits
from server.restraint import LogLimits
from server.sign_ins import SignInLimits
from server.websocket import SocketLimits
from server.websocket.pace import PaceLimits
from server.websocket.strangers import StrangerLimits
from storage.activity import ActivityLimits
from storage.compactor import CompactorLimits
from storage.database import DatabaseLimits
from storage.projector import ProjectorLimits
from storage.purger import PurgerLimits
from storage.sync_queue import SyncQueueLimits
from storage.timeline import TimelineLimits
from storage.words import WordsLimits

ANY_NUMBER: Final = 1 << 50  # in place of 0
# Of a command, which nobody else asks for anything.
QUIET_ROOMS: Final = 256  # four times as many as an import writes at a time
QUIET_BYTES: Final = 16 * 1024 * 1024
QUIET_SWEEP_SECONDS: Final = 0.25


def of_database(settings: Settings) -> DatabaseLimits:
    """The pools of connections."""
    directory = DatabaseLimits().directory_connections_max
    return DatabaseLimits(
        connections_max=settings.max_database_connections - directory, directory_connections_max=directory
    )


def of_timeline(settings: Settings) -> TimelineLimits:
    """What happened to an issue."""
    return TimelineLimits(
        page_deltas=settings.history_page_deltas,
        page_bytes=settings.history_page_bytes,
        page_chars=settings.history_page_chars,
        span_deltas=settings.max_history_deltas,
        span_bytes=settings.max_history_bytes,
        job_seconds=settings.history_job_seconds,
    )


def of_activity(settings: Settings) -> ActivityLimits:
    """What happened in a workspace."""
    return ActivityLimits(settings.activity_page_deltas, settings.activity_issues_at_once)


def of_outbox(settings: Settings) -> OutboxLimits:
    """A request with what a device queued."""
    return OutboxLimits(
        operations=settings.max_outbox_operations,
        bytes=settings.max_outbox_bytes,
        issues_at_once=settings.outbox_issues_at_once,
        operations_at_once=settings.outbox_commit_operations,
        rows_seconds=settings.outbox_rows_seconds,
    )


def of_sync_queue(settings: Settings) -> SyncQueueLimits:
    """What is kept of queued operations."""
    return SyncQueueLimits(settings.outbox_claim_seconds, settings.outbox_days, settings.outbox_retries)


def of_audit(settings: Settings) -> AuditLimits:
    """The audit log."""
    refusals = Allowance(settings.audit_refusals_per_minute / 60, settings.audit_refusals)
    return AuditLimits(days=settings.audit_days, refusals=refusals)


def of_log(settings: Settings) -> LogLimits:
    """The log."""
    return LogLimits(Allowance(settings.log_lines_per_minute / 60, settings.log_lines))


def of_rates(settings: Settings) -> RateLimits:
    """Requests, by who makes them."""
    return RateLimits(
        user=_allowance(settings, settings.max_user_requests),
        workspace=_allowance(settings, settings.max_workspace_requests),
        address=_allowance(settings, settings.max_address_requests),
        user_edits=_allowance(settings, settings.max_user_edits),
        workspace_edits=_allowance(settings, settings.max_workspace_edits),
        failures=Allowance(settings.failed_login_rate, settings.failed_logins),
        edit_delay=settings.edit_delay_seconds,
        longest_delay=settings.failed_login_delay_seconds,
        offences=Allowance(settings.user_offence_rate, settings.user_offences),
    )


def of_polls(settings: Settings) -> PollLimits:
    """Requests that wait for changes."""
    return PollLimits(
        node=settings.max_polls,
        workspace=settings.max_workspace_polls,
        user=settings.max_user_polls,
        address=settings.max_address_polls,
        longest_seconds=settings.max_poll_seconds,
    )


def of_rest(settings: Settings) -> RestLimits:
    """A request of `/v1`."""
    return RestLimits(
        body_bytes=settings.max_body_bytes,
        page=settings.max_page,
        bulk_issues=settings.max_bulk_issues,
        bulk_issues_at_once=settings.bulk_issues_at_once,
        min_seq_seconds=settings.min_seq_timeout_seconds,
        user_reads_at_once=settings.user_reads_at_once,
        read_wait_seconds=settings.list_timeout_seconds,
        polls=of_polls(settings),
    )


def _allowance(settings: Settings, rate: float) -> Allowance:
    return Allowance(rate, rate * settings.burst_seconds)


def of_requests(settings: Settings) -> RequestLimits:
    """An HTTP connection."""
    return RequestLimits(settings.handshake_timeout_seconds, settings.max_head_bytes, settings.min_progress_bytes)


def of_sockets(settings: Settings) -> SocketLimits:
    """The WebSocket endpoint. Its high water is below the bound at which a session is behind, so that `drained` is
    certain to follow."""
    return SocketLimits(
        max_connections=settings.max_connections,
        max_address_connections=settings.max_address_connections,
        max_message_bytes=settings.max_message_bytes,
        max_small_fragments=settings.max_small_fragments,
        stranger_receive_bytes=settings.stranger_receive_bytes,
        high_water_bytes=settings.max_buffered_bytes // 2,
        subprotocols=(SUBPROTOCOL,),
        ping_interval_seconds=settings.ping_interval_seconds,
        pong_timeout_seconds=settings.pong_timeout_seconds,
        close_timeout_seconds=settings.close_timeout_seconds,
        pace=PaceLimits(
            _allowance(settings, settings.max_message_rate),
            _allowance(settings, settings.max_receive_rate),
        ),
        trusted_proxies=proxies(settings.trusted_proxy),
    )


def of_strangers(settings: Settings) -> StrangerLimits:
    """Handshakes that no good token has followed."""
    return StrangerLimits(Allowance(settings.address_stranger_rate, settings.max_address_strangers))


def of_door(settings: Settings) -> DoorLimits:
    """A client's wait for its room, and the keep-alive."""
    return DoorLimits(
        max_waiting_messages=settings.max_waiting_messages,
        max_waiting_bytes=settings.max_waiting_bytes,
        keep_alive_seconds=settings.keep_alive_seconds,
        edits=EditPace(settings.edit_delay_seconds, settings.edit_debt_seconds),
    )


def of_hocuspocus(settings: Settings) -> HocuspocusLimits:
    """A socket with many documents."""
    return HocuspocusLimits(
        max_documents=settings.max_socket_documents,
        max_unauthenticated_documents=settings.max_unauthenticated_documents,
        max_unauthenticated_messages=settings.max_unauthenticated_messages,
        max_unauthenticated_bytes=settings.max_unauthenticated_bytes,
        max_waiting_messages=settings.max_waiting_messages,
        max_waiting_bytes=settings.max_waiting_bytes,
        max_buffered_bytes=settings.max_buffered_bytes,
        authentication_timeout=settings.authentication_timeout_seconds,
        behind_timeout=settings.behind_timeout_seconds,
        keep_alive_seconds=settings.keep_alive_seconds,
        token_refresh_seconds=settings.token_refresh_seconds,
        edits=EditPace(settings.edit_delay_seconds, settings.edit_debt_seconds),
    )


def of_native(settings: Settings) -> NativeLimits:
    """A socket that follows a workspace."""
    return NativeLimits(
        hello_seconds=settings.hello_timeout_seconds,
        edit_delay_seconds=settings.edit_delay_seconds,
        frame_bytes=settings.max_message_bytes,
        update_bytes=settings.max_update_bytes,
        push_entries=settings.max_push_edits,
        push_bytes=settings.max_push_bytes,
        open_issues=settings.max_open_issues,
        presence_bytes=settings.max_presence_bytes,
        page_bytes=settings.feed_page_bytes,
        conflict_rows=settings.feed_page_conflicts,
        ping_seconds=settings.ping_interval_seconds,
        full_bytes=of_sockets(settings).high_water_bytes,
        waiting_messages=settings.max_waiting_messages,
        waiting_bytes=settings.max_waiting_bytes,
        message_rate=round(settings.max_message_rate),
        byte_rate=settings.max_receive_rate,
        edit_rate=round(settings.max_user_edits),
        issue_bytes=settings.max_issue_bytes,
        issue_structs=settings.max_issue_structs,
        issue_tombstones=settings.max_issue_tombstones,
        issue_comments=settings.max_issue_comments,
        workspace_issues=settings.max_workspace_issues,
    )


def of_feeds(settings: Settings) -> FeedLimits:
    """What followers are fed."""
    return FeedLimits(
        interval_seconds=settings.feed_interval_seconds,
        poll_seconds=settings.relay_interval_seconds,
        max_reads=settings.max_feed_reads,
        page=PageLimits(deltas=settings.feed_page_deltas, bytes=settings.feed_page_bytes),
        conflicts=ConflictLimits(
            settings.feed_page_conflicts, settings.feed_page_bytes, settings.conflict_feed_interval_seconds
        ),
    )


def of_updates(settings: Settings) -> Limits:
    """The gate."""
    return Limits(
        max_update_bytes=settings.max_update_bytes,
        max_structs=settings.max_structs,
        max_new_clients=settings.max_new_clients,
        max_depth=settings.max_depth,
        max_key_bytes=settings.max_key_bytes,
        capacity=Capacity(
            settings.max_issue_bytes or ANY_NUMBER,
            settings.max_issue_structs or ANY_NUMBER,
            settings.max_issue_tombstones or ANY_NUMBER,
            settings.max_issue_comments or ANY_NUMBER,
        ),
    )


def of_hub(settings: Settings) -> HubLimits:
    """All rooms, and each."""
    awareness = AwarenessLimits(
        max_state_bytes=settings.max_presence_bytes,
        max_clients=settings.max_presence_clients,
        max_clients_per_session=settings.max_session_clients,
    )
    room = RoomLimits(
        max_sessions=settings.max_room_sessions,
        max_waiting_bytes=settings.max_room_waiting_bytes,
        max_buffered_bytes=settings.max_buffered_bytes,
        behind_timeout=settings.behind_timeout_seconds,
        presence_timeout=settings.presence_timeout_seconds,
        max_inline_bytes=settings.max_inline_bytes,
        max_inline_update_bytes=settings.max_inline_update_bytes,
        max_inline_update_items=settings.max_inline_update_items,
        catch_up_timeout=settings.catch_up_timeout_seconds,
        ask_timeout=settings.ask_timeout_seconds,
        overload_timeout=settings.overload_timeout_seconds,
        max_clock_lead=settings.max_clock_lead_seconds,
        update=of_updates(settings),
        awareness=awareness,
    )
    return HubLimits(
        max_rooms=settings.max_rooms,
        max_resident_bytes=settings.max_resident_bytes,
        idle_timeout=settings.idle_timeout_seconds,
        load_timeout=settings.load_timeout_seconds,
        max_workspace_issues=settings.max_workspace_issues,
        room=room,
    )


def of_quiet_hub(settings: Settings) -> HubLimits:
    """All rooms of a command: nobody comes back to an issue that is written."""
    return replace(
        of_hub(settings),
        max_rooms=min(settings.max_rooms, QUIET_ROOMS),
        max_resident_bytes=min(settings.max_resident_bytes, QUIET_BYTES),
        idle_timeout=0,
        sweep_interval=QUIET_SWEEP_SECONDS,
    )


def of_relay(settings: Settings) -> RelayLimits:
    """Following what other nodes commit."""
    return RelayLimits(interval=settings.relay_interval_seconds, page=settings.relay_page_deltas)


def of_guestbook(settings: Settings) -> GuestbookLimits:
    """Who is here."""
    return GuestbookLimits(turn_seconds=settings.revocation_seconds)


def of_sign_ins(settings: Settings) -> SignInLimits:
    """Access and refresh tokens."""
    return SignInLimits(timedelta(seconds=settings.access_token_seconds), timedelta(days=settings.login_days))


def of_engine(settings: Settings) -> EngineLimits:
    """The engine processes."""
    child = ChildLimits(
        memory_bytes=settings.engine_memory_bytes,
        resident_issues=settings.engine_resident_issues,
        resident_bytes=settings.engine_resident_bytes,
    )
    return EngineLimits(processes=settings.engine_processes, deadline_seconds=settings.engine_job_seconds, child=child)


def of_projector(settings: Settings) -> ProjectorLimits:
    """The projection."""
    defaults = ProjectorLimits()
    return ProjectorLimits(
        # A turn holds one connection and reads with another: as many turns as connections would wait for ever.
        workspaces_at_once=min(defaults.workspaces_at_once, of_database(settings).connections_max - 1),
        page_deltas=settings.projection_page_deltas,
        page_issues=settings.projection_page_issues,
        settle_seconds=settings.projection_settle_seconds,
        poll_seconds=settings.projection_poll_seconds,
    )


def of_words(settings: Settings) -> WordsLimits:
    """What issues are found by."""
    return WordsLimits(settle_seconds=settings.search_settle_seconds)


def of_compactor(settings: Settings) -> CompactorLimits:
    """Snapshots and history."""
    return CompactorLimits(
        tail_updates=settings.compaction_updates,
        tail_bytes=settings.compaction_bytes,
        idle_updates=settings.compaction_idle_updates,
        apart_updates=settings.compaction_apart_updates,
        interval_seconds=settings.compaction_interval_seconds,
        rest=settings.compaction_rest,
        max_clock_lead_seconds=settings.max_clock_lead_seconds,
        history_days=settings.history_days,
    )


def of_purger(settings: Settings) -> PurgerLimits:
    """What becomes of deleted issues."""
    return PurgerLimits(after_days=settings.purge_after_days)
