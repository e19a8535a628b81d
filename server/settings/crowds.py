"""Settings: how many may come, and how fast."""

from __future__ import annotations

from pydantic import ByteSize

from server.settings.group import MIB, Group, setting


class Crowds(Group):
    """How many may come, and how fast."""

    max_connections: int = setting(10_000, "open WebSockets; more are answered 503", ge=1)
    max_address_connections: int = setting(5_000, "of them from one address but this machine's; more get 429", ge=1)
    max_user_connections: int = setting(1_000, "of them of one user; more are closed 1013", ge=1)
    max_workspace_connections: int = setting(10_000, "of them of one workspace; more are closed 1013; 0 for any", ge=0)
    max_address_strangers: int = setting(
        200, "of those from one address, without a good token; more wait in turn, then get 429", ge=1
    )
    address_stranger_rate: float = setting(10.0, "of those forgiven in a second; 0 for any number of them", ge=0)
    max_user_requests: float = setting(
        1_000.0, "HTTP requests a second of one user; more are answered 429; 0 for any", ge=0
    )
    max_workspace_requests: float = setting(5_000.0, "of one workspace, likewise", ge=0)
    max_address_requests: float = setting(2_000.0, "from one address but this machine's, likewise", ge=0)
    max_polls: int = setting(
        10_000, "requests to …/changes that wait for something to happen; more are answered 429", ge=1
    )
    max_workspace_polls: int = setting(1_000, "of them in one workspace", ge=1)
    max_user_polls: int = setting(100, "of them of one user", ge=1)
    max_address_polls: int = setting(500, "of them from one address but this machine's", ge=1)
    max_poll_seconds: float = setting(60.0, "that one of them waits at most, whatever it asks for", gt=0, le=600)
    max_message_rate: float = setting(
        5_000.0, "messages a second from one WebSocket; more are read later; 0 for any", ge=0
    )
    max_receive_rate: ByteSize = setting(16 * MIB, "bytes a second, likewise", ge=0)
    max_user_edits: float = setting(
        20_000.0,
        "edits a second of one user over all WebSockets and requests; who makes more is heard later, then told when to"
        " come again, then closed; 0 for any",
        ge=0,
    )
    max_workspace_edits: float = setting(100_000.0, "of all users of one workspace, likewise", ge=0)
    edit_delay_seconds: float = setting(
        1.0,
        "how much later such a WebSocket is read from, and such a request answered, at most; beyond it a native"
        " client's edits are nacked with retry_after, one that does not wait is closed 4429; requests are answered 429",
        gt=0,
        le=60,
    )
    edit_debt_seconds: float = setting(
        10.0, "beyond so much the WebSocket of a Yjs client, which knows no such answer, is closed 1013", gt=0, le=600
    )
    burst_seconds: float = setting(
        10.0, "of each of these rates may come at once after a rest: by default ten times a second's", gt=0, le=3600
    )
    user_offences: float = setting(
        20.0,
        "sockets of one user that are closed for what they sent before further ones wait, as refused tokens do",
        ge=1,
    )
    user_offence_rate: float = setting(1.0, "of them a second in the long run; 0 for any", ge=0)
    failed_logins: float = setting(
        20.0, "refused tokens of one address but this machine's that are answered at once; then each waits longer", ge=1
    )
    failed_login_rate: float = setting(1.0, "of them a second in the long run; 0 for any", ge=0)
    failed_login_delay_seconds: float = setting(10.0, "longest such wait", ge=0, le=60)
