"""Ports that nobody else takes."""

import socket
from pathlib import Path

import pytest

from agent import ports


def test_no_outgoing_connection_takes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = tmp_path / "range"
    settings.write_text("20000\t30000\n")
    monkeypatch.setattr(ports, "_RANGE", settings)
    assert all(ports.FIRST <= ports.free_port() < 20_000 for _ in range(200))


def test_it_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = tmp_path / "range"
    settings.write_text(f"{ports.FIRST + 2} 60999")
    monkeypatch.setattr(ports, "_RANGE", settings)
    with socket.create_server(("127.0.0.1", ports.FIRST)):
        assert {ports.free_port() for _ in range(20)} == {ports.FIRST + 1}


@pytest.mark.parametrize("text", ["1024 65535", "10240 60999"])
def test_where_outgoing_connections_may_take_all_it_is_any(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    settings = tmp_path / "range"
    settings.write_text(text)
    monkeypatch.setattr(ports, "_RANGE", settings)
    with socket.create_server(("127.0.0.1", ports.free_port())):
        pass


@pytest.mark.parametrize("text", [None, "", "many"])
def test_a_range_that_cannot_be_read_is_the_usual_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    settings = tmp_path / "range"
    if text is not None:
        settings.write_text(text)
    monkeypatch.setattr(ports, "_RANGE", settings)
    assert all(ports.FIRST <= ports.free_port() < ports.OUTGOING_FIRST for _ in range(50))
