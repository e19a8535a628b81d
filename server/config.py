"""Every setting of the server: one frozen model from which flags, variables and the table in the README are made.

Sources, strongest first: flags, `SYNCLINE_*` variables, defaults. Bytes take suffixes (`64MiB`), lists take commas.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from server.addresses import is_trusted
from server.permissions import Role

PREFIX = "SYNCLINE_"
BUILD_VARIABLES = frozenset({"SYNCLINE_PURE_PYTHON"})  # read by setup.py, often exported for a whole shell
CLIENT_VARIABLES = frozenset({"SYNCLINE_URL", "SYNCLINE_TOKEN"})  # of `syncline issues`, often exported as well
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class BadSettings(Exception):
    """The settings cannot be used; the message has a line for each that is wrong, and never a secret's value."""


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]


def _setting(default: Any, description: str, **bounds: Any) -> Any:
    return Field(default=default, description=description, **bounds)


class Settings(BaseModel):
    """All settings. Times are in seconds, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    host: str = _setting("127.0.0.1", "address to listen on", min_length=1)
    port: int = _setting(8080, "port to listen on; 0 takes a free one", ge=0, le=65535)
    tls_cert: Path | None = _setting(
        None,
        "certificate (PEM, with its chain): https and wss instead of http and ws; a renewed one counts from a restart",
    )
    tls_key: Path | None = _setting(None, "private key of that certificate (PEM, without a password)")
    data_dir: Path = _setting(Path(".syncline"), "where the embedded Postgres and the token key live")
    database_url: SecretStr | None = _setting(None, "a Postgres (15 or newer) to use instead of the embedded one")
    max_database_connections: int = _setting(
        8, "connections this node opens to Postgres, besides the one that appends", ge=4
    )
    token_keys: Path | None = _setting(
        None, "directory with the Ed25519 keys that sign tokens; default: keys in the data directory, made once"
    )
    token_key: SecretStr | None = _setting(
        None,
        "a secret of 32 characters or more that signs tokens (HS256), shared with whoever issues them",
        min_length=32,
    )
    max_token_days: float = _setting(
        366.0, "longest life of a token; for so long an older key is honoured", gt=0, le=3650
    )
    clock_skew_seconds: float = _setting(10.0, "how far the clocks of those who issue tokens may differ", ge=0, le=300)

    access_token_seconds: float = _setting(
        600.0, "life of an access token that comes with a refresh token", ge=30, le=86_400
    )
    login_days: float = _setting(30.0, "life of a refresh token; each is good once", gt=0, le=366)
    revocation_seconds: float = _setting(
        1.0, "between two looks at whose role, token or device was changed or revoked", gt=0, le=2
    )
    oidc_issuer: str | None = _setting(None, "OpenID provider whose tokens count as well, as they name it: https://…")
    oidc_audience: Names = _setting((), "audiences of its tokens that are meant for this deployment")
    oidc_user_claim: str = _setting("sub", "claim of its tokens that is the user's id", min_length=1)
    oidc_name_claim: str = _setting("name", "claim that is the user's name", min_length=1)
    oidc_email_claim: str = _setting("email", "claim that is the user's email", min_length=1)
    oidc_default_role: Role | None = _setting(
        None, "what its users are in any workspace that gave them no role; default: they stay out"
    )
    oidc_timeout_seconds: float = _setting(5.0, "for the provider to send its keys", gt=0, le=30)

    websocket: Literal["picows", "asgi"] = _setting(
        "picows", "what carries WebSocket frames; asgi is the slow fallback"
    )
    allowed_origins: Names = _setting(
        (),
        "origins whose pages may connect and read over HTTP; * is every site;"
        " default: pages of this host and localhost may connect, none of another site may read",
    )
    max_connections: int = _setting(10_000, "open WebSockets; more are answered 503", ge=1)
    max_address_connections: int = _setting(5_000, "of them from one address but this machine's; more get 429", ge=1)
    max_address_strangers: int = _setting(200, "of those, without a good token; more wait in turn, then get 429", ge=1)
    address_stranger_rate: float = _setting(10.0, "of those, forgiven in a second; 0 for any number of them", ge=0)
    max_user_connections: int = _setting(1_000, "of them of one user; more are closed 1013", ge=1)
    max_workspace_connections: int = _setting(10_000, "of them of one workspace; more are closed 1013; 0 for any", ge=0)
    max_message_bytes: ByteSize = _setting(17 * MIB, "one WebSocket message; bigger ones close 1009", ge=KIB)
    trusted_proxy: Names = _setting(
        (), "addresses or networks of proxies whose X-Forwarded-For is believed, as 10.0.0.0/24"
    )
    max_user_requests: float = _setting(
        1_000.0, "HTTP requests a second of one user, tenfold at once; more are answered 429; 0 for any", ge=0
    )
    max_workspace_requests: float = _setting(5_000.0, "of one workspace, likewise", ge=0)
    max_address_requests: float = _setting(2_000.0, "from one address but this machine's, likewise", ge=0)
    max_polls: int = _setting(
        10_000, "requests to …/changes that wait for something to happen; more are answered 429", ge=1
    )
    max_workspace_polls: int = _setting(1_000, "of them in one workspace", ge=1)
    max_user_polls: int = _setting(100, "of them of one user", ge=1)
    max_address_polls: int = _setting(500, "of them from one address but this machine's", ge=1)
    max_user_offences: float = _setting(
        1.0,
        "sockets of one user a second that are closed for what they sent, twentyfold at once; further ones wait, for"
        " up to 10 s; 0 for any",
        ge=0,
    )
    failed_logins: float = _setting(
        20.0, "refused tokens of one address but this machine's that are answered at once; then each waits longer", ge=1
    )
    failed_login_rate: float = _setting(1.0, "of them a second in the long run; 0 for any", ge=0)
    failed_login_delay_seconds: float = _setting(10.0, "longest such wait", ge=0, le=60)
    max_message_rate: float = _setting(
        5_000.0, "messages a second from one WebSocket, tenfold at once; more are read later; 0 for any", ge=0
    )
    max_receive_rate: ByteSize = _setting(16 * MIB, "bytes a second, likewise", ge=0)
    max_user_edits: float = _setting(
        20_000.0,
        "edits a second of one user over all WebSockets and requests, tenfold at once; who makes more is heard later,"
        " then told when to come again, then closed; 0 for any",
        ge=0,
    )
    max_workspace_edits: float = _setting(100_000.0, "of all users of one workspace, likewise", ge=0)
    edit_delay_seconds: float = _setting(
        1.0,
        "how much later such a WebSocket is read from, and such a request answered, at most; beyond it a native"
        " client's edits are nacked with retry_after, one that does not wait is closed 4429; requests are answered 429",
        gt=0,
        le=60,
    )
    edit_debt_seconds: float = _setting(
        10.0, "beyond so much the WebSocket of a Yjs client, which knows no such answer, is closed 1013", gt=0, le=600
    )
    max_buffered_bytes: ByteSize = _setting(
        MIB, "unsent bytes at which a reader falls behind and is fed one difference later", ge=16 * KIB
    )
    behind_timeout_seconds: float = _setting(30.0, "how long a reader may stay behind before it is closed 1013", gt=0)
    handshake_timeout_seconds: float = _setting(10.0, "for a whole HTTP request head to arrive", gt=0)
    max_head_bytes: ByteSize = _setting(64 * KIB, "of such a head; longer ones are answered 431", ge=KIB)
    min_progress_bytes: ByteSize = _setting(
        KIB, "of a request's body that come, or of an answer that are taken, in any such time; else it is cut off", ge=1
    )
    ping_interval_seconds: float = _setting(20.0, "between WebSocket pings", gt=0, le=25)
    pong_timeout_seconds: float = _setting(10.0, "for the answer to a ping before the socket is cut", gt=0)
    close_timeout_seconds: float = _setting(3.0, "for the answer to a close frame before the socket is cut", gt=0)
    keep_alive_seconds: float = _setting(
        20.0, "silence after which a Yjs client gets a message that says nothing; it gives up at 30", gt=0, le=25
    )
    max_waiting_messages: int = _setting(1_000, "messages kept for a client whose issue is still being opened", ge=1)
    max_waiting_bytes: ByteSize = _setting(20 * MIB, "bytes of those messages", ge=KIB)
    authentication_timeout_seconds: float = _setting(
        30.0, "for the first good token on a Hocuspocus socket before it is closed 4408", gt=0
    )
    token_refresh_seconds: float = _setting(
        60.0, "before its token runs out, a Hocuspocus client is asked for a new one", gt=0
    )
    max_socket_documents: int = _setting(1_000, "issues open on one Hocuspocus socket", ge=1)
    max_unauthenticated_documents: int = _setting(
        100, "issues without a good token on one Hocuspocus socket; more close 4205", ge=1
    )
    max_unauthenticated_messages: int = _setting(
        1_000, "messages kept until the token for their issue has come; more close 4205", ge=1
    )
    max_unauthenticated_bytes: ByteSize = _setting(5 * MIB, "bytes of those messages", ge=KIB)

    hello_timeout_seconds: float = _setting(
        5.0, "for the hello of a native client before its socket is closed 4408", gt=0
    )
    max_open_issues: int = _setting(1_000, "issues open on one native socket", ge=1)
    max_push_edits: int = _setting(1_000, "edits a native client may have pushed without an answer", ge=1)
    max_push_bytes: ByteSize = _setting(4 * MIB, "bytes of those edits; one alone may be bigger", ge=KIB)
    feed_interval_seconds: float = _setting(
        0.25, "what is committed to a workspace in this time goes to those who follow it as one page", ge=0
    )
    feed_page_deltas: int = _setting(2_000, "deltas merged into one page of a feed", ge=1)
    feed_page_bytes: ByteSize = _setting(256 * KIB, "bytes of them; one entry alone may be bigger", ge=KIB)
    feed_page_conflicts: int = _setting(500, "conflicts in one page of how they change", ge=1)
    conflict_feed_interval_seconds: float = _setting(
        1.0, "between two looks for conflicts that another node recorded, for those who follow them", gt=0
    )
    max_feed_reads: int = _setting(4, "pages that are made at a time for all who catch up", ge=1)
    wakeups: Literal["notify", "poll"] = _setting(
        "notify", "how nodes hear of each other's commits; notify is Postgres LISTEN/NOTIFY, poll only looks"
    )

    max_update_bytes: ByteSize = _setting(16 * MIB, "one update; bigger ones close 4413", ge=KIB)
    max_structs: int = _setting(1_000_000, "structs in one update", ge=1)
    max_new_clients: int = _setting(4_096, "client ids that one update may bring", ge=1)
    max_depth: int = _setting(64, "levels of nested types", ge=1, le=128)
    max_key_bytes: ByteSize = _setting(1_024, "length of a map key", ge=1)

    max_issue_bytes: ByteSize = _setting(
        64 * MIB, "stored bytes of one issue; a full one takes deletions only; 0 for any", ge=0
    )
    max_issue_structs: int = _setting(1_000_000, "of one issue, likewise: what Yjs keeps of it apart", ge=0)
    max_issue_tombstones: int = _setting(1_000_000, "ranges of one issue that are deleted, likewise", ge=0)
    max_issue_comments: int = _setting(10_000, "comments ever made on one issue; 0 for any", ge=0)
    max_workspace_issues: int = _setting(1_000_000, "issues of one workspace; 0 for any", ge=0)

    max_rooms: int = _setting(20_000, "issues open at a time", ge=1)
    max_resident_bytes: ByteSize = _setting(512 * MIB, "updates held by open issues; idle ones make room", ge=MIB)
    max_room_sessions: int = _setting(1_000, "sockets on one issue", ge=1)
    max_room_waiting_bytes: ByteSize = _setting(
        4 * MIB, "updates of one issue that wait for their commit; above it its writers are not read from", ge=KIB
    )
    max_inline_bytes: ByteSize = _setting(128 * KIB, "issues above this are merged and compared by an engine", ge=KIB)
    max_inline_update_bytes: ByteSize = _setting(64 * KIB, "updates above this are checked by an engine", ge=KIB)
    load_timeout_seconds: float = _setting(10.0, "for opening an issue", gt=0)
    idle_timeout_seconds: float = _setting(60.0, "before an issue nobody has open is dropped from memory", ge=0)
    catch_up_timeout_seconds: float = _setting(2.0, "on a gap, for what other nodes committed", gt=0)
    ask_timeout_seconds: float = _setting(2.0, "on a gap, for the client's answer before it is asked again", gt=0)
    overload_timeout_seconds: float = _setting(10.0, "for room in a full queue before writers are sent away", gt=0)
    max_clock_lead_seconds: float = _setting(
        60.0, "how much later than it came in an edit may claim to be, where the last write wins", ge=0
    )
    conflict_interval_seconds: float = _setting(
        5.0, "between two looks for conflicts that another node left for the last write to win", gt=0
    )
    presence_timeout_seconds: float = _setting(30.0, "before a client that is not renewed leaves presence", gt=0)
    max_presence_bytes: ByteSize = _setting(16 * KIB, "presence of one client", ge=64)
    max_presence_clients: int = _setting(4_096, "clients present in one issue", ge=1)
    max_session_clients: int = _setting(64, "clients that one socket may announce", ge=1)

    max_queued_bytes: ByteSize = _setting(64 * MIB, "updates of all issues that wait for their commit", ge=KIB)
    max_batch_deltas: int = _setting(1_000, "deltas in one commit", ge=1)
    max_batch_bytes: ByteSize = _setting(8 * MIB, "bytes in one commit", ge=KIB)
    commit_timeout_seconds: float = _setting(10.0, "for one commit", gt=0)
    stuck_after_seconds: float = _setting(5.0, "age of the oldest waiting update at which readiness turns red", gt=0)
    relay_interval_seconds: float = _setting(0.25, "between two looks at what other nodes committed", gt=0)
    relay_page_deltas: int = _setting(500, "deltas read in one such look", ge=1)

    engine_processes: int = _setting(2, "processes that work on live documents", ge=1)
    engine_memory_bytes: ByteSize = _setting(GIB, "address space of one of them", ge=128 * MIB)
    engine_resident_issues: int = _setting(4_096, "documents one of them keeps", ge=1)
    engine_resident_bytes: ByteSize = _setting(256 * MIB, "bytes of documents one of them keeps", ge=MIB)
    engine_job_seconds: float = _setting(10.0, "for one job before its process is replaced", gt=0)
    projection_page_deltas: int = _setting(1_000, "deltas projected in one transaction", ge=1)
    projection_settle_seconds: float = _setting(0.1, "to gather what is written before it is projected", ge=0)
    projection_poll_seconds: float = _setting(1.0, "between two looks for what other nodes wrote", gt=0)
    search_settle_seconds: float = _setting(0.5, "to gather edits before the words of an issue are read anew", ge=0)
    compaction_updates: int = _setting(500, "deltas since the snapshot that make an issue due", ge=1)
    compaction_bytes: ByteSize = _setting(MIB, "bytes since the snapshot that make an issue due", ge=KIB)
    compaction_idle_updates: int = _setting(
        50, "deltas since the snapshot that are enough when an issue goes idle", ge=1
    )
    compaction_apart_updates: int = _setting(
        1_000, "deltas between two snapshots that are kept for those who ask what was; of large issues more", ge=1
    )
    compaction_interval_seconds: float = _setting(5.0, "between two looks for issues that are due", gt=0)
    history_days: float = _setting(30.0, "how far back an issue can be shown as it was", ge=0)
    history_page_deltas: int = _setting(5_000, "deltas read for one page of a history", ge=1)
    history_page_bytes: ByteSize = _setting(8 * MIB, "bytes of them", ge=KIB)
    history_page_chars: int = _setting(1_000_000, "characters of changes that such a page tells", ge=1)
    max_history_deltas: int = _setting(
        20_000, "deltas read for a blame, a revert or the base of a queued operation; with more it is refused", ge=1
    )
    max_history_bytes: ByteSize = _setting(32 * MIB, "bytes of them", ge=KIB)
    history_job_seconds: float = _setting(30.0, "for an engine to tell what is in them", gt=0)
    activity_page_deltas: int = _setting(2_000, "deltas looked at for one page of a workspace's activity", ge=1)
    activity_issues_at_once: int = _setting(4, "issues of such a page that are read at a time", ge=1)
    bulk_issues_at_once: int = _setting(64, "issues of one bulk request that are written at a time", ge=1)
    max_outbox_operations: int = _setting(
        1_000, "queued operations in one request; more are answered 422", ge=1, le=1_000
    )
    max_outbox_bytes: ByteSize = _setting(20 * MIB, "such a request; a bigger one is answered 413", ge=KIB)
    outbox_issues_at_once: int = _setting(32, "issues of such a request that are written at a time", ge=1)
    outbox_commit_operations: int = _setting(
        100, "queued operations on one issue that are made in one commit; the next ones wait for it", ge=1
    )
    outbox_rows_seconds: float = _setting(
        5.0, "for the rows of what such a request wrote, which its answer shows", gt=0
    )
    outbox_claim_seconds: float = _setting(
        10.0, "for a queued operation to be made before another request may make it, after a crash for instance", gt=0
    )
    outbox_retries: int = _setting(
        100, "times that a rejected operation which is sent again is tried again; then it stays rejected", ge=0
    )
    outbox_days: float = _setting(
        30.0, "for so long it is known what became of a queued operation, so that it is not made twice", ge=1
    )
    max_import_bytes: ByteSize = _setting(GIB, "a file that is imported over HTTP", ge=MIB)
    purge_after_days: float = _setting(
        30.0, "a deleted issue that nobody touches for so long is removed for good; 0 keeps it", ge=0
    )
    audit_days: float = _setting(365.0, "before a row of the audit log is deleted; 0 keeps it", ge=0)

    shutdown_timeout_seconds: float = _setting(
        8.0, "for open commits and sockets when the server is told to stop", gt=0, le=9
    )
    event_loop: Literal["auto", "uvloop", "asyncio"] = _setting("auto", "auto is uvloop where it is installed")
    log_format: Literal["auto", "console", "json"] = _setting(
        "auto", "auto is console on a terminal and json elsewhere"
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting("info", "least severe line that is logged")

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
