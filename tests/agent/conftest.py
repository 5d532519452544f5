"""Fixtures of the agent's tests."""

import logging
from collections.abc import Iterator

import pytest

from agent import ports


@pytest.fixture
def free_port() -> int:
    """Return a port of loopback that nobody uses just now."""
    return ports.free_port()


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Take back what the command line does to the root logger."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
