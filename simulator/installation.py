"""An installation of Tidegate in a folder of its own, on free ports of loopback: for demonstrations and tests.

```
<folder>/online      what the controller needs       <folder>/offline   the release and root keys
<folder>/agents/<id> one real agent each             <folder>/logs      what every process says
<folder>/broker      an external broker, where there is one
```
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

import httpx

from agent.https import pinned
from agent.ports import free_port
from controller.cli.contexts import Context
from simulator.brokers import Broker, Kind
from simulator.operations import Operator
from simulator.processes import Child, Processes, clean_environment, free_ports

HOST: Final = "localhost"
TENANT: Final = "demo"
START_SECONDS: Final = 30.0
ENROL_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05
_ENROL_POLL_SECONDS: Final = 0.2


class InstallationFailed(Exception):
    """A part of the installation could not be made; the message says which, and why."""


class Installation:
    """One controller with its folder and addresses. It is made by `Installation.create` and started by `serve`."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        """Take the folder of an installation, and who runs its processes."""
        self.folder = folder
        self.processes = processes
        self.online = folder / "online"
        self.offline = folder / "offline"
        self.ca = self.online / "ca.crt"
        self.http_port, self.mqtt_port = free_ports(2)
        self.controller: Child | None = None
        self.broker: Broker | None = None

    @classmethod
    def create(cls, folder: Path, processes: Processes) -> "Installation":
        """Make the keys and folders, as ``tidegate init`` does.

        Raises:
            InstallationFailed: when that fails, as in a folder that holds an installation already.
        """
        made = cls(folder, processes)
        command = [*tidegate("init"), str(made.online), "--offline", str(made.offline), "--tenant", TENANT]
        done = subprocess.run(
            [*command, "--no-input"],
            cwd=folder,
            env=clean_environment(),
            capture_output=True,
            check=False,
            text=True,
        )
        if done.returncode != 0:
            raise InstallationFailed(f"tidegate init: {done.stderr.strip()[-500:]}")
        return made

    # --- an external broker ---------------------------------------------------------------------------------

    def go_through(self, kind: Kind) -> Broker:
        """Start a broker; the controller that is served from now on reaches devices through it.

        Raises:
            BrokerMissing, BrokerFailed, ProcessFailed: as `Broker.create` and `Broker.start` do.
        """
        self.broker = Broker.create(kind, self.folder / "broker", keys=self.online, processes=self.processes)
        self.broker.start()
        return self.broker

    # --- the controller -------------------------------------------------------------------------------------

    def serve(self, *, under: Sequence[str] = (), env: Mapping[str, str] = MappingProxyType({})) -> Child:
        """Start the controller and wait until it is ready; after `kill`, it comes back at the same ports.

        Args:
            under: the beginning of a command that runs it, such as a tracer's.
            env: settings that have no option.

        Raises:
            InstallationFailed: when it is not ready in time.
            ProcessFailed: when it ends instead.
        """
        ports = ["--http-port", str(self.http_port), "--mqtt-port", str(self.mqtt_port)]
        command = [*under, *tidegate("serve"), "--folder", str(self.online), *ports, "--public-host", HOST]
        carried = self.broker.environment if self.broker else {}
        self.controller = child = self.processes.start("controller", command, env={**carried, **env})
        self._wait_ready(child)
        return child

    def _wait_ready(self, child: Child) -> None:
        until = time.monotonic() + START_SECONDS
        why = "no answer"
        with httpx.Client(verify=pinned(self.ca), timeout=2, trust_env=False) as client:
            while time.monotonic() < until:
                child.check()
                try:
                    answer = client.get(f"{self.url}/readyz")
                    if answer.is_success:
                        return
                    why = answer.text
                except httpx.HTTPError as error:
                    why = str(error)
                time.sleep(_POLL_SECONDS)
        raise InstallationFailed(f"the controller is not ready after {START_SECONDS:.0f} s: {why}; see {child.log}")

    def kill(self) -> None:
        """End the controller as a power cut would."""
        assert self.controller is not None, "only a controller that was started can be killed"
        self.controller.kill()
        self.processes.forget(self.controller)
        self.controller = None

    # --- addresses ------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"https://{HOST}:{self.http_port}"

    @property
    def token(self) -> str:
        """The first administrator's token."""
        return (self.online / "admin.token").read_text().strip()

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables by which ``tidegate`` finds this controller."""
        return {"TIDEGATE_URL": self.url, "TIDEGATE_TOKEN": self.token, "TIDEGATE_CA": str(self.ca)}

    @contextmanager
    def operator(self) -> Iterator[Operator]:
        """Yield an operator with the first administrator's token."""
        operator = Operator(Context(url=self.url, token=self.token, ca=str(self.ca)))
        try:
            yield operator
        finally:
            operator.close()

    # --- devices --------------------------------------------------------------------------------------------

    def simulate(self, *options: str, claim: str, stdout: Path | None = None) -> Child:
        """Start a process of simulated devices."""
        env = {**self.environment, "TIDEGATE_CLAIM": claim}
        command = [*tidegate("simulate"), *options]
        return self.processes.start("simulate", command, env=env, stdout=stdout)

    def enrol(self, agents: Sequence["RealAgent"], *, claim: str, on_wait: Callable[[], object] = lambda: None) -> None:
        """Make devices of agents, all at once.

        Args:
            agents: who they are.
            claim: a claim token that is good for all of them.
            on_wait: called every now and then while this takes its time.

        Raises:
            InstallationFailed: when one is refused, or it takes too long.
            ProcessFailed: when the controller ends meanwhile.
        """
        enrolments = [agent.begin_enrolment(claim=claim) for agent in agents]
        until = time.monotonic() + ENROL_SECONDS
        for child in enrolments:
            while child.process.poll() is None and time.monotonic() < until:
                assert self.controller is not None, "agents enrol with a controller that runs"
                self.controller.check()
                on_wait()
                time.sleep(_ENROL_POLL_SECONDS)
            if child.process.poll() != 0:
                raise InstallationFailed(f"{child.name} did not succeed: {child.last_words()}; its log is {child.log}")
            self.processes.forget(child)

    def agent(self, device: str) -> "RealAgent":
        """Return a real agent with a folder of its own, not enrolled yet."""
        return RealAgent(device, self)


