"""How a refresh token is written: workspace, login, secret. It is no JWT: only the database tells what it is worth."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from uuid import UUID

from server.auth.credentials import is_name
from server.auth.refusals import TokenRefused
from storage.logins import Login


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """Its parts."""

    workspace: str
    login_id: UUID
    secret: str


def written(workspace: str, login: Login) -> str:
    """For whoever signed in."""
    slug = base64.urlsafe_b64encode(workspace.encode()).decode().rstrip("=")
    return f"{slug}.{login.id.hex}.{login.secret}"


def read(text: str) -> RefreshToken:
    """Raises `TokenRefused`."""
    parts = text.split(".") if len(text) < 2_000 else []
    try:
        slug, login_id, secret = parts
        workspace = base64.b64decode(slug + "=" * (-len(slug) % 4), altchars=b"-_", validate=True).decode()
        token = RefreshToken(workspace, UUID(hex=login_id), secret)
    except (ValueError, binascii.Error):
        raise TokenRefused("not a refresh token") from None
    if not is_name(workspace) or not secret.isascii():
        raise TokenRefused("not a refresh token")
    return token
