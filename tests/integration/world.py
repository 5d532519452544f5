"""An installation with real agents and simulated devices, and what the tests ask of it."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from controller.app.views import RunView, TargetView
from controller.clock import SystemClock
from simulator.brokers import Broker, Kind
from simulator.installation import Installation, RealAgent
from simulator.operations import Operator, sign
from simulator.package import MANIFEST, build, example
from simulator.processes import Processes

T = TypeVar("T")

APP = "harbour"
JOB = "update"
RUN_SECONDS = 60.0
PROBE_MS = 30_000
FAST = "{success: 80%, failures: {more_than: 10%, min_sample: 10}}"

PIPELINE = f"""
kind: Pipeline
name: {JOB}
stages:
  - {{name: canary, targets: {{labels: {{ring: canary}}}}, gate: {FAST}, retry: {{backoff: 1s}}}}
  - {{name: rest, needs: [canary], trigger: manual, pace: {{max_in_flight: 4}}, gate: {FAST}, retry: {{backoff: 1s}}}}
"""


def until(what: Callable[[], T], *, seconds: float = 20.0, why: str = "") -> T:
    """Return what *what* returns as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {why or what}"
        time.sleep(0.05)
    return found


class World:
    """One installation in use."""

    def __init__(
        self, installation: Installation, processes: Processes, operator: Operator, *, broker: Broker | None = None
    ) -> None:
        self.installation = installation
        self.broker = broker
        self.processes = processes
        self.operator = operator
        self.agents: list[RealAgent] = []

    def populate(self, *, devices: int, agents: int, canaries: int = 3, options: tuple[str, ...] = ()) -> None:
        """Enrol and start devices; the first agent is a canary. Returns when all of them are online."""
        claim = self.operator.new_claim(uses=devices + agents)
        if devices:
            labels = f"ring=canary:{canaries},ring=:{devices - canaries}"
            counts = ("--devices", str(devices), "--labels", labels)
            self.installation.simulate(*counts, *options, claim=claim)
        self.agents = [self.installation.agent(f"box-{number + 1}") for number in range(agents)]
        self.installation.enrol(self.agents, claim=claim)
        for number, agent in enumerate(self.agents):
            self.operator.label(agent.device, ring="canary" if number == 0 else "main")
            agent.run(app=APP)
        self.await_online(devices + agents)

    def await_online(self, count: int) -> None:
        """Wait until so many devices are online."""

        def are_online() -> bool:
            self.processes.check()
            return len(list(self.operator.devices(online=True))) == count

        until(are_online, seconds=40, why=f"{count} devices online")

    def publish(self, version: str, *, broken: bool = False) -> None:
        """Build, sign, upload and publish a version."""
        left_out = {"harbours.json"} if broken else set()
        source = example(APP) if broken else patient(self.installation.folder / APP)
        package = build(source, version, out=self.installation.folder / "build", left_out=left_out)
        document = sign(package, app=APP, offline=self.installation.offline, at=SystemClock().now())
        self.operator.upload(package)
        self.operator.publish(document)

    def define(self, version: str, text: str = PIPELINE) -> None:
        """Apply the pipeline and create the job."""
        file = self.installation.folder / f"{JOB}.yaml"
        file.write_text(text)
        self.operator.apply(file)
        self.operator.create_job(JOB, pipeline=JOB, app=APP, version=version)

    def look(self, run: str) -> RunView:
        return self.operator.run(run)

    def stage(self, run: str, name: str) -> str:
        """Return the state of a stage."""
        return next(stage.state for stage in self.look(run).stages if stage.name == name)

    def ended(self, run: str) -> RunView:
        """Wait until a run has ended; its counters must still add up to its devices."""
        until(lambda: self.look(run).ended_at is not None, seconds=RUN_SECONDS, why=f"run {run} ends")
        view = self.look(run)
        targets = self.operator.targets(run)
        for stage in view.stages:
            counted = sum(getattr(stage.counters, name) for name in stage.counters.__struct_fields__)
            assert counted == len([target for target in targets if target.stage == stage.name])
        return view

    def reached(self, run: str) -> set[tuple[str, int]]:
        """Return which devices were sent a command, and for which attempt."""
        return {(t.device, t.attempt) for t in self.operator.targets(run) if t.attempt}

    def target(self, run: str, device: str) -> TargetView:
        return next(target for target in self.operator.targets(run) if target.device == device)

    def versions(self) -> dict[str, int]:
        """Count the devices by the version they report."""
        counts: dict[str, int] = {}
        for device in self.operator.devices():
            version = next((i.version for i in device.installed if i.app == APP), "none")
            counts[version] = counts.get(version, 0) + 1
        return counts


def patient(folder: Path) -> Path:
    """Return a copy of the example that may take as long to get well as a busy machine makes it."""
    shutil.copytree(example(APP), folder, dirs_exist_ok=True)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["probe"]["timeout_ms"] = PROBE_MS
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


@contextmanager
def world(
    folder: Path, *, env: Mapping[str, str] = MappingProxyType({}), broker: Kind | None = None
) -> Iterator[World]:
    """Run an installation for a test; everything ends with the block.

    Args:
        folder: an empty folder.
        env: settings of its own.
        broker: what carries its messages, if not the built-in endpoint.
    """
    with Processes(folder) as processes:
        installation = Installation.create(folder, processes)
        carrier = None if broker is None else started(broker, installation)
        installation.serve(env={**({} if carrier is None else carrier.environment), **env})
        with installation.operator() as operator:
            yield World(installation, processes, operator, broker=carrier)


def started(kind: Kind, installation: Installation) -> Broker:
    """Return a broker for an installation, started."""
    broker = Broker.create(
        kind, installation.folder / "broker", keys=installation.online, processes=installation.processes
    )
    broker.start()
    return broker
