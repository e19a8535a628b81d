"""The defaults of the settings are those of the parts: what is tested without settings is what runs with them."""

from crdt.native import SUBPROTOCOL
from crdt.records import Limits
from server import bounds
from server.audit import AuditLimits
from server.buckets import Allowance
from server.config import Settings
from server.doors.hocuspocus import HocuspocusLimits
from server.doors.native.limits import NativeLimits
from server.doors.rest.limits import RestLimits
from server.doors.rest.polls import PollLimits
from server.doors.yjs import DoorLimits
from server.engine import EngineLimits
from server.feed import FeedLimits
from server.limits import HubLimits, RelayLimits
from server.outbox_batch import OutboxLimits
from server.rates import RateLimits
from server.restraint import LogLimits
from server.websocket import SocketLimits
from server.websocket.strangers import StrangerLimits
from storage.activity import ActivityLimits
from storage.compactor import CompactorLimits
from storage.database import DatabaseLimits
from storage.projector import ProjectorLimits
from storage.sync_queue import SyncQueueLimits
from storage.timeline import TimelineLimits

DEFAULTS = Settings()
GATE_LIMITS = ("max_update_bytes", "max_structs", "max_new_clients", "max_depth", "max_key_bytes")


def of_gate(limits: Limits) -> list[int]:
    capacity = limits.capacity  # compiled, like `Limits`, so it compares by identity
    of_issue = [capacity.max_bytes, capacity.max_structs, capacity.max_tombstones, capacity.max_comments]
    return [
        *(getattr(limits, name) for name in GATE_LIMITS),
        *of_issue,
    ]


def test_the_gate() -> None:
    assert of_gate(bounds.of_updates(DEFAULTS)) == of_gate(Limits())


def test_rooms() -> None:
    made, wanted = bounds.of_hub(DEFAULTS), HubLimits()
    assert of_gate(made.room.update) == of_gate(wanted.room.update)
    for name in wanted.__slots__:
        if name != "room":
            assert getattr(made, name) == getattr(wanted, name), name
    for name in wanted.room.__slots__:
        if name != "update":
            assert getattr(made.room, name) == getattr(wanted.room, name), name


def test_everything_else() -> None:
    assert bounds.of_sockets(DEFAULTS) == SocketLimits(subprotocols=(SUBPROTOCOL,))
    assert bounds.of_strangers(DEFAULTS) == StrangerLimits()
    assert bounds.of_native(DEFAULTS) == NativeLimits()
    assert bounds.of_feeds(DEFAULTS) == FeedLimits()
    assert bounds.of_door(DEFAULTS) == DoorLimits()
    assert bounds.of_hocuspocus(DEFAULTS) == HocuspocusLimits()
    assert bounds.of_polls(DEFAULTS) == PollLimits()
    assert bounds.of_rest(DEFAULTS) == RestLimits()
    assert bounds.of_audit(DEFAULTS) == AuditLimits()
    assert bounds.of_log(DEFAULTS) == LogLimits()
    assert bounds.of_rates(DEFAULTS) == RateLimits()
    assert bounds.of_relay(DEFAULTS) == RelayLimits()
    assert bounds.of_engine(DEFAULTS) == EngineLimits()
    assert bounds.of_projector(DEFAULTS) == ProjectorLimits()
    assert bounds.of_compactor(DEFAULTS) == CompactorLimits()
    assert bounds.of_database(DEFAULTS) == DatabaseLimits()
    assert bounds.of_outbox(DEFAULTS) == OutboxLimits()
    assert bounds.of_sync_queue(DEFAULTS) == SyncQueueLimits()
    assert bounds.of_timeline(DEFAULTS) == TimelineLimits()
    assert bounds.of_activity(DEFAULTS) == ActivityLimits()


def test_what_comes_at_once_is_one_setting_for_all_rates() -> None:
    short = DEFAULTS.model_copy(update={"burst_seconds": 2})
    assert bounds.of_rates(short).user == Allowance(1_000, 2_000)
    assert bounds.of_sockets(short).pace.messages == Allowance(5_000, 10_000)


def test_a_feed_that_waits_is_told_when_there_is_room_again() -> None:
    assert bounds.of_native(DEFAULTS).full_bytes >= bounds.of_sockets(DEFAULTS).high_water_bytes


def test_a_session_is_never_behind_without_being_told_when_it_has_drained() -> None:
    assert bounds.of_sockets(DEFAULTS).high_water_bytes < bounds.of_hub(DEFAULTS).room.max_buffered_bytes
