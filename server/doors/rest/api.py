"""All operations of `/v1`: whoever adds one registers it here."""

from __future__ import annotations

from dataclasses import dataclass

from server.doors.rest import workspace
from server.doors.rest.accounts import Accounts
from server.doors.rest.activity import ActivityFeed
from server.doors.rest.changes import Changes
from server.doors.rest.comments import Comments
from server.doors.rest.conflicts import Conflicts, ConflictServices
from server.doors.rest.history import IssueHistory
from server.doors.rest.issues_bulk import IssuesBulk
from server.doors.rest.issues_read import IssuesRead
from server.doors.rest.issues_write import IssuesWrite
from server.doors.rest.labels import Labels
from server.doors.rest.limits import RestLimits, within
from server.doors.rest.operations import Served
from server.doors.rest.past import Past
from server.doors.rest.reference import Reference
from server.doors.rest.sync import Sync
from server.doors.rest.transfer import Transfer, TransferServices
from server.doors.rest.whoami import Everywhere, WhoAmI
from server.feeds import Feeds
from server.outbox import Outbox
from server.records import Records
from storage.issue_reader import IssueReader


@dataclass(frozen=True, slots=True)
class ApiServices:
    """What the operations stand on."""

    issues: IssueReader
    records: Records
    past: Past
    transfer: TransferServices
    conflicts: ConflictServices
    accounts: Accounts
    outbox: Outbox
    everywhere: Everywhere
    feeds: Feeds
    limits: RestLimits = RestLimits()  # noqa: RUF009 - frozen


def operations_of(services: ApiServices) -> list[Served]:
    """Each with what answers it, the document that describes them among them."""
    limits = services.limits
    served = [
        # Before `{issue}`, which it would be otherwise.
        *IssuesBulk(services.records, limits.bulk_issues, limits.bulk_issues_at_once).operations(),
        *IssuesRead(services.issues, services.past, limits.min_seq_seconds).operations(),
        *IssuesWrite(services.records).operations(),
        *Comments(services.issues, services.records, limits.min_seq_seconds).operations(),
        *Labels(services.issues, services.records, limits.min_seq_seconds).operations(),
        *IssueHistory(services.past, services.records).operations(),
        *ActivityFeed(services.past).operations(),
        *Transfer(services.transfer).operations(),
        *Conflicts(services.conflicts).operations(),
        *Sync(services.outbox).operations(),
        *Changes(services.feeds, limits.polls).operations(),
        *services.accounts.operations(),
        *workspace.operations(),
        *WhoAmI(services.everywhere).operations(),
    ]
    bounded = within(limits, served)
    return [*bounded, *Reference(bounded).operations()]
