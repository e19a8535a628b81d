"""Every setting of the server: one frozen model from which flags, variables and the table in the README are made.

Sources, strongest first: flags, `SYNCLINE_*` variables, defaults. Bytes take suffixes (`64MiB`), lists take commas.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError, model_validator

from server.addresses import is_trusted
from server.settings.access import Access
from server.settings.crowds import Crowds
from server.settings.group import Group
from server.settings.issues import Issues
from server.settings.keeping import Keeping
from server.settings.place import Place
from server.settings.requests import Requests
from server.settings.sockets import Sockets
from server.settings.work import Work

PREFIX: Final = "SYNCLINE_"
BUILD_VARIABLES: Final = frozenset({"SYNCLINE_PURE_PYTHON"})  # read by setup.py, often exported for a whole shell
CLIENT_VARIABLES: Final = frozenset({"SYNCLINE_URL", "SYNCLINE_TOKEN"})  # of `syncline issues`, often exported as well
GROUPS: Final[tuple[type[Group], ...]] = (Place, Access, Crowds, Sockets, Requests, Issues, Work, Keeping)


class BadSettings(Exception):
    """The settings cannot be used; the message has a line for each that is wrong, and never a secret's value."""


class Settings(Keeping, Work, Issues, Requests, Sockets, Crowds, Access, Place):  # pydantic begins with the last
    """All settings. Times are in seconds, sizes in bytes."""

    @property
    def certificate(self) -> tuple[Path, Path] | None:
        """The files of certificate and private key."""
        return None if self.tls_cert is None or self.tls_key is None else (self.tls_cert, self.tls_key)

    @model_validator(mode="after")
    def _fit_together(self) -> Settings:
        if self.max_message_bytes < self.max_update_bytes:
            raise ValueError("max-message-bytes must not be below max-update-bytes")
        if self.pong_timeout_seconds > self.ping_interval_seconds:
            raise ValueError("pong-timeout-seconds must not be above ping-interval-seconds")
        if self.edit_debt_seconds < self.edit_delay_seconds:
            raise ValueError("edit-debt-seconds must not be below edit-delay-seconds")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls-cert and tls-key belong together")
        if self.oidc_issuer is not None and not is_trusted(self.oidc_issuer):
            raise ValueError("oidc-issuer must be an https address")
        if self.oidc_issuer is not None and not self.oidc_audience:
            raise ValueError("oidc-audience must say which of the provider's tokens are meant for this deployment")
        return self


def load(flags: Mapping[str, str | None], environment: Mapping[str, str]) -> Settings:
    """Settings from flags (field name to value, None where not given) and the environment. Raises `BadSettings`."""
    values = _from_environment(environment) | {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise BadSettings("\n".join(_complaint(found) for found in error.errors(include_input=False))) from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    valid = {variable_name(name): name for name in Settings.model_fields}
    given = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    unknown = sorted(given.keys() - valid.keys() - BUILD_VARIABLES - CLIENT_VARIABLES)
    if unknown:
        raise BadSettings("\n".join(_unknown(name, list(valid)) for name in unknown))
    return {valid[name]: value for name, value in given.items() if name in valid}


def _unknown(name: str, valid: list[str]) -> str:
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.0)
    return f"unknown variable {name}; did you mean {near[0]}?"


def _complaint(found: Any) -> str:
    message = found["msg"].removeprefix("Value error, ")
    if not found["loc"]:
        return str(message)
    name = str(found["loc"][0])
    return f"{flag_name(name)} ({variable_name(name)}): {message[0].lower()}{message[1:]}"


def variable_name(name: str) -> str:
    """`max_rooms` → `SYNCLINE_MAX_ROOMS`."""
    return PREFIX + name.upper()


def flag_name(name: str) -> str:
    """`max_rooms` → `--max-rooms`."""
    return "--" + name.replace("_", "-")
