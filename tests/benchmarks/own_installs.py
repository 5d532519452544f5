"""Tidegate's half of `installs`: a real controller, and simulated devices in a process of their own.

What is real: enrolment, mTLS, signed commands, verified and committed reports, acknowledgements, signed requests for
the artifact, its bytes over HTTPS. What is left out: unpacking and starting anything on the device.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from controller.clock import SystemClock
from simulator.installation import Installation
from simulator.operations import Operator, sign
from simulator.package import Package, build
from simulator.processes import Processes
from tests.benchmarks.measure import cpu_seconds
from tests.benchmarks.usage import Round

APP: Final = "payload"
JOB: Final = "installs"
READY_SECONDS: Final = 60.0
READY_SECONDS_EACH: Final = 0.1
RUN_SECONDS: Final = 60.0
RUN_SECONDS_EACH: Final = 0.2
LOOK_SECONDS: Final = 0.25
"""How often the operator looks at the run: each look costs the controller some milliseconds, which are counted."""

PIPELINE: Final = """
kind: Pipeline
name: installs
stages:
  - name: all
    pace: {{max_in_flight: {devices}}}
    gate: {{success: 100%, failures: {{more_than: 100%}}}}
"""


class OwnInstalls:
    """One installation whose devices are all connected."""

    def __init__(self, installation: Installation, processes: Processes, operator: Operator, *, devices: int) -> None:
        self._installation = installation
        self._processes = processes
        self._operator = operator
        self._devices = devices
        self._has_job = False

    @property
    def controller_pid(self) -> int:
        assert self._installation.controller is not None
        return self._installation.controller.pid

    def prepare(self) -> None:
        """Enrol and connect every device, and define the pipeline."""
        claim = self._operator.new_claim(uses=self._devices)
        self._installation.simulate("--devices", str(self._devices), "--fetch", "--step", "0", claim=claim)
        self._until(self._are_connected, seconds=READY_SECONDS + self._devices * READY_SECONDS_EACH)
        file = self._installation.folder / f"{JOB}.yaml"
        file.write_text(PIPELINE.format(devices=self._devices))
        self._operator.apply(file)

    def _are_connected(self) -> bool:
        return sum(view.online for view in self._operator.devices()) == self._devices

    def publish(self, version: str, *, size_bytes: int) -> Package:
        """Publish a version whose artifact has about *size_bytes*; the first one makes the job."""
        folder = self._installation.folder / "source" / version
        folder.mkdir(parents=True)
        (folder / "payload").write_bytes(random.Random(version).randbytes(size_bytes))
        package = build(folder, version, out=self._installation.folder / "build")
        document = sign(package, app=APP, offline=self._installation.offline, at=SystemClock().now())
        self._operator.upload(package)
        self._operator.publish(document)
        if not self._has_job:
            self._operator.create_job(JOB, pipeline=JOB, app=APP, version=version)
        self._has_job = True
        return package

    def roll_out(self, version: str) -> Round:
        """Roll one version out to every device; the time is the controller's own, from the run's start to its end."""
        before = cpu_seconds(self.controller_pid)
        run = self._operator.start(JOB, version=version)
        seconds = RUN_SECONDS + self._devices * RUN_SECONDS_EACH
        self._until(lambda: self._operator.run(run.id).ended_at is not None, seconds=seconds)
        spent = cpu_seconds(self.controller_pid) - before
        view = self._operator.run(run.id)
        succeeded = sum(stage.counters.succeeded for stage in view.stages)
        assert view.ended_at is not None
        assert succeeded == self._devices, f"{succeeded} of {self._devices} devices succeeded; {self._failure(run.id)}"
        return Round(succeeded, (view.ended_at - view.created_at) / 1_000, spent)

    def _failure(self, run: str) -> str:
        """Return what kept one device from it."""
        targets = (target for target in self._operator.targets(run) if target.state != "succeeded")
        return next((f"{target.device} {target.state}: {target.reason} {target.detail}" for target in targets), "")

    def idle_share(self, *, seconds: float) -> float:
        """Return the share of a core that the controller takes while nothing is to be done."""
        before, begun = cpu_seconds(self.controller_pid), time.monotonic()
        time.sleep(seconds)
        return (cpu_seconds(self.controller_pid) - before) / (time.monotonic() - begun)

    def _until(self, is_so: Callable[[], bool], *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            self._processes.check()
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
            time.sleep(LOOK_SECONDS)


@contextmanager
def own_installs(folder: Path, *, devices: int) -> Iterator[OwnInstalls]:
    """Run an installation with connected devices; everything ends with the block."""
    with Processes(folder) as processes:
        installation = Installation.create(folder, processes)
        installation.serve()
        with installation.operator() as operator:
            made = OwnInstalls(installation, processes, operator, devices=devices)
            made.prepare()
            yield made
