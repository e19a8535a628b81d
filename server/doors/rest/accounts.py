"""All operations about people, and what they stand on."""

from __future__ import annotations

from dataclasses import dataclass

from server.clock import Clock
from server.doors.rest.audit import AuditOperations
from server.doors.rest.devices import DeviceOperations
from server.doors.rest.members import MemberOperations
from server.doors.rest.operations import Served
from server.doors.rest.sign_ins import SignInOperations
from server.sign_ins import SignIns
from storage.audit_log import AuditLog
from storage.logins import Logins
from storage.people import People
from storage.visitors import Visitors


@dataclass(frozen=True, slots=True)
class Accounts:
    """Who there is, what they have, who is here, what they did, and signing in."""

    people: People
    logins: Logins
    visitors: Visitors
    audit_log: AuditLog
    sign_ins: SignIns
    clock: Clock

    def operations(self) -> list[Served]:
        """What is served of it."""
        return [
            *SignInOperations(self.sign_ins, self.clock).operations(),
            *MemberOperations(self.people, self.clock).operations(),
            *DeviceOperations(self.people, self.logins, self.visitors, self.clock).operations(),
            *AuditOperations(self.audit_log).operations(),
        ]
