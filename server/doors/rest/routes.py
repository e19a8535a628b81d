"""The routes of `/v1` for records."""

from __future__ import annotations

from typing import Final

from starlette.routing import Route

from server.doors.rest.frame import Frame
from server.doors.rest.issues_read import IssuesRead
from server.doors.rest.issues_write import IssuesWrite

ISSUES: Final = "/v1/workspaces/{workspace}/issues"
ISSUE: Final = ISSUES + "/{issue}"


def rest_routes(frame: Frame, read: IssuesRead, write: IssuesWrite) -> list[Route]:
    """Each path with what answers it."""
    return [
        Route(ISSUES, frame.around(read.list), methods=["GET"]),
        Route(ISSUES, frame.around(write.create), methods=["POST"]),
        Route(ISSUE, frame.around(read.one), methods=["GET"]),
        Route(ISSUE, frame.around(write.patch), methods=["PATCH"]),
        Route(ISSUE, frame.around(write.delete), methods=["DELETE"]),
        Route(ISSUE + "/restore", frame.around(write.restore), methods=["POST"]),
    ]
