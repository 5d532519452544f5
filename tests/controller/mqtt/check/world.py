"""A real broker on loopback, well or badly set up, and the probe's view of it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from controller.cli.commands.broker_check import site_of
from controller.clock import SystemClock
from controller.mqtt.check.catalogue import Verdict
from controller.mqtt.check.findings import Finding
from controller.mqtt.check.program import Checker
from controller.mqtt.check.site import Limits, Site
from controller.signing.installation import initialise
from protocol.ids import TenantId
from simulator.brokers import Broker, Kind
from simulator.processes import Processes

TENANT: Final = TenantId("acme")
CONFIGURATION: Final = "mosquitto.conf"
QUICK: Final = Limits(queued=1_500, settle_s=0.2, redelivery_s=3.0, prompt_s=3.0, will_s=1.0, clients=40)


class World:
    """An installation and a broker of its own."""

    def __init__(self, kind: Kind, folder: Path, processes: Processes) -> None:
        self.keys = folder / "on"
        initialise(self.keys, folder / "off", tenant=TENANT, hosts=["localhost"], at=SystemClock().now())
        self.broker = Broker.create(kind, folder / "broker", keys=self.keys, processes=processes)

    def edit(self, changes: Mapping[str, str], *, file: str = CONFIGURATION) -> None:
        """Change a file of the configuration; each text must be in it."""
        path = self.broker.folder / file
        text = path.read_text()
        for before, after in changes.items():
            assert before in text, f"{before!r} is not in {file}"
            text = text.replace(before, after)
        path.write_text(text)

    def append(self, text: str) -> None:
        """Add to the configuration of Mosquitto."""
        with (self.broker.folder / CONFIGURATION).open("a") as file:
            file.write(text)

    def site(self, *, limits: Limits = QUICK, restart: Callable[[], None] | None = None, **changes: Any) -> Site:
        """Return what the checks are given."""
        site = site_of(self.broker.url, self.keys, devices=self.broker.devices, restart=restart)
        return msgspec.structs.replace(site, limits=limits, **changes)


def verdicts(checker: Checker, site: Site) -> dict[str, Finding]:
    """Make the checks of a family."""
    return {finding.name: finding for finding in checker(site)}


def bad(found: Mapping[str, Finding]) -> dict[str, Verdict]:
    """Return what was not found to be good."""
    return {name: finding.verdict for name, finding in found.items() if finding.verdict is not Verdict.OK}
