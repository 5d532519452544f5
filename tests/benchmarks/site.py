"""A real installation with a fleet of light devices: what the benchmarks over the endpoint share.

```
tidegate serve ── mTLS ── clients          the controller, a process of its own
bare           ── mTLS ── clients          the bound: the same endpoint, certificates and devices, no controller
```

Whatever happens, all processes end and the folder is removed.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from protocol.lifecycle import AttemptState
from simulator.installation import HOST, Installation
from simulator.operations import Operator
from simulator.processes import Processes
from tests.benchmarks import bare, clients, orders
from tests.benchmarks.control import Remote
from tests.benchmarks.fleet import APP, VERSION, enrol, write_papers
from tests.benchmarks.measure import BenchmarkFailed, cpu_seconds, progress
from tests.benchmarks.probe import Seen

SETTLE_S: Final = 0.3
"""How long after the last acknowledgement CPU time still counts: what was sent is marked in the database then."""
END_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05
_PROBED: Final = "from tests.benchmarks.probe import main; main()"
_PIPELINE: Final = """
kind: Pipeline
name: {name}
stages:
  - name: all
    trigger: {trigger}
    pace: {{max_in_flight: {pace}}}
    gate: {{failures: {{more_than: 100%}}}}
"""


@dataclass(frozen=True)
class Burst:
    """Some messages of one round: when each arrived after the request, and the server's CPU time, in seconds."""

    seconds: tuple[float, ...]
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Return the rate from the request to the last arrival."""
        return len(self.seconds) / max(self.seconds)


@dataclass(frozen=True)
class Side:
    """A server, and the devices that are connected to it."""

    pid: int
    crowd: Remote

    def burst(self, trigger: Callable[[], object], count: int) -> Burst:
        """Call *trigger*, which makes the server send *count* commands, and wait until the devices have them."""
        self.crowd.ask(orders.Watch())
        cpu, begun = cpu_seconds(self.pid), time.monotonic_ns()
        trigger()
        arrivals = self.crowd.ask(orders.Arrivals(count))
        time.sleep(SETTLE_S)
        return Burst(tuple((at - begun) / 1e9 for at in arrivals), cpu_seconds(self.pid) - cpu)

    def send(self) -> tuple[orders.Sent, float]:
        """Have the devices send what they prepared; return that, and the server's CPU time in seconds."""
        cpu = cpu_seconds(self.pid)
        sent = self.crowd.ask(orders.Send())
        time.sleep(SETTLE_S)
        return sent, cpu_seconds(self.pid) - cpu