class RealAgent:
    """A real ``tidegate-agent`` with its own folders and a port for its app."""

    def __init__(self, device: str, installation: Installation) -> None:
        """Take the device's id, and the installation."""
        self.device = device
        self.folder = installation.folder / "agents" / device
        self.app_port = free_port()
        self.child: Child | None = None
        self._installation = installation

    def begin_enrolment(self, *, claim: str) -> Child:
        """Start to make it a device; see `Installation.enrol`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        where = ["--controller", self._installation.url, "--ca", str(self._installation.ca)]
        who = ["--device", self.device, "--model", "demo-box", "--hardware-id", self.device]
        env = {"TIDEGATE_AGENT_TOKEN": claim}
        command = [*self._command("enrol"), *where, *who]
        return self._installation.processes.start(f"{self.device}-enrol", command, env=env)

    def run(self, *, app: str, under: Sequence[str] = ()) -> Child:
        """Start the agent, by the command that *under* begins where there is one; *app* gets this agent's port."""
        command = [*under, *self._command("run"), "--port", f"{app}={self.app_port}"]
        self.child = self._installation.processes.start(self.device, command)
        return self.child

    def kill(self) -> None:
        """End the agent as a power cut would; what it runs for its apps stays, as it does on a device."""
        assert self.child is not None, "only an agent that was started can be killed"
        self.child.kill()
        self._installation.processes.forget(self.child)
        self.child = None

    def _command(self, verb: str) -> list[str]:
        """Return a command line that looks at no settings but these, whatever the machine has."""
        folders = ["--state-dir", str(self.folder), "--apps-dir", str(self.folder / "apps")]
        return [sys.executable, "-m", "agent", verb, "--config", os.devnull, *folders]

    def health(self) -> tuple[int, str]:
        """Return how the app's service answers ``/healthz``: the status and the version it tells; (0, "") for none."""
        url = f"http://127.0.0.1:{self.app_port}/healthz"
        try:
            answer = httpx.get(url, timeout=2, trust_env=False)
            return answer.status_code, str(answer.json().get("version", ""))
        except (httpx.HTTPError, ValueError):
            return 0, ""


def tidegate(verb: str) -> list[str]:
    """Return the beginning of a command line of ours, independent of what is on the PATH."""
    return [sys.executable, "-c", "from controller.cli import main; main()", verb]
