"""An engine process with nothing in front of its documents, to prove the wall itself: `Merge` and `ProjectWhole` apply
every update to one live document, as it comes, and read it in every way."""

from collections.abc import Sequence

from pycrdt import Array, Doc

from crdt import jobs
from crdt.document import Document
from crdt.issue import read
from crdt.resident import Resident
from server.engine_process import main


def _merge(self: jobs.Merge, resident: Resident) -> jobs.Bytes:
    return jobs.Bytes(_used(self.updates).snapshot())


def _project(self: jobs.ProjectWhole, resident: Resident) -> jobs.Projected:
    return jobs.Projected(read(_used(self.updates)))


def _used(updates: Sequence[bytes]) -> Document:
    document = Document()
    for update in updates:
        document.apply(update)
    for root in ("t", "m", "a"):
        document.text(root)
        document.entries(root).names()
    lists: Doc[Array[object]] = Doc()
    lists.apply_update(document.snapshot())
    lists.get("a", type=Array).to_py()
    return Document.load(document.snapshot())


if __name__ == "__main__":
    jobs.Merge.run = _merge  # type: ignore[method-assign]
    jobs.ProjectWhole.run = _project  # type: ignore[method-assign]
    main()
