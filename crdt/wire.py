"""Jobs and results between the edge and an engine process: msgpack, with every record under a code of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

from crdt import based, changes, decisions, edits, jobs, jobs_history, jobs_import, jobs_outbox, jobs_reverts, reverts
from crdt.issue import Comment, IssueContent
from crdt.records import Arrival, Capacity, FieldWrite, Limits, Mandate, Overwrite
from crdt.shape import Author, Changes

_DATACLASSES: Final = (
    IssueContent,
    Comment,
    jobs.ProjectTail,
    jobs.ProjectWhole,
    jobs.Projected,
    jobs.Compact,
    jobs.Compacted,
    jobs.Compare,
    jobs.CheckIndex,
    jobs.Compared,
    jobs.Check,
    jobs.Checked,
    jobs.Merge,
    jobs.Diff,
    jobs.Bytes,
    jobs.Several,
    jobs.Answers,
    jobs.Refusal,
    jobs.MakeEdits,
    jobs.Edited,
    Author,
    Changes,
    decisions.SetField,
    edits.Begin,
    edits.Delete,
    edits.AddComment,
    edits.EditComment,
    edits.DeleteComment,
    changes.Replacement,
    changes.FieldChange,
    changes.TextChange,
    changes.LabelsChange,
    changes.CommentChange,
    changes.OtherChange,
    jobs_history.LoggedDelta,
    jobs_history.EntryHead,
    jobs_history.LoggedEntry,
    jobs_history.Entry,
    jobs_history.TellChanges,
    jobs_history.Told,
    jobs_history.Touch,
    jobs_history.TellSince,
    jobs_history.Since,
    jobs_history.TellDifference,
    jobs_history.Difference,
    jobs_history.TellBlame,
    jobs_history.Blame,
    jobs_history.Run,
    jobs_reverts.MakeRevert,
    jobs_reverts.Reverted,
    reverts.Whose,
    reverts.LeftAlone,
    jobs_import.PlantIssue,
    jobs_import.Planted,
    jobs_import.Uproot,
    jobs_outbox.Dated,
    jobs_outbox.MakeDated,
    jobs_outbox.MadeDated,
    jobs_outbox.Based,
    jobs_outbox.Head,
    based.Clash,
)
_FIELDS: Final[Mapping[type, tuple[str, ...]]] = MappingProxyType(
    {record: tuple(field.name for field in fields(record)) for record in _DATACLASSES}
    | {
        Limits: ("max_update_bytes", "max_structs", "max_new_clients", "max_depth", "max_key_bytes", "capacity"),
        Capacity: ("max_bytes", "max_structs", "max_tombstones", "max_comments"),
        Mandate: ("names", "comments_only", "may_attribute"),
        Overwrite: ("key", "standing", "losing", "replaced"),
        FieldWrite: ("client", "clock", "value", "stamp", "actor", "device", "at_ms"),
        Arrival: ("device", "at_ms"),
    }
)
_CODES: Final = MappingProxyType({record: code for code, record in enumerate(_FIELDS)})
_TYPES: Final = tuple(_FIELDS)
_PACKER_BYTES: Final = 1024  # grows as needed: records inside records are packed each by itself, a megabyte each else
_MSGPACK_TIMESTAMP: Final = 3  # datetimes with UTC, as `msgpack.unpackb` numbers its choices


def pack(value: object) -> bytes:
    """A job, a result, or plain values around them, as bytes. Raises ValueError or TypeError on anything else."""
    packed: bytes = msgpack.packb(value, datetime=True, default=_extend, buf_size=_PACKER_BYTES)
    return packed


def unpack(data: bytes) -> Any:
    """What `pack` was given; sequences come back as tuples. Raises ValueError or TypeError on other bytes."""
    try:
        return msgpack.unpackb(
            data, timestamp=_MSGPACK_TIMESTAMP, use_list=False, strict_map_key=False, ext_hook=_revive
        )
    except (msgpack.UnpackException, IndexError) as error:
        raise ValueError("not a record of ours") from error


def _extend(record: object) -> msgpack.ExtType:
    code = _CODES.get(type(record))
    if code is None:
        raise TypeError(f"{type(record).__name__} has no wire form")
    return msgpack.ExtType(code, pack([getattr(record, name) for name in _FIELDS[type(record)]]))


def _revive(code: int, data: bytes) -> object:
    return _TYPES[code](*unpack(data))
