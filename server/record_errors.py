"""Why an edit of a record was not made. The messages are for whoever asked, and hold no content."""


class RecordError(Exception):
    """Nothing of the edit was written, unless it is `Unavailable`."""


class NotThere(RecordError):
    """No such issue."""


class NoComment(NotThere):
    """The issue is there, the comment is not."""


class Gone(RecordError):
    """The issue was deleted for good."""


class Exists(RecordError):
    """The id is taken by something else."""


class Forbidden(RecordError):
    """The role does not allow it."""


class Invalid(RecordError):
    """The edit holds a value that cannot be written."""


class Overtaken(RecordError):
    """The issue is at another version than the edit was to be made at."""


class Unwritable(RecordError):
    """The document, or its gate, does not take the edit."""


class Full(RecordError):
    """The issue, or the workspace, holds as much as it may."""


class Unavailable(RecordError):
    """Try again: whether the edit was written is unknown."""
