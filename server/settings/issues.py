"""Settings: what an update, an issue, a workspace and its presence may hold."""

from __future__ import annotations

from pydantic import ByteSize

from server.settings.group import KIB, MIB, Group, setting


class Issues(Group):
    """What an update, an issue, a workspace and its presence may hold."""

    max_update_bytes: ByteSize = setting(16 * MIB, "one update; bigger ones close 4413", ge=KIB)
    max_structs: int = setting(1_000_000, "structs in one update", ge=1)
    max_new_clients: int = setting(4_096, "client ids that one update may bring", ge=1)
    max_depth: int = setting(64, "levels of nested types", ge=1, le=128)
    max_key_bytes: ByteSize = setting(1_024, "length of a map key", ge=1)
    max_issue_bytes: ByteSize = setting(
        64 * MIB, "stored bytes of one issue; a full one takes deletions only; 0 for any", ge=0
    )
    max_issue_structs: int = setting(1_000_000, "of one issue, likewise: what Yjs keeps of it apart", ge=0)
    max_issue_tombstones: int = setting(1_000_000, "ranges of one issue that are deleted, likewise", ge=0)
    max_issue_comments: int = setting(10_000, "comments ever made on one issue; 0 for any", ge=0)
    max_workspace_issues: int = setting(1_000_000, "issues of one workspace; 0 for any", ge=0)
    max_clock_lead_seconds: float = setting(
        60.0, "how much later than it came in an edit may claim to be, where the last write wins", ge=0
    )
    presence_timeout_seconds: float = setting(30.0, "before a client that is not renewed leaves presence", gt=0)
    max_presence_bytes: ByteSize = setting(16 * KIB, "presence of one client", ge=64)
    max_presence_clients: int = setting(4_096, "clients present in one issue", ge=1)
    max_session_clients: int = setting(64, "clients that one socket may announce", ge=1)
