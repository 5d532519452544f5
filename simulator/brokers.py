"""Real brokers on free ports of loopback, configured as `tidegate broker config` does it: for demonstrations and tests.

A broker keeps its ports and its folder when it is stopped or killed, so that it comes back as the same one.
"""

import os
import pwd
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from controller.brokers import mosquitto, nats
from controller.brokers.plan import CA_FILE, DATA_FOLDER, Plan, Rendered
from controller.brokers.write import write
from controller.clock import SystemChance, SystemClock
from controller.signing.keystore import Keystore
from simulator.processes import Child, Processes, free_ports

HOST: Final = "localhost"
ADDRESS: Final = "127.0.0.1"
START_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.02
_SERVERS: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where Debian keeps servers: only root looks for programs there."""


class Kind(StrEnum):
    """The brokers that can be started here; the name is what people write."""

    MOSQUITTO = "mosquitto"
    NATS = "nats"

    @property
    def program(self) -> str:
        """What its program is called."""
        return "nats-server" if self is Kind.NATS else "mosquitto"

    @property
    def how_to_install(self) -> str:
        """What brings it to this machine."""
        return "make setup" if self is Kind.NATS else "apt-get install mosquitto"


class BrokerMissing(Exception):
    """The broker's program is not on this machine; the message says how to install it."""


class BrokerFailed(Exception):
    """The broker does not accept connections in time; the message says what it said last."""


def find(kind: Kind) -> Path:
    """Return the broker's program.

    Raises:
        BrokerMissing: when it is not installed.
    """
    beside = str(Path(sys.executable).parent)
    places = os.pathsep.join((beside, os.environ.get("PATH", os.defpath), *_SERVERS))
    program = shutil.which(kind.program, path=places)
    if program is None:
        raise BrokerMissing(f"{kind.program} is not installed: {kind.how_to_install}")
    return Path(program)


class Broker:
    """One broker with its folder and ports. It is made by `Broker.create` and started by `start`."""

    def __init__(self, kind: Kind, folder: Path, *, plan: Plan, rendered: Rendered, processes: Processes) -> None:
        """Take what was made; see `create`."""
        self.kind = kind
        self.folder = folder
        self.processes = processes
        self.ca = folder / CA_FILE
        self.device_port = plan.device_port
        self.controller_port = plan.controller_port if kind is Kind.MOSQUITTO else plan.device_port
        self.child: Child | None = None
        self._rendered = rendered

    @classmethod
    def create(cls, kind: Kind, folder: Path, *, keys: Path, processes: Processes) -> "Broker":
        """Write a broker's configuration.

        Args:
            kind: which one.
            folder: where its files go; must hold no configuration yet.
            keys: the online folder of the installation whose devices connect.
            processes: who runs it.

        Raises:
            BrokerMissing: when its program is not installed.
            controller.app.errors.ControllerError: when the installation cannot be read, or the files not be written.
        """
        find(kind)
        plan = _plan(folder.resolve())
        rendered = _render(kind, plan)
        authority = Keystore(keys).authority()
        write(folder, rendered, authority=authority, hosts=plan.certified_hosts, at=SystemClock().now())
        return cls(kind, folder.resolve(), plan=plan, rendered=rendered, processes=processes)

    @property
    def url(self) -> str:
        """Where the controller finds it, with user and password."""
        return self._rendered.url

    @property
    def devices(self) -> str:
        """Where devices find it, as ``host:port``."""
        return self._rendered.devices

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings by which ``tidegate serve`` goes through this broker."""
        return MappingProxyType(self._rendered.settings)

    def start(self) -> Child:
        """Start it, or start it again, and wait until it takes connections.

        Raises:
            BrokerFailed: when it does not in time.
            simulator.processes.ProcessFailed: when it ends instead.
        """
        assert self.child is None, "a broker is started once, until it is stopped or killed"
        command = [str(find(self.kind)), "-c", str(self.folder / self._rendered.configuration)]
        self.child = self.processes.start(self.kind.value, command)
        for port in {self.device_port, self.controller_port}:
            self._wait_for(port, self.child)
        return self.child

    def stop(self) -> None:
        """End it as an operator would; what it keeps is on disk then."""
        self._end(self._running.stop)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(self._running.kill)

    def forget(self) -> None:
        """Remove what it keeps on disk, while it does not run: it comes back knowing no session."""
        assert self.child is None, "a broker that runs keeps what it keeps"
        shutil.rmtree(self.folder / DATA_FOLDER)
        (self.folder / DATA_FOLDER).mkdir(mode=0o700)

    @property
    def _running(self) -> Child:
        assert self.child is not None, "only a broker that was started can be ended"
        return self.child

    def _end(self, how: Callable[[], object]) -> None:
        how()
        self.processes.forget(self._running)
        self.child = None

    def _wait_for(self, port: int, child: Child) -> None:
        until = time.monotonic() + START_SECONDS
        while not _takes_tls(port, self.ca):
            child.check()
            if time.monotonic() > until:
                raise BrokerFailed(f"{self.kind} is not up after {START_SECONDS:.0f} s: {child.last_words()}")
            time.sleep(_POLL_SECONDS)


def _plan(folder: Path) -> Plan:
    device_port, controller_port = free_ports(2)
    return Plan(
        folder=str(folder),
        hosts=(HOST, ADDRESS),
        password=SystemChance().token(16),
        device_port=device_port,
        device_bind=ADDRESS,
        controller_port=controller_port,
        controller_bind=ADDRESS,
        user=pwd.getpwuid(os.getuid()).pw_name,
    )


def _render(kind: Kind, plan: Plan) -> Rendered:
    if kind is Kind.NATS:
        return nats.render(plan)
    return mosquitto.render(plan, salt=bytes.fromhex(SystemChance().token(mosquitto.SALT_BYTES)))


def _takes_tls(port: int, ca: Path) -> bool:
    """Say whether *port* answers a handshake; that it then misses our certificate is an answer too."""
    context = ssl.create_default_context(cafile=str(ca))
    try:
        plain = socket.create_connection((ADDRESS, port), timeout=1)
        with plain, context.wrap_socket(plain, server_hostname=HOST):
            return True
    except ssl.SSLCertVerificationError:
        raise
    except OSError:
        return False
