"""The settings for people: a default as one types it, and the table of README.md."""

from __future__ import annotations

from pydantic import ByteSize
from pydantic.fields import FieldInfo

from server.config import GIB, KIB, MIB, Settings, flag_name, variable_name


def shown_default(field: FieldInfo) -> str:
    """A field's default as a person would type it; empty when there is none."""
    default = field.default
    if default is None or default == ():
        return ""
    if field.annotation is ByteSize:
        for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
            if default % unit == 0:
                return f"{default // unit}{name}"
    return f"{default:g}" if isinstance(default, float) else str(default)


def settings_table() -> str:
    """The Markdown table of every setting, as README.md holds it."""
    rows = ["| flag | variable | default | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = shown_default(field)
        shown = f"`{default}`" if default else ""
        rows.append(f"| `{flag_name(name)}` | `{variable_name(name)}` | {shown} | {field.description} |")
    return "\n".join(rows) + "\n"
