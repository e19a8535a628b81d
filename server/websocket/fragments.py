"""A message that comes in fragments (RFC 6455 §5.4), joined again."""

from __future__ import annotations

from server import close_codes


class Broken(Exception):
    """What comes is no message, or too much of one: close with that code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Fragments:
    """Of one socket, one message at a time. `max_bytes`: of a message · `max_small`: fragments of one below a KiB,
    because empty ones add nothing to it and never end; bigger ones are bounded by its size. They are joined when the
    last has come: what grows a little at a time is copied again and again, megabytes in one turn."""

    __slots__ = ("_max_bytes", "_max_small", "_parts", "_size")

    def __init__(self, max_bytes: int, max_small: int) -> None:
        self._max_bytes = max_bytes
        self._max_small = max_small
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def have_begun(self) -> bool:
        """Whether there is a message that has not ended."""
        return bool(self._parts)

    def add(self, payload: memoryview, *, is_first: bool, is_last: bool) -> bytes | None:
        """The whole message with its last fragment. Raises `Broken`."""
        if is_first == self.have_begun:
            raise Broken(close_codes.PROTOCOL_ERROR, "fragments out of order")
        if self._size + len(payload) > self._max_bytes or len(self._parts) >= self._max_small + self._size // 1024:
            raise Broken(close_codes.MESSAGE_TOO_BIG, "message too big")
        self._parts.append(bytes(payload))
        self._size += len(payload)
        if not is_last:
            return None
        message = b"".join(self._parts)
        self.forget()
        return message

    def forget(self) -> None:
        """What has begun."""
        self._parts = []
        self._size = 0
