"""What a group of settings is made of. Times are in seconds, sizes in bytes."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]


def setting(default: Any, description: str, **bounds: Any) -> Any:
    """A setting, as people read of it."""
    return Field(default=default, description=description, **bounds)


class Group(BaseModel):
    """Settings that belong together; the docstring is their heading, for people."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    @classmethod
    def heading(cls) -> str:
        """What they are about."""
        return (cls.__doc__ or "").rstrip(".")
