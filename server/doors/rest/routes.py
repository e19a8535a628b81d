"""The routes of `/v1` for records."""

from __future__ import annotations

from typing import Final

from starlette.routing import Route

from server.doors.rest.frame import Frame
from server.doors.rest.issues_read import IssuesRead

ISSUES: Final = "/v1/workspaces/{workspace}/issues"
ISSUE: Final = ISSUES + "/{issue}"


def rest_routes(frame: Frame, issues: IssuesRead) -> list[Route]:
    """Each path with what answers it."""
    return [
        Route(ISSUES, frame.around(issues.list), methods=["GET"]),
        Route(ISSUE, frame.around(issues.one), methods=["GET"]),
    ]
