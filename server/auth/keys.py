"""The keys that sign this deployment's tokens: Ed25519 in a directory, one file a key, the newest signs; or a secret.

A key that was succeeded is honoured until the last token it may have signed has ended.
"""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from server.auth.tokens import EDDSA, HS256, Key
from server.config import Settings

DIRECTORY: Final = "keys"
_SUFFIX: Final = ".pem"
_MADE: Final = "%Y%m%dT%H%M%SZ"  # the beginning of a key's id: names sort by age


class Keys:
    """The keys in use. `find` looks into the directory again when it does not know a key: another process may have made
    it. `refresh` does so for those that were taken away."""

    def __init__(self, directory: Path | None, secret: str | None, max_token_days: float) -> None:
        """Raises ValueError when the directory holds no key, or what is none."""
        self._directory = directory
        self._secret = None if secret is None else Key(None, HS256, secret, secret)
        self._lifetime = timedelta(days=max_token_days)
        self._names: tuple[str, ...] = ()
        self._keys: dict[str, Key] = {}
        self.refresh()

    def signing(self) -> Key:
        """The key for new tokens."""
        return self._keys[self._names[-1]] if self._secret is None or self._names else self._secret

    def find(self, key_id: str | None) -> Key | None:
        """The key of that id; None is the id of the secret."""
        if key_id is None:
            return self._secret
        if key_id not in self._keys:
            self.refresh()
        return self._keys.get(key_id)

    def all(self) -> list[Key]:
        """The keys of the directory, the newest last."""
        return [self._keys[name] for name in self._names]

    def refresh(self) -> bool:
        """Read the directory again if it has changed; whether a key is gone. Raises ValueError."""
        if self._directory is None:
            return False
        names = tuple(sorted(path.stem for path in self._directory.glob(f"*{_SUFFIX}")))
        if not names:
            raise ValueError(f"{self._directory} holds no keys; make one with `syncline token keys rotate`")
        gone = set(self._names) - set(names)
        if names != self._names:
            self._keys = {
                name: _load(self._directory, name, self._good_until(successor))
                for name, successor in zip(names, (*names[1:], None), strict=True)
            }
            self._names = names
        return bool(gone)

    def _good_until(self, successor: str | None) -> datetime | None:
        return None if successor is None else made_at(successor) + self._lifetime


def keys_of(settings: Settings) -> Keys:
    """The keys the settings name; without any, those of the data directory, the first made now. Raises ValueError."""
    secret = None if settings.token_key is None else settings.token_key.get_secret_value()
    directory = settings.token_keys
    if directory is None and secret is None:
        directory = settings.data_dir / DIRECTORY
        if not any(directory.glob(f"*{_SUFFIX}")):
            make_key(directory, datetime.now(UTC))
    return Keys(directory, secret, settings.max_token_days)


def directory_of(settings: Settings) -> Path:
    """Where `syncline token keys` works."""
    return settings.token_keys or settings.data_dir / DIRECTORY


def make_key(directory: Path, now: datetime) -> str:
    """Make a key, the newest of its directory, and return its id. The file appears whole; only its owner reads it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    name = f"{now.astimezone(UTC).strftime(_MADE)}-{secrets.token_hex(4)}"
    draft = directory / f".{name}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(directory / f"{name}{_SUFFIX}")
    return name


def remove_key(directory: Path, key_id: str) -> None:
    """Honour it no more. Raises ValueError when there is no such key, or no other."""
    names = {path.stem for path in directory.glob(f"*{_SUFFIX}")}
    if key_id not in names:
        raise ValueError(f"there is no key {key_id} in {directory}")
    if len(names) == 1:
        raise ValueError("it is the only key; make another one first with `syncline token keys rotate`")
    (directory / f"{key_id}{_SUFFIX}").unlink()


def made_at(key_id: str) -> datetime:
    """When a key was made. Raises ValueError for a file that was not named by `make_key`."""
    try:
        return datetime.strptime(key_id.partition("-")[0], _MADE).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{key_id}{_SUFFIX} is not a name of a key") from None


def _load(directory: Path, name: str, good_until: datetime | None) -> Key:
    path = directory / f"{name}{_SUFFIX}"
    made_at(name)
    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"{path} does not hold a key that can be read ({type(error).__name__})") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError(f"{path} does not hold an Ed25519 key")
    return Key(name, EDDSA, private.public_key(), private, good_until)
