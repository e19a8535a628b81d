"""The settings for people: a default as one types it, and the tables of README.md."""

from __future__ import annotations

from pydantic import ByteSize
from pydantic.fields import FieldInfo

from server.config import GROUPS, flag_name, variable_name
from server.settings.group import GIB, KIB, MIB, Group


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


def settings_tables() -> str:
    """A Markdown table of each group, as README.md holds them."""
    return "\n".join(f"### {group.heading()}\n{_table(group)}" for group in GROUPS)


def _table(group: type[Group]) -> str:
    rows = ["| flag | variable | default | meaning |", "|---|---|---|---|"]
    for name, field in group.model_fields.items():
        default = shown_default(field)
        shown = f"`{default}`" if default else ""
        rows.append(f"| `{flag_name(name)}` | `{variable_name(name)}` | {shown} | {field.description} |")
    return "\n".join(rows) + "\n"
