"""Fixtures of the agent's tests."""

import socket

import pytest


@pytest.fixture
def free_port() -> int:
    """Return a port of loopback that nobody uses just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
