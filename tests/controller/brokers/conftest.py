"""A running broker of each kind, with nobody connected."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from simulator.brokers import Kind
from simulator.processes import Processes
from tests.controller.brokers.world import World

Start = Callable[[Kind], World]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return what starts a broker; everything ends with the test."""
    with ExitStack() as stack:
        processes = stack.enter_context(Processes(tmp_path))

        def begin(kind: Kind) -> World:
            world = World(kind, tmp_path, processes)
            world.broker.start()
            stack.callback(world.close)
            return world

        yield begin
