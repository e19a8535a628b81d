"""What is done at a terminal goes into the audit log too, in the name of the account it is done with."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime

from storage.audit_log import AuditLog, AuditRow


async def audit(rows: AuditLog, workspace_id: int, action: str, **detail: object) -> None:
    """Write it at once: the command ends."""
    told = {name: str(value) for name, value in detail.items() if value is not None}
    row = AuditRow(datetime.now(UTC), action, False, "command", user_id=f"cli:{getpass.getuser()}", detail=told)
    await rows.write(workspace_id, [row])
