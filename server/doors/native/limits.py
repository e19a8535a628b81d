"""Bounds of one native socket, and how they are told to its client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NativeLimits:
    """`edit_delay_seconds`: what its user may owe of edits that are taken · `full_bytes`: unsent, above which the feed
    waits; the connection's high water, so that `drained` is certain · `linger_seconds`: how long a client that pushed
    to an issue stays in its room, for the next push · `waiting`: what comes between hello and welcome · `issue`,
    `workspace`: what the gate holds to, 0 for any."""

    hello_seconds: float = 5.0
    edit_delay_seconds: float = 1.0
    frame_bytes: int = 17 * 1024 * 1024
    update_bytes: int = 16 * 1024 * 1024
    push_entries: int = 1_000
    push_bytes: int = 4 * 1024 * 1024
    open_issues: int = 1_000
    presence_bytes: int = 16 * 1024
    page_bytes: int = 256 * 1024
    conflict_rows: int = 500
    ping_seconds: float = 20.0
    full_bytes: int = 512 * 1024
    linger_seconds: float = 1.0
    ask_seconds: float = 2.0
    waiting_messages: int = 1_000
    waiting_bytes: int = 20 * 1024 * 1024
    message_rate: int = 5_000
    byte_rate: int = 16 * 1024 * 1024
    edit_rate: int = 20_000
    issue_bytes: int = 64 * 1024 * 1024
    issue_structs: int = 1_000_000
    issue_tombstones: int = 1_000_000
    issue_comments: int = 10_000
    workspace_issues: int = 1_000_000

    def announced(self) -> Mapping[str, int]:
        """As `Welcome.limits` has them."""
        return {
            "frame_bytes": self.frame_bytes,
            "update_bytes": self.update_bytes,
            "push_entries": self.push_entries,
            "push_bytes": self.push_bytes,
            "open_issues": self.open_issues,
            "presence_bytes": self.presence_bytes,
            "page_bytes": self.page_bytes,
            "conflict_rows": self.conflict_rows,
            "ping_seconds": round(self.ping_seconds),
            "message_rate": self.message_rate,
            "byte_rate": self.byte_rate,
            "edit_rate": self.edit_rate,
            "issue_bytes": self.issue_bytes,
            "issue_structs": self.issue_structs,
            "issue_tombstones": self.issue_tombstones,
            "issue_comments": self.issue_comments,
            "workspace_issues": self.workspace_issues,
        }
