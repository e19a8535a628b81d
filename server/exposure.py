"""What a node needs before it may be heard beyond this machine, and which pages of other sites may ask it over HTTP.

The local default is easy because nobody else can reach it: with real keys, and a certificate where there is no proxy, a
node may be reached.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from server.addresses import is_loopback
from server.config import BadSettings, Settings

CORS_SECONDS = 600  # a browser does not ask again for so long whether it may; it bounds nobody, and browsers bound it
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def is_local(settings: Settings) -> bool:
    """Whether only this machine can reach the node."""
    return is_loopback(settings.host)


def check(settings: Settings) -> None:
    """Raises `BadSettings` for a node that must not start like this."""
    if not is_local(settings) and not _has_real_keys(settings):
        raise BadSettings(
            f"--host {settings.host} can be reached from other machines, and nobody has said whose tokens count. Give"
            " --token-keys (make them with `syncline token keys rotate --token-keys DIRECTORY`), --token-key or"
            " --oidc-issuer; or listen on 127.0.0.1 only"
        )
    if settings.certificate is not None:
        _check_certificate(*settings.certificate)


def _has_real_keys(settings: Settings) -> bool:
    return any((settings.token_keys, settings.token_key, settings.oidc_issuer))


def _check_certificate(certificate: Path, key: Path) -> None:
    for flag, path in (("--tls-cert", certificate), ("--tls-key", key)):
        if not path.is_file():
            raise BadSettings(f"{flag}: there is no file {path}")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise BadSettings(
            f"--tls-cert {certificate} and --tls-key {key} are no certificate (PEM, with its chain) and its private key"
            f" without a password: {error}"
        ) from None


def opened_to(origins: Iterable[str], http: ASGIApp) -> ASGIApp:
    """`http`, readable by pages of those origins; without any it stays as it is, and browsers show pages of other sites
    nothing of it. No cookies are ever involved: a page needs a token."""
    allowed = [origin.rstrip("/").lower() for origin in origins]
    if not allowed:
        return http
    return CORSMiddleware(
        http,
        allow_origins=allowed,
        allow_methods=_METHODS,
        allow_headers=("*",),
        expose_headers=("*",),
        max_age=CORS_SECONDS,
    )
