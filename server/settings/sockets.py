"""Settings: what one WebSocket may hold."""

from __future__ import annotations

from pydantic import ByteSize

from server.settings.group import KIB, MIB, Group, setting


class Sockets(Group):
    """What one WebSocket may hold."""

    max_message_bytes: ByteSize = setting(17 * MIB, "one WebSocket message; bigger ones close 1009", ge=KIB)
    max_small_fragments: int = setting(
        250, "fragments below a KiB that one such message may come in; more close 1009", ge=1
    )
    socket_receive_bytes: ByteSize = setting(
        128 * KIB,
        "bytes the kernel takes of a connection that we have not read; what a far client sends in a round trip",
        ge=4 * KIB,
    )
    stranger_receive_bytes: ByteSize = setting(
        8 * KIB, "bytes read of a WebSocket at a time, five milliseconds apart, before a good token has come", ge=KIB
    )
    max_buffered_bytes: ByteSize = setting(
        MIB, "unsent bytes at which a reader falls behind and is fed one difference later", ge=16 * KIB
    )
    behind_timeout_seconds: float = setting(30.0, "how long a reader may stay behind before it is closed 1013", gt=0)
    ping_interval_seconds: float = setting(20.0, "between WebSocket pings", gt=0, le=25)
    pong_timeout_seconds: float = setting(10.0, "for the answer to a ping before the socket is cut", gt=0)
    close_timeout_seconds: float = setting(3.0, "for the answer to a close frame before the socket is cut", gt=0)
    keep_alive_seconds: float = setting(
        20.0, "silence after which a Yjs client gets a message that says nothing; it gives up at 30", gt=0, le=25
    )
    max_waiting_messages: int = setting(1_000, "messages kept for a client whose issue is still being opened", ge=1)
    max_waiting_bytes: ByteSize = setting(20 * MIB, "bytes of those messages", ge=KIB)
    authentication_timeout_seconds: float = setting(
        30.0, "for the first good token on a Hocuspocus socket before it is closed 4408", gt=0
    )
    token_refresh_seconds: float = setting(
        60.0, "before its token runs out, a Hocuspocus client is asked for a new one", gt=0
    )
    max_socket_documents: int = setting(1_000, "issues open on one Hocuspocus socket", ge=1)
    max_unauthenticated_documents: int = setting(
        100, "issues without a good token on one Hocuspocus socket; more close 4205", ge=1
    )
    max_unauthenticated_messages: int = setting(
        1_000, "messages kept until the token for their issue has come; more close 4205", ge=1
    )
    max_unauthenticated_bytes: ByteSize = setting(MIB, "bytes of those messages", ge=KIB)
    hello_timeout_seconds: float = setting(
        5.0, "for the hello of a native client before its socket is closed 4408", gt=0
    )
    max_open_issues: int = setting(1_000, "issues open on one native socket", ge=1)
    max_push_edits: int = setting(1_000, "edits a native client may have pushed without an answer", ge=1)
    max_push_bytes: ByteSize = setting(4 * MIB, "bytes of those edits; one alone may be bigger", ge=KIB)
