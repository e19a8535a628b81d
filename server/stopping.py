"""How a running server is told to stop: once to end in good order, twice (Ctrl-C) to end now."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Final

EXIT_INTERRUPTED: Final = 130


class Stop:
    """Made in the main task, before anything is started. A signal that comes during the start cancels that task."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._starting = asyncio.current_task()

    def listen(self) -> None:
        """Take SIGTERM and SIGINT from here on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)

    def started(self) -> None:
        """From now on the main task waits for `asked` by itself."""
        self._starting = None

    def _signalled(self, number: signal.Signals) -> None:
        if not self.asked.is_set():
            self.asked.set()
            if self._starting is not None:
                self._starting.cancel()
        elif number == signal.SIGINT:
            # Nothing is lost: what was not committed was never shown, and a Postgres left running is adopted.
            os._exit(EXIT_INTERRUPTED)
