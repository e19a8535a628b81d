"""The local store: what is in it after anything that may happen between two of its transactions."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid5

import pytest

from crdt.compaction import STORED
from crdt.gate import index_of
from crdt.parser import parse
from crdt.shape import Changes, add_comment, edit_comment
from crdt.update import EMPTY_UPDATE
from syncline import tables
from syncline.errors import IssueExists, IssueNotFound, StoreFailed
from syncline.feed import Stale
from syncline.local_store import LocalStore
from syncline.records import Acked, Content, ContentCame, Nacked, PageCame, PurgedCame
from tests.sdk.device import Device, Ticking
from tests.sdk.log import Log

ISSUE = uuid5(UUID(int=0), "issue")

MakeDevice = Callable[[str], Device]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def device(tmp_path: Path, log: Log) -> Iterator[MakeDevice]:
    devices: list[Device] = []

    def make(user: str) -> Device:
        devices.append(Device(tmp_path / f"{user}.db", log, user))
        return devices[-1]

    yield make
    for made in devices:
        made.store.close()


def test_a_write_is_there_after_a_crash(device: MakeDevice) -> None:
    ana = device("ana")
    ana.create(ISSUE, "Search is slow")
    ana.crash()
    assert ana.content(ISSUE).title == "Search is slow"
    assert ana.store.pending() == 1


def test_an_edit_is_resent_with_the_same_bytes_and_number(device: MakeDevice) -> None:
    ana = device("ana")
    ana.create(ISSUE, "Search is slow")
    before = ana.unsent()
    ana.push()
    ana.crash()
    assert ana.unsent() == before


def test_an_edit_that_was_committed_twice_over_is_there_once(device: MakeDevice, log: Log) -> None:
    ana = device("ana")
    ana.create(ISSUE, "Search is slow")
    ana.push()  # the answer is lost
    ana.crash()
    ana.settle()
    assert log.head == 1
    assert ana.store.pending() == 0
    assert ana.content(ISSUE).title == "Search is slow"


def test_outbox_numbers_are_never_used_twice(device: MakeDevice) -> None:
    ana = device("ana")
    ana.create(ISSUE, "one")
    ana.settle()
    ana.crash()
    number = ana.edit(ISSUE, Changes(title="two"))
    assert number is not None
    assert number > 1


def test_creating_an_issue_on_two_devices_is_creating_it_once(device: MakeDevice, log: Log) -> None:
    ana, ben = device("ana"), device("ben")
    ana.create(ISSUE, "Search is slow", "Since Tuesday")
    ben.create(ISSUE, "Search is slow", "Since Tuesday")
    for one in (ana, ben, ana):
        one.settle()
    assert ana.content(ISSUE) == ben.content(ISSUE)
    assert ana.content(ISSUE).title == "Search is slow"
    assert ana.content(ISSUE).description == "Since Tuesday"


def test_creating_with_other_texts_on_two_devices_loses_neither_and_converges(device: MakeDevice) -> None:
    ana, ben = device("ana"), device("ben")
    ana.create(ISSUE, "Search")
    ben.create(ISSUE, "Slow")
    for one in (ana, ben, ana):
        one.settle()
    assert ana.content(ISSUE).title == ben.content(ISSUE).title
    assert sorted(ana.content(ISSUE).title) == sorted("SearchSlow")


def test_creating_again_changes_nothing_and_with_another_text_is_refused(device: MakeDevice) -> None:
    ana = device("ana")
    ana.create(ISSUE, "Search is slow")
    ana.create(ISSUE, "Search is slow")
    assert ana.store.pending() == 1
    with pytest.raises(IssueExists):
        ana.create(ISSUE, "Search is fast")


def test_creating_again_after_an_edit_changes_nothing(device: MakeDevice) -> None:
    ana = device("ana")
    ana.create(ISSUE, "Search is slow")
    ana.edit(ISSUE, Changes(title="Search is fast"))
    ana.create(ISSUE, "Search is slow")
    assert ana.content(ISSUE).title == "Search is fast"


def test_editing_an_unknown_issue_is_an_error(device: MakeDevice) -> None:
    with pytest.raises(IssueNotFound):
        device("ana").edit(ISSUE, Changes(title="x"))


def test_an_update_that_changes_nothing_is_not_sent(device: MakeDevice) -> None:
    ana = device("ana")
    ana.create(ISSUE, "Search is slow")
    assert ana.edit(ISSUE, Changes(title="Search is slow")) == 1  # committed when the creation is
    assert ana.store.pending() == 1
    ana.settle()
    assert ana.edit(ISSUE, Changes(title="Search is slow")) is None


def test_concurrent_changes_of_one_text_both_survive(device: MakeDevice) -> None:
    ana, ben = device("ana"), device("ben")
    ana.create(ISSUE, "t", "Search is slow.\nIt takes ten seconds.\n")
    ana.settle()
    ben.settle()
    ana.edit(ISSUE, Changes(description="Search is slow.\nIt takes twenty seconds.\n"))
    ben.edit(ISSUE, Changes(description="Full-text search is slow.\nIt takes ten seconds.\n"))
    for one in (ana, ben, ana):
        one.settle()
    assert ana.content(ISSUE).description == "Full-text search is slow.\nIt takes twenty seconds.\n"
    assert ben.content(ISSUE) == ana.content(ISSUE)


def test_comments_are_edited_in_place(device: MakeDevice) -> None:
    ana = device("ana")
    ana.create(ISSUE, "t")
    ana.store.edit(ISSUE, lambda shape, author: add_comment(shape, "c", "Me too", author))
    ana.store.edit(ISSUE, lambda shape, author: edit_comment(shape, "c", "Me, too", author))
    (comment,) = ana.store.read(ISSUE).comments
    assert (comment.author, comment.body) == ("ana", "Me, too")
    assert comment.edited_at is not None


def test_a_purged_issue_is_dropped_and_what_waits_for_it_put_aside(device: MakeDevice) -> None:
    ana = device("ana")
    ana.create(ISSUE, "Search is slow")
    ana.settle()
    number = ana.edit(ISSUE, Changes(title="Search is slow!")) or 0
    applied = ana.take([PurgedCame(ISSUE)])
    assert applied.settled == (Nacked(number, "purged", "the issue was deleted for good"),)
    assert applied.rebuilt == {ISSUE}
    assert ana.store.pending() == 0
    with pytest.raises(IssueNotFound):
        ana.store.read(ISSUE)


def test_an_edit_that_is_nacked_as_purged_takes_the_issue_along(device: MakeDevice) -> None:
    ana = device("ana")
    ana.create(ISSUE, "Search is slow")
    ana.settle()
    first, second = (ana.edit(ISSUE, Changes(title=title)) or 0 for title in ("one", "two"))
    applied = ana.take([Nacked(first, "purged", "")])
    assert [(each.entry_id, each.code) for each in applied.settled if isinstance(each, Nacked)] == [
        (first, "purged"),
        (second, "purged"),
    ]
    with pytest.raises(IssueNotFound):
        ana.store.read(ISSUE)


def test_a_refused_edit_is_taken_out_and_what_rests_on_it_too(device: MakeDevice, log: Log) -> None:
    ana = device("ana")
    ana.create(ISSUE, "Search is slow")
    ana.settle()
    log.refuses = b"POISON"
    ana.edit(ISSUE, Changes(title="Search is POISON"))
    ana.edit(ISSUE, Changes(fields={"status": "open"}))
    applied = ana.take(ana.push(1))
    assert [type(outcome) for outcome in applied.settled] == [Nacked, Nacked]
    assert applied.rebuilt == {ISSUE}
    assert ana.content(ISSUE).title == "Search is slow"
    assert ana.store.pending() == 0


def test_after_a_refusal_the_device_writes_with_another_client_id(device: MakeDevice, log: Log) -> None:
    ana, ben = device("ana"), device("ben")
    ana.create(ISSUE, "Search is slow")
    ana.settle()
    before = ana.store.open(ISSUE)[1]
    log.refuses = b"POISON"
    ana.edit(ISSUE, Changes(title="POISON"))
    ana.settle()
    ana.edit(ISSUE, Changes(title="Search is fast"))
    ana.settle()
    ben.settle()
    assert ana.store.open(ISSUE)[1] != before
    assert ben.content(ISSUE).title == "Search is fast"


def test_an_edit_of_an_open_document_made_on_a_refused_one_is_put_aside(device: MakeDevice, log: Log) -> None:
    ana = device("ana")
    ana.create(ISSUE, "Search is slow")
    client_id = ana.store.open(ISSUE)[1]
    late = ana.unsent()[0].update
    log.refuses = b"Search"
    ana.take(ana.push())
    assert isinstance(ana.store.keep(ISSUE, late, client_id), Nacked)
    assert ana.store.pending() == 0


def test_an_issue_whose_only_edit_was_refused_is_gone(device: MakeDevice, log: Log) -> None:
    ana = device("ana")
    log.refuses = b"Search"
    ana.create(ISSUE, "Search is slow")
    ana.take(ana.push())
    assert ana.store.read_all() == []
    ana.take([ContentCame((Content(ISSUE, 0, EMPTY_UPDATE),))])  # to another process on this store, which pushed it too
    assert ana.store.read_all() == []


def test_what_the_server_lost_is_sent_again_as_one_edit(device: MakeDevice, log: Log) -> None:
    ana = device("ana")
    ana.create(ISSUE, "Search is slow")
    ana.settle()
    log.deltas.clear()
    log.indexes.clear()  # the log was lost, nobody noticed
    number = ana.edit(ISSUE, Changes(title="Search is fast"))
    (missing,) = ana.push()
    ana.take([missing])
    applied = ana.take(ana.push())
    assert [outcome.entry_id for outcome in applied.settled] == [number, (number or 0) + 1]
    assert ana.store.pending() == 0
    assert index_of(log.state(ISSUE), {}).state_vector == index_of(ana.store.open(ISSUE)[0], {}).state_vector


def test_a_new_history_gets_back_what_only_this_device_has(device: MakeDevice, log: Log) -> None:
    ana, ben = device("ana"), device("ben")
    other = uuid5(UUID(int=0), "other")
    ana.create(ISSUE, "Search is slow")
    ana.settle()
    backup = Log(deltas=list(log.deltas), indexes={ISSUE: index_of(log.state(ISSUE), {})})
    backup.indexes[ISSUE].owners = dict(log.indexes[ISSUE].owners)
    ana.edit(ISSUE, Changes(title="Search is fast"))
    ana.create(other, "Unknown to the backup")
    ana.settle()
    ana.log = ben.log = backup
    ana.take([backup.reset(is_new_history=True)])
    ana.settle()  # learns what the backup lacks
    ana.settle()  # and gives it back
    ben.settle()
    assert ben.content(ISSUE).title == "Search is fast"
    assert ben.content(other).title == "Unknown to the backup"
    assert ana.content(ISSUE) == ben.content(ISSUE)


def test_an_interrupted_reload_goes_on_where_it_was(device: MakeDevice, log: Log) -> None:
    ana, ben = device("ana"), device("ben")
    ids = sorted(uuid5(UUID(int=1), str(number)) for number in range(7))
    for issue_id in ids:
        ana.create(issue_id, str(issue_id))
    ana.settle()
    ben.pull()
    ben.pull(3)
    ben.crash()
    progress = ben.store.feed().reload
    assert progress is not None
    assert progress.after == ids[2]
    ben.take([log.reset()])  # the same reload: nothing begins anew
    assert ben.store.feed().reload == progress
    ben.settle()
    assert [issue.title for issue in ben.store.read_all()] == [str(issue_id) for issue_id in ids]


def test_a_page_beyond_the_cursor_is_refused_and_leaves_everything(device: MakeDevice, log: Log) -> None:
    ana, ben = device("ana"), device("ben")
    ana.settle()
    before = ana.store.feed()
    ben.create(ISSUE, "Search is slow")
    ben.settle()
    known = Content(ISSUE, 0, log.deltas[-1][1])
    with pytest.raises(Stale):
        ana.take([ContentCame((known,)), PageCame(5, 6, ())])
    assert ana.store.feed() == before
    assert ana.store.read_all() == []


def test_changes_come_in_the_order_of_the_log_and_not_before_the_feed(device: MakeDevice, log: Log) -> None:
    ana, ben = device("ana"), device("ben")
    ids = [uuid5(UUID(int=2), str(number)) for number in range(3)]
    for issue_id in ids:
        ana.create(issue_id, "t")
    ana.settle()
    ben.settle()
    assert [issue.id for issue in ben.store.committed_after(0, 10)] == ids
    ana.edit(ids[0], Changes(title="u"))
    ana.settle()
    ben.take([ContentCame((Content(ids[0], 0, log.deltas[-1][1]),))])  # ahead of the feed
    assert ben.content(ids[0]).title == "u"
    assert ben.store.committed_after(3, 10) == []
    ben.settle()
    assert [(issue.id, issue.seq) for issue in ben.store.committed_after(3, 10)] == [(ids[0], 4)]


def test_an_own_edit_is_a_change_at_its_place_in_the_log(device: MakeDevice, log: Log) -> None:
    ana = device("ana")
    ana.create(ISSUE, "t")
    ana.take([log.reset()])
    ana.take(ana.push())
    assert ana.store.committed_after(0, 10) == []
    ana.settle()
    assert [issue.seq for issue in ana.store.committed_after(0, 10)] == [1]


def test_two_processes_on_one_file_write_with_two_client_ids(tmp_path: Path) -> None:
    first, second = (LocalStore(str(tmp_path / "local.db"), Ticking()) for _ in range(2))
    assert first.open(ISSUE)[1] != second.open(ISSUE)[1]
    first.close()
    second.close()


def test_the_client_id_outlives_the_process(device: MakeDevice) -> None:
    ana = device("ana")
    before = ana.store.open(ISSUE)[1]
    ana.crash()
    assert ana.store.open(ISSUE)[1] == before


def test_a_copied_store_writes_with_another_client_id(tmp_path: Path, device: MakeDevice) -> None:
    ana = device("ana")
    before = ana.store.open(ISSUE)[1]
    ana.store.close()
    shutil.copy(tmp_path / "ana.db", tmp_path / "copy.db")
    copy = LocalStore(str(tmp_path / "copy.db"), Ticking())
    assert copy.open(ISSUE)[1] != before
    copy.close()


def test_another_user_writes_with_another_client_id(device: MakeDevice) -> None:
    ana = device("ana")
    before = ana.store.open(ISSUE)[1]
    ana.store.become("ben")
    assert ana.store.open(ISSUE)[1] != before


def test_an_outcome_can_be_asked_for_by_another_process(tmp_path: Path, log: Log) -> None:
    first = Device(tmp_path / "local.db", log, "ana")
    second = LocalStore(str(tmp_path / "local.db"), Ticking())
    first.create(ISSUE, "t")
    first.settle()
    assert second.outcomes([1, 2]) == [Acked(1, 1)]
    first.store.close()
    second.close()


def test_the_version_changes_when_another_process_writes(tmp_path: Path) -> None:
    first, second = (LocalStore(str(tmp_path / "local.db"), Ticking()) for _ in range(2))
    before = second.version()
    first.create(ISSUE, ("t", "", ()), lambda shape, author: None)
    assert second.version() != before
    first.close()
    second.close()


def test_a_store_of_a_later_version_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "local.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {tables.VERSION + 1}")
    connection.close()
    with pytest.raises(StoreFailed):
        LocalStore(str(path), Ticking())


def test_a_file_that_is_no_store_is_an_error_not_an_empty_store(tmp_path: Path) -> None:
    path = tmp_path / "local.db"
    path.write_bytes(b"not a database, and long enough to be one" * 100)
    with pytest.raises(StoreFailed):
        LocalStore(str(path), Ticking())


def test_what_is_committed_is_folded_and_stays_bounded(device: MakeDevice) -> None:
    ana = device("ana")
    ana.create(ISSUE, "t")
    for number in range(400):
        ana.edit(ISSUE, Changes(fields={"status": f"status {number}"}))
        ana.settle()
    assert len(ana.committed(ISSUE)) < 20_000
    assert parse(ana.committed(ISSUE), STORED).sections
    assert ana.content(ISSUE).status == "status 399"
