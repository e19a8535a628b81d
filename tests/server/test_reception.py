from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from server.commands.reception import show

SESSION = UUID("6c1f5a55-5b0a-4d0e-8f5e-2f1f3a1d0b11")


def test_where_nobody_looks_a_row_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    began = datetime(2031, 5, 1, 12, tzinfo=UTC).astimezone()
    row = {"session": SESSION, "user": "[bold]ben", "for": None, "address": "2001:db8::1" * 9, "since": began}
    assert show([row, row], as_json=False, nothing="") == 0
    heading, _, *rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert heading == ["session", "user", "address", "since"]  # nobody acts for anybody
    assert rows == [[str(SESSION), "[bold]ben", row["address"], *f"{began:%Y-%m-%d %H:%M:%S}".split()]] * 2
