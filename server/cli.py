"""The `syncline` command. Exit codes: 0 done, 1 it failed, 2 it was asked or configured wrongly."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point. Who works on issues does not wait until everything the server is made of is loaded."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["issues"]:
        from syncline.commands import main as issues

        issues(arguments[1:])
    else:
        from server.program import main as program

        program(arguments)


if __name__ == "__main__":
    main()
