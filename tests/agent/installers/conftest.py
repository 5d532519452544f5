"""A bench for each test, whose services are ended after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.installers.bench import Bench


@pytest.fixture
def bench(tmp_path: Path, free_port: int) -> Iterator[Bench]:
    bench = Bench(tmp_path, free_port)
    yield bench
    bench.installer.stop()
    if bench.home.exists():
        bench.services.stop(bench.home)
