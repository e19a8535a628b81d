"""Settings: who may come in."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from server.permissions import Role
from server.settings.group import Group, Names, setting


class Access(Group):
    """Who may come in."""

    token_keys: Path | None = setting(
        None, "directory with the Ed25519 keys that sign tokens; default: keys in the data directory, made once"
    )
    token_key: SecretStr | None = setting(
        None,
        "a secret of 32 characters or more that signs tokens (HS256), shared with whoever issues them",
        min_length=32,
    )
    max_token_days: float = setting(
        366.0, "longest life of a token; for so long an older key is honoured", gt=0, le=3650
    )
    clock_skew_seconds: float = setting(10.0, "how far the clocks of those who issue tokens may differ", ge=0, le=300)
    access_token_seconds: float = setting(
        600.0, "life of an access token that comes with a refresh token", ge=30, le=86_400
    )
    login_days: float = setting(30.0, "life of a refresh token; each is good once", gt=0, le=366)
    revocation_seconds: float = setting(
        1.0, "between two looks at whose role, token or device was changed or revoked", gt=0, le=2
    )
    oidc_issuer: str | None = setting(None, "OpenID provider whose tokens count as well, as they name it: https://…")
    oidc_audience: Names = setting((), "audiences of its tokens that are meant for this deployment")
    oidc_user_claim: str = setting("sub", "claim of its tokens that is the user's id", min_length=1)
    oidc_name_claim: str = setting("name", "claim that is the user's name", min_length=1)
    oidc_email_claim: str = setting("email", "claim that is the user's email", min_length=1)
    oidc_default_role: Role | None = setting(
        None, "what its users are in any workspace that gave them no role; default: they stay out"
    )
    oidc_timeout_seconds: float = setting(5.0, "for the provider to send its keys", gt=0, le=30)
    allowed_origins: Names = setting(
        (),
        "origins whose pages may connect and read over HTTP; * is every site;"
        " default: pages of this host and localhost may connect, none of another site may read",
    )
    trusted_proxy: Names = setting(
        (), "addresses or networks of proxies whose X-Forwarded-For is believed, as 10.0.0.0/24"
    )
