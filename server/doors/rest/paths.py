"""What the paths of `/v1` name: one model a shape of path, with what is said where a name is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from server.doors.rest.problems import UNKNOWN_ISSUE, UNKNOWN_WORKSPACE, ProblemType


class Place(BaseModel):
    """A path without names. `UNKNOWN`: parameter → the problem where it is not even of the right form.
    `HOLDS_SLASHES`: parameters at the end of a path that go on behind a slash."""

    model_config = ConfigDict(frozen=True)
    UNKNOWN: ClassVar[Mapping[str, ProblemType]] = {}
    HOLDS_SLASHES: ClassVar[frozenset[str]] = frozenset()


class InWorkspace(Place):
    """`/v1/workspaces/{workspace}/…`"""

    UNKNOWN = {"workspace": UNKNOWN_WORKSPACE}
    workspace: str


class OfIssue(InWorkspace):
    """`…/issues/{issue}/…`"""

    UNKNOWN = InWorkspace.UNKNOWN | {"issue": UNKNOWN_ISSUE}
    issue: UUID
