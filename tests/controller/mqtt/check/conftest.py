"""A broker that a test may spoil before it starts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simulator.brokers import Kind
from simulator.processes import Processes
from tests.controller.mqtt.check.world import World

Make = Callable[[Kind], World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return what makes a broker; it ends with the test."""
    with Processes(tmp_path) as processes:
        yield lambda kind: World(kind, tmp_path, processes)
