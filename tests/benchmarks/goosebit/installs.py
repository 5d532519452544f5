"""goosebit's half of `installs`: the same number of devices, an artifact of the same size, as many reports."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.benchmarks.goosebit.devices import HARDWARE, Poller, each, poll_evenly, pollers
from tests.benchmarks.goosebit.image import image
from tests.benchmarks.goosebit.server import POLL_SECONDS_DEFAULT, Goosebit, GoosebitFailed, goosebit
from tests.benchmarks.measure import cpu_seconds
from tests.benchmarks.usage import Round

AT_ONCE: Final = 8
"""How many devices install at a time. Of 1 to 200 that were tried, 2 to 8 served goosebit best; all can poll always."""


class GoosebitInstalls:
    """A goosebit whose devices are all registered."""

    def __init__(self, server: Goosebit, devices: Sequence[Poller], folder: Path) -> None:
        self.server = server
        self._devices = devices
        self._folder = folder

    def roll_out(self, version: str, *, size_bytes: int) -> Round:
        """Roll one version out; the time is from the first poll to the last report's answer."""
        path = self._folder / f"bench-{version}.swu"
        path.write_bytes(image(version=version, size_bytes=size_bytes, hardware=HARDWARE, seed=random.Random(version)))
        self.server.roll_out(path)
        before = cpu_seconds(self.server.pid)
        seconds = each(self._devices, Poller.install, at_once=AT_ONCE)
        spent = cpu_seconds(self.server.pid) - before
        if set(self.server.versions()) != {version}:
            raise GoosebitFailed(f"not every device has {version}")
        return Round(len(self._devices), seconds, spent)

    def idle_share(self, *, seconds: float) -> float:
        """Return the share of a core that goosebit takes while every device polls as often as it asks them to."""
        per_second = len(self._devices) / POLL_SECONDS_DEFAULT
        before, begun = cpu_seconds(self.server.pid), time.monotonic()
        poll_evenly(self._devices, per_second=per_second, seconds=seconds)
        return (cpu_seconds(self.server.pid) - before) / (time.monotonic() - begun)


@contextmanager
def goosebit_installs(folder: Path, *, python: Path, devices: int) -> Iterator[GoosebitInstalls]:
    """Run a goosebit with registered devices; everything ends with the block."""
    with goosebit(folder, python=python, devices=devices) as server, pollers(devices, port=server.port) as made:
        yield GoosebitInstalls(server, made, folder)
