"""Which controller is spoken to: flags, then --context, then the environment, then the context in use."""

import stat
from pathlib import Path

import pytest

from controller.cli import contexts
from controller.cli.contexts import Config, Context
from controller.cli.failures import CliError
from tests.controller.cli.conftest import Invoke


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "folder" / "config.toml"
    monkeypatch.setenv("TIDEGATE_CONFIG", str(path))
    for name in ("TIDEGATE_URL", "TIDEGATE_TOKEN", "TIDEGATE_CA"):
        monkeypatch.delenv(name, raising=False)
    return path


def test_a_configuration_survives_being_written(config: Path) -> None:
    written = Config(
        current='we"ird name\\',
        contexts={'we"ird name\\': Context(url="https://a", token="t\u00e9", ca="/x"), "b": Context(url="https://b")},
    )
    contexts.save(written)
    contexts.save(written)
    assert contexts.load() == written
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


def test_without_a_file_the_configuration_is_empty() -> None:
    assert contexts.load() == Config()


@pytest.mark.parametrize("text", ["current = ", "current = 7", "[contexts.a]\nurl = 1"])
def test_a_broken_file_is_an_error(text: str, config: Path) -> None:
    config.parent.mkdir()
    config.write_text(text)
    with pytest.raises(CliError, match=r"config\.toml"):
        contexts.load()


def resolve(url: str = "", token: str = "", ca: str = "", name: str = "") -> Context:
    return contexts.resolve(url=url, token=token, ca=ca, name=name)


def test_the_order_of_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = {"a": Context(url="https://a", token="ta", ca="/a"), "b": Context(url="https://b", token="tb")}
    contexts.save(Config(current="a", contexts=saved))
    assert resolve() == saved["a"]
    assert resolve(token="mine") == Context(url="https://a", token="mine", ca="/a")
    monkeypatch.setenv("TIDEGATE_TOKEN", "te")
    assert resolve() == Context(url="https://a", token="te", ca="/a")
    assert resolve(name="b").url == "https://b"
    assert resolve(name="b").token == "tb"
    with pytest.raises(CliError, match="known: a, b"):
        resolve(name="c")


def test_another_address_does_not_get_the_saved_token(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts.save(Config(current="a", contexts={"a": Context(url="https://a", token="ta", ca="/a")}))
    assert resolve(url="https://elsewhere") == Context(url="https://elsewhere")
    monkeypatch.setenv("TIDEGATE_URL", "https://elsewhere")
    assert resolve() == Context(url="https://elsewhere")
    monkeypatch.setenv("TIDEGATE_TOKEN", "te")
    assert resolve(url="https://third") == Context(url="https://third")


def test_no_address_at_all() -> None:
    with pytest.raises(CliError, match="no controller is known"):
        resolve()


def test_contexts_are_added_used_and_listed(tidegate: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TIDEGATE_URL")
    monkeypatch.delenv("TIDEGATE_TOKEN")
    token = tmp_path / "token"
    token.write_text("secret-1\n")
    added = tidegate("context", "add", "one", "--url", "https://one", "--token-file", str(token), "--ca", "ca.pem")
    assert added.exit_code == 0
    assert tidegate("context", "add", "two", "--url", "https://two", "--token", "secret-2").exit_code == 0
    assert tidegate("context", "use", "one").exit_code == 0
    assert resolve() == Context(url="https://one", token="secret-1", ca=str(Path("ca.pem").resolve()))
    listed = tidegate("context", "list").stdout
    assert "*   one" in listed
    assert "secret" not in listed
    assert tidegate("context", "use", "three").exit_code == 2
    assert tidegate("context", "add", "three").exit_code == 2
    assert tidegate("context", "add", "x", "--url", "https://x", "--token-file", "/nowhere").exit_code == 1
