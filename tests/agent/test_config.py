"""Settings: file, then environment, then flags; each mistake is named."""

from pathlib import Path

import pytest

from agent.config import Config, read_config, read_ports
from agent.errors import ConfigError


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('state_dir = "/file"\nlog_level = "debug"\nkeep_versions = 5\n[ports]\nshop = 1\n')
    environment = {"TIDEGATE_AGENT_STATE_DIR": "/env", "TIDEGATE_AGENT_PORTS": "shop=2,menu=3", "OTHER": "x"}
    config = read_config(file, environment, {"state_dir": "/flag", "log_level": None})
    assert config == Config(state_dir="/flag", log_level="debug", keep_versions=5, ports={"shop": 2, "menu": 3})
    assert config.apps == Path("/flag/apps")
    assert read_config(file, {}, {"apps_dir": "/apps"}).apps == Path("/apps")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("state_dir = 5", "state_dir"),
        ("keep_versions = 1", "keep_versions"),
        ("colour = 'blue'", "colour"),
        ("[ports]\nshop = 70000", "ports"),
        ("= nonsense", "is no TOML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=told):
        read_config(file, {}, {})


def test_a_missing_file_is_named_only_where_it_was_asked_for(tmp_path: Path) -> None:
    assert read_config(None, {}, {}) == Config()
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "missing.toml", {}, {})


@pytest.mark.parametrize("text", ["shop", "=1", "shop=", "shop=x"])
def test_a_port_of_another_form_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="expected app=number"):
        read_ports([text])


def test_folders_are_absolute_since_services_run_in_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = read_config(None, {}, {"state_dir": "state", "apps_dir": "apps"})
    assert (config.state, config.apps) == (tmp_path / "state", tmp_path / "apps")
    assert read_config(None, {}, {"state_dir": "state"}).apps == tmp_path / "state" / "apps"
