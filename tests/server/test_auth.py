from __future__ import annotations

import base64
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import auth
from server.auth import TokenExpired, TokenRefused
from server.permissions import Identity, Role

KEY = "k" * 32
NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)
ANA = Identity("ana", "main", Role.MEMBER, "laptop", NOW + timedelta(days=30))


def signed(key: str = KEY, algorithm: str = "HS256", **changes: Any) -> str:
    claims = {"iss": "syncline", "aud": "syncline", "sub": "ana", "ws": "main", "role": "member", "exp": 2_000_000_000}
    merged = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(merged, key, algorithm=algorithm)


def test_a_token_names_whom_it_was_issued_for() -> None:
    assert auth.verify(auth.issue(KEY, ANA, NOW), KEY, NOW) == ANA


def test_the_device_is_optional() -> None:
    identity = Identity("ana", "main", Role.ADMIN, None, NOW + timedelta(hours=1))
    assert auth.verify(auth.issue(KEY, identity, NOW), KEY, NOW) == identity


def test_an_agents_token_says_for_whom_and_has_an_id() -> None:
    agent = Identity("claude", "main", Role.AGENT, None, NOW + timedelta(hours=1), acting_for="ana", token_id="t1")
    assert auth.verify(auth.issue(KEY, agent, NOW), KEY, NOW) == agent


def test_a_token_expires_by_the_given_clock() -> None:
    token = auth.issue(KEY, ANA, NOW)
    auth.verify(token, KEY, NOW + timedelta(days=30, seconds=-1))
    with pytest.raises(TokenExpired):
        auth.verify(token, KEY, NOW + timedelta(days=30))


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "x" * 32},
        {"key": "k" * 64, "algorithm": "HS512"},
        {"iss": "somebody"},
        {"aud": "something"},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\x00b"},
        {"sub": "x" * 201},
        {"ws": None},
        {"ws": 7},
        {"role": None},
        {"role": "root"},
        {"role": ["admin"]},
        {"exp": None},
        {"exp": 1e300},
        {"device": 3},
        {"for": "a\nb"},
        {"jti": ["x"]},
    ],
)
def test_a_token_that_is_not_ours_or_says_too_little_is_refused(changes: dict[str, Any]) -> None:
    auth.verify(signed(), KEY, NOW)
    with pytest.raises(TokenRefused):
        auth.verify(signed(**changes), KEY, NOW)


@pytest.mark.parametrize(("user", "workspace"), [("", "main"), ("a\nb", "main"), ("ana", "w" * 201)])
def test_no_token_is_issued_that_would_be_refused(user: str, workspace: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        auth.issue(KEY, Identity(user, workspace, Role.MEMBER, expires_at=NOW), NOW)


def test_an_unsigned_token_is_refused() -> None:
    claims = {"iss": "syncline", "aud": "syncline", "sub": "ana", "ws": "main", "role": "admin", "exp": 2_000_000_000}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "none"}, claims)]
    with pytest.raises(TokenRefused):
        auth.verify(b".".join([*parts, b""]).decode(), KEY, NOW)


@given(st.text(max_size=80))
def test_any_text_is_an_identity_or_refused(token: str) -> None:
    with pytest.raises(TokenRefused):
        auth.verify(token, KEY, NOW)


def test_a_refusal_does_not_repeat_the_token() -> None:
    with pytest.raises(TokenRefused) as refusal:
        auth.verify("secret.secret.secret", KEY, NOW)
    assert "secret" not in str(refusal.value)


def test_the_key_is_made_once_and_readable_by_the_owner_only(tmp_path: Path) -> None:
    key = auth.load_or_create_key(tmp_path)
    assert auth.load_or_create_key(tmp_path) == key
    assert len(key) >= 32
    assert stat.S_IMODE((tmp_path / "token.key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["token.key"]


def test_processes_that_race_for_the_first_key_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: auth.load_or_create_key(tmp_path), range(32)))) == 1


def test_a_spoilt_key_file_is_an_error_and_not_a_weak_key(tmp_path: Path) -> None:
    (tmp_path / "token.key").write_text("")
    with pytest.raises(ValueError, match="delete it"):
        auth.load_or_create_key(tmp_path)
