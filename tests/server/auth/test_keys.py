from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from server import auth, config
from server.auth import Keys, TokenRefused, keys_of
from server.auth.keys import make_key, remove_key
from server.permissions import Identity, Role

NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)
ANA = Identity("ana", "main", Role.MEMBER, "laptop", NOW + timedelta(days=30))


def test_the_first_key_is_made_once_and_readable_by_the_owner_only(tmp_path: Path) -> None:
    settings = config.load({"data_dir": str(tmp_path)}, {})
    keys = keys_of(settings)
    auth.read(auth.issue(keys, ANA, NOW), keys_of(settings), NOW)
    (file,) = (tmp_path / "keys").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_newest_key_signs_and_an_older_one_is_honoured_until_its_last_token_has_ended(tmp_path: Path) -> None:
    make_key(tmp_path, NOW)
    keys = Keys(tmp_path, None, max_token_days=40)
    old = auth.issue(keys, ANA, NOW)
    name = make_key(tmp_path, NOW + timedelta(days=1))
    auth.read(old, keys, NOW)
    keys.refresh()
    new = auth.issue(keys, ANA, NOW)
    assert keys.signing().id == name
    for token in (old, new):
        auth.read(token, keys, NOW + timedelta(days=29))
    longer = auth.issue(Keys(tmp_path, None, 40), Identity("ana", "main", Role.MEMBER, None, NOW.replace(2040)), NOW)
    auth.read(longer, keys, NOW + timedelta(days=42))
    with pytest.raises(TokenRefused, match="retired"):
        auth.read(old, keys, NOW + timedelta(days=41))


def test_a_key_that_another_process_made_is_found_when_its_first_token_comes(tmp_path: Path) -> None:
    make_key(tmp_path, NOW)
    keys = Keys(tmp_path, None, 40)
    make_key(tmp_path, NOW + timedelta(days=1))
    auth.read(auth.issue(Keys(tmp_path, None, 40), ANA, NOW), keys, NOW)


def test_the_tokens_of_a_key_that_was_taken_away_are_refused(tmp_path: Path) -> None:
    lost = make_key(tmp_path, NOW)
    keys = Keys(tmp_path, None, 40)
    with pytest.raises(ValueError, match="the only key"):
        remove_key(tmp_path, lost)
    token = auth.issue(keys, ANA, NOW)
    make_key(tmp_path, NOW + timedelta(days=1))
    remove_key(tmp_path, lost)
    keys.refresh()
    with pytest.raises(TokenRefused, match="key is unknown"):
        auth.read(token, keys, NOW)


def test_tokens_of_the_secret_are_good_where_it_is_set_and_nowhere_else(tmp_path: Path) -> None:
    make_key(tmp_path, NOW)
    token = auth.issue(Keys(None, "k" * 32, 40), ANA, NOW)
    both = Keys(tmp_path, "k" * 32, 40)
    auth.read(token, both, NOW)
    assert both.signing().algorithm == "EdDSA"
    with pytest.raises(TokenRefused):
        auth.read(token, Keys(tmp_path, None, 40), NOW)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("20310501T120000Z-aa.pem", b"", "does not hold a key"),
        ("20310501T120000Z-aa.pem", b"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n", "does not hold"),
        ("server.pem", b"", "not a name of a key"),
        ("readme.txt", b"", "holds no keys"),
    ],
)
def test_a_directory_that_cannot_be_used_says_why(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        Keys(tmp_path, None, 40)
