"""Where log lines go: one structured stream on stderr, for people on a terminal and as JSON lines elsewhere.

Nobody logs content or tokens. Library loggers come through the same stream, from warnings upwards: uvicorn's access log
and its lines on accepted WebSockets repeat the request target, and the target holds `?token=`.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.typing import Processor

from server.restraint import Restraint

LIBRARIES = ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "picows", "websockets")


class Unbroken:
    """A stream whose failures end with it: a full disk behind the log must not end the server."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written; the line is lost otherwise."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # ValueError: somebody closed it
            return len(text)

    def flush(self) -> None:
        """Pass on what is buffered."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


def configure(level: str, form: Literal["auto", "console", "json"], restraint: Restraint | None = None) -> None:
    """Set up structlog and the standard library's logging for this process. Without `restraint` every line is written:
    a command's are its operator's own."""
    stream = Unbroken(sys.stderr)
    is_console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Plain tracebacks, because the fancy ones of structlog and rich print local variables: content and tokens.
    renderer: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if is_console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*([] if restraint is None else [restraint]), *shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),  # type: ignore[arg-type]  # it needs write and flush
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    if restraint is not None:
        handler.addFilter(restraint)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in LIBRARIES:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(logging.WARNING)
