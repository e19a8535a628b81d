from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from server import config
from server.config import BadSettings, Settings
from server.settings_table import settings_tables, shown_default

ROOT = Path(__file__).parents[2]


def test_flags_are_stronger_than_variables_and_these_than_defaults() -> None:
    environment = {"SYNCLINE_PORT": "1", "SYNCLINE_HOST": "0.0.0.0", "PATH": "/bin"}
    settings = config.load({"port": "2", "data_dir": None}, environment)
    assert (settings.port, settings.host, settings.data_dir) == (2, "0.0.0.0", Path(".syncline"))


def test_bytes_take_suffixes_and_lists_take_commas() -> None:
    settings = config.load({"max_update_bytes": "1MiB", "allowed_origins": "https://a.example, https://b.example"}, {})
    assert settings.max_update_bytes == 1024 * 1024
    assert settings.allowed_origins == ("https://a.example", "https://b.example")


def test_an_unknown_variable_names_the_nearest_valid_one() -> None:
    with pytest.raises(BadSettings, match="SYNCLINE_PROT; did you mean SYNCLINE_PORT"):
        config.load({}, {"SYNCLINE_PROT": "1"})


def test_the_build_switch_is_not_a_setting_and_no_error() -> None:
    assert config.load({}, {"SYNCLINE_PURE_PYTHON": "1"}) == Settings()


def test_every_bad_value_is_named_at_once_by_flag_and_variable() -> None:
    with pytest.raises(BadSettings) as error:
        config.load({"port": "70000"}, {"SYNCLINE_WEBSOCKET": "carrier-pigeon"})
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert any(line.startswith("--port (SYNCLINE_PORT): ") for line in lines)
    assert any(line.startswith("--websocket (SYNCLINE_WEBSOCKET): ") for line in lines)


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(BadSettings, match="max-message-bytes"):
        config.load({"max_message_bytes": "1MiB", "max_update_bytes": "2MiB"}, {})


def test_secrets_show_neither_in_text_nor_in_errors() -> None:
    environment = {"SYNCLINE_TOKEN_KEY": "s" * 40, "SYNCLINE_DATABASE_URL": "postgres://u:hunter2@h/d"}
    shown = repr(config.load({}, environment))
    assert "sssss" not in shown
    assert "hunter2" not in shown
    with pytest.raises(BadSettings) as error:
        config.load({"token_key": "hunter2"}, {})
    assert "hunter2" not in str(error.value)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1


def test_every_setting_says_what_it_is_and_has_a_default_that_can_be_typed() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        default = shown_default(field)
        if default:
            assert config.load({name: default}, {}) == Settings(), name


def test_the_readme_holds_the_tables() -> None:
    assert settings_tables() in (ROOT / "README.md").read_text(encoding="utf-8")