class Site:
    """An installation with devices; see `open_site`."""

    def __init__(self, installation: Installation, operator: Operator, *, devices: int) -> None:
        """Take the installation, whose controller runs, and who works on it."""
        self.installation = installation
        self.operator = operator
        self.devices = devices
        self._papers = installation.folder / "papers"
        self._bare: Remote | None = None

    # --- servers and their devices ------------------------------------------------------------------------------

    def controller(self, *, count: int | None = None) -> Side:
        """Return the controller, with *count* devices connected and greeted; all, where none is given."""
        assert self.installation.controller is not None, "a site begins with a controller that runs"
        crowd = self._crowd("clients")
        side = Side(self.installation.controller.pid, crowd)
        self.connect(side, count=self.devices if count is None else count)
        return side

    def connect(self, side: Side, *, count: int) -> None:
        """Have *count* devices connected to the controller."""
        progress(f"connecting {count} devices to the controller")
        side.crowd.ask(
            orders.Connect(self.installation.mqtt_port, count, is_answered=True), seconds=clients.CONNECT_SECONDS
        )

    def bare(self, *, count: int | None = None) -> Side:
        """Return the bare endpoint, with *count* devices connected; all, where none is given."""
        wanted = self.devices if count is None else count
        folder = str(self.installation.online)
        self._bare = Remote.start(self.installation.processes, "bare", bare.__name__, folder)
        crowd = self._crowd("bare-clients")
        progress(f"connecting {wanted} devices to the bare endpoint")
        order = orders.Connect(self._bare.ask(bare.Port()), wanted, is_answered=False)
        crowd.ask(order, seconds=clients.CONNECT_SECONDS)
        return Side(self._bare.child.pid, crowd)

    def burst_bare(self, bare: Side, payload: bytes, count: int) -> Burst:
        """Have the bare endpoint write *payload* to *count* devices, and wait until they have it."""
        return bare.burst(lambda: self._write_bare(payload, count), count)

    def _write_bare(self, payload: bytes, count: int) -> None:
        assert self._bare is not None, "the bare endpoint was asked for"
        written = self._bare.ask(bare.Write(payload, count))
        if written != count:
            raise BenchmarkFailed(f"the bare endpoint wrote to {written} devices, expected {count}")

    def _crowd(self, name: str) -> Remote:
        where = (str(self._papers), str(self.installation.ca))
        return Remote.start(self.installation.processes, name, clients.__name__, *where)

    # --- runs ---------------------------------------------------------------------------------------------------

    def define(self, job: str, *, trigger: str = "automatic", pace: int | None = None) -> None:
        """Make a job of that name over one stage of all devices."""
        path = self.installation.folder / f"{job}.yaml"
        path.write_text(_PIPELINE.format(name=job, trigger=trigger, pace=pace or self.devices))
        self.operator.apply(path)
        self.operator.create_job(job, pipeline=job, app=APP, version=VERSION)

    def start(self, job: str) -> str:
        """Start a run of *job* and return its id."""
        return self.operator.start(job, version=VERSION).id

    def end(self, run: str, side: Side) -> None:
        """Terminate a run, whose devices obey."""
        self.operator.act(run, "terminate", reason="the round is over")
        side.crowd.ask(orders.Quiet(SETTLE_S))
        side.crowd.ask(orders.PrepareReports(AttemptState.CANCELLED))
        side.crowd.ask(orders.Send())
        until = time.monotonic() + END_SECONDS
        while (state := self.operator.run(run).state) != "terminated":
            if time.monotonic() > until:
                raise BenchmarkFailed(f"the run is {state} after {END_SECONDS:.0f} s, expected terminated")
            time.sleep(_POLL_SECONDS)

    def seen(self) -> Seen:
        """Return what a probed controller has done so far."""
        assert self.installation.controller is not None, "a site begins with a controller that runs"
        path = _seen_path(self.installation)
        path.unlink(missing_ok=True)
        os.kill(self.installation.controller.pid, signal.SIGUSR1)
        until = time.monotonic() + END_SECONDS
        while not path.exists():
            if time.monotonic() > until:
                raise BenchmarkFailed("the probed controller tells nothing: was the site opened with probes?")
            time.sleep(_POLL_SECONDS)
        return msgspec.msgpack.decode(path.read_bytes(), type=Seen)


@contextmanager
def open_site(devices: int, *, is_probed: bool = False) -> Iterator[Site]:
    """Yield an installation whose controller runs and knows *devices* devices."""
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder)) as processes:
        progress(f"making an installation with {devices} devices")
        installation = Installation.create(processes.folder, processes)
        write_papers(installation.folder / "papers", asyncio.run(enrol(installation.online, devices)))
        if is_probed:
            _serve_probed(installation)
        else:
            installation.serve()
        with installation.operator() as operator:
            yield Site(installation, operator, devices=devices)


def _seen_path(installation: Installation) -> Path:
    return installation.folder / "seen"


def _serve_probed(installation: Installation) -> None:
    """Do what `Installation.serve` does, with the probes in place."""
    ports = ["--http-port", str(installation.http_port), "--mqtt-port", str(installation.mqtt_port)]
    where = [str(_seen_path(installation)), "serve", "--folder", str(installation.online), "--public-host", HOST]
    child = installation.processes.start("controller", [sys.executable, "-c", _PROBED, *where, *ports])
    installation._wait_ready(child)
    installation.controller = child
