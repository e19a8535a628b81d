"""The routes of `/v1`, made from the registry."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import Route

from server.doors.rest.frame import Frame
from server.doors.rest.operations import Served


def routes_of(frame: Frame, served: Iterable[Served]) -> list[Route]:
    """One route a path, whatever methods it has, so that 405 names them all. Raises ValueError where two operations are
    one."""
    paths: dict[str, dict[str, Served]] = {}
    for one in served:
        methods = paths.setdefault(_route_path(one), {})
        if one.operation.method in methods:
            raise ValueError(f"{one.operation.method} {one.operation.path} is there twice")
        methods[one.operation.method] = one
    return [Route(path, frame.around(methods), methods=list(methods)) for path, methods in paths.items()]


def _route_path(one: Served) -> str:
    path = one.operation.path
    for name in one.operation.place.HOLDS_SLASHES:
        path = path.replace(f"{{{name}}}", f"{{{name}:path}}")
    return path
