"""Fixtures of the agent's tests."""

import logging
import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def free_port() -> int:
    """Return a port of loopback that nobody uses just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Take back what the command line does to the root logger."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
