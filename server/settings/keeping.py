"""Settings: what is kept, and for how long."""

from __future__ import annotations

from pydantic import ByteSize

from server.settings.group import KIB, MIB, Group, setting


class Keeping(Group):
    """What is kept, and for how long."""

    compaction_updates: int = setting(500, "deltas since the snapshot that make an issue due", ge=1)
    compaction_bytes: ByteSize = setting(MIB, "bytes since the snapshot that make an issue due", ge=KIB)
    compaction_idle_updates: int = setting(
        50, "deltas since the snapshot that are enough when an issue goes idle", ge=1
    )
    compaction_apart_updates: int = setting(
        1_000, "deltas between two snapshots that are kept for those who ask what was; of large issues more", ge=1
    )
    compaction_interval_seconds: float = setting(5.0, "between two looks for issues that are due", gt=0)
    compaction_rest: float = setting(3.0, "rest after each issue, so many times as long as it took", ge=0)
    history_days: float = setting(30.0, "how far back an issue can be shown as it was", ge=0)
    outbox_days: float = setting(
        30.0, "for so long it is known what became of a queued operation, so that it is not made twice", ge=1
    )
    purge_after_days: float = setting(
        30.0, "a deleted issue that nobody touches for so long is removed for good; 0 keeps it", ge=0
    )
    audit_refusals: float = setting(
        100.0, "rows of the audit log for refusals in a workspace at once; further ones are counted together", ge=1
    )
    audit_refusals_per_minute: float = setting(20.0, "of them in the long run; 0 for any", ge=0)
    audit_days: float = setting(365.0, "before a row of the audit log is deleted; 0 keeps it", ge=0)
