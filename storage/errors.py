"""How the store says no. `StoreUnavailable` means try again; it never means "there is nothing"."""


class StoreError(Exception):
    """Base of what `storage` raises on purpose; the message says what to do."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, refuses writes (read-only, disk full), or missed a deadline.

    The outcome of a write that raised this is unknown: forget what you hold and read the log again.
    """


class Overloaded(StoreError):
    """The queue in front of the log is full: nothing was queued. Make the writer wait, or send it away for a while."""


class BadSlug(StoreError):
    """No address could name a workspace of that slug; the message says why."""


class UnknownWorkspace(StoreError):
    """No workspace of that slug or id."""


class Corrupt(StoreError):
    """Stored bytes do not match their checksum, or do not decode. Never served, never overwritten."""


class Overtaken(StoreError):
    """An issue was written to behind what a delta was to come right after, or a request was done that one was to do.
    Nothing of the batch was committed."""


class Purged(StoreError):
    """The issue was deleted for good: nothing is left of it, and it takes no more edits."""


class NotPurgeable(StoreError):
    """The issue must stay for now: it is not deleted, was touched since, or a reader of the log is not past it."""


class Trimmed(StoreError):
    """The history asked for was trimmed away; what is left starts at the issue's floor."""
