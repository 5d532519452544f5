"""All simulated devices of one process: enrolled, labelled, powered on, counted, and brought to a clean end."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import msgspec

from agent.core.model import Fault, Profile, Trust
from agent.facts import CAPABILITIES
from controller.edge.acceptor import shrink_tls_buffers
from protocol.trust import ReleaseInfo
from simulator.live.behaviour import Character
from simulator.live.device import Device
from simulator.live.enrolment import Addresses, Fleet, Papers, enrol, label
from simulator.live.fetching import FETCHES_MAX, Fetching
from simulator.live.history import Record
from simulator.live.radio import client_context
from simulator.live.steps import Load
from simulator.live.trust import SharedTrust

DIALS_MAX: Final = 8
"""Handshakes at once: each costs some milliseconds of CPU here and as many at the endpoint."""
NOTHING: Final = "none"
GOODBYE_SECONDS: Final = 0.3
AGENT_VERSION: Final = "simulated-0.1.0"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at one moment. `versions` counts devices by version; `ended` counts attempts by how they ended."""

    devices: int
    connected: int
    working: int
    unsettled: int
    versions: Mapping[str, int]
    ended: Mapping[str, int]
    events: Mapping[str, int]


class LiveFleet:
    """The devices, and what they share; implements `simulator.live.device.Host`."""

    def __init__(
        self,
        characters: Sequence[Character],
        *,
        addresses: Addresses,
        load: Load,
        record: Record | None = None,
    ) -> None:
        """Make the fleet; nothing is enrolled or powered on.

        Args:
            characters: who the devices are.
            addresses: where the controller is.
            load: how downloads are played.
            record: told what each device does, if anybody is to be.
        """
        self.load = load
        self.record = record
        self.counts: Counter[str] = Counter()
        self.dialling = asyncio.Semaphore(DIALS_MAX)
        self.devices: list[Device] = []
        self._characters = characters
        self._addresses = addresses
        self._fetching = Fetching(addresses.pool(size=FETCHES_MAX))
        self._ca = addresses.ca.read_text()
        self._profiles = {model: _profile(model) for model in {character.model for character in characters}}
        self._shared: SharedTrust | None = None
        self._papers: Fleet | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        shrink_tls_buffers()

    # --- life -----------------------------------------------------------------------------------------------

    async def enrol(self, *, claim: str, token: str = "", on_enrolled: Callable[[int], None] = lambda _: None) -> None:
        """Enrol every device, and set its labels where an operator's *token* is given.

        Raises:
            simulator.live.enrolment.EnrolFailed: when the controller refuses or cannot be reached.
            protocol.errors.ProtocolError: when a root that it gave cannot be used.
        """
        models = {character.id: character.model for character in self._characters}
        fleet = await enrol(models, addresses=self._addresses, claim=claim, on_enrolled=on_enrolled)
        if token:
            labels = [(c.id, dict(c.labels)) for c in self._characters if c.labels]
            await label(labels, addresses=self._addresses, token=token)
        self._papers = fleet
        self._shared = SharedTrust(self._addresses, fleet_root=fleet.fleet_root, release_root=fleet.release_root)
        await self._shared.refresh(fleet.papers[0])

    def power_on(self) -> None:
        """Start every device; connects are spread by a limit of handshakes at once."""
        assert self._papers is not None, "enrolled first"
        self.devices = [
            Device(character, papers, host=self, profile=self._profiles[character.model])
            for character, papers in zip(self._characters, self._papers.papers, strict=True)
        ]
        for device in self.devices:
            device.power_on()

    async def leave(self) -> None:
        """Say goodbye with every device, and end what is running."""
        for device in self.devices:
            device.leave()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fetching.close()
        if self._shared is not None:
            await self._shared.close()
        await asyncio.sleep(GOODBYE_SECONDS)

    # --- what devices ask -----------------------------------------------------------------------------------

    @property
    def trust(self) -> Trust:
        """What devices judge by."""
        assert self._shared is not None, "enrolled first"
        return self._shared.current

    @property
    def mqtt(self) -> tuple[str, int]:
        """Where the endpoint is."""
        assert self._papers is not None, "enrolled first"
        return self._papers.mqtt_host, self._papers.mqtt_port

    def tls(self, papers: Papers) -> ssl.SSLContext:
        """Return a TLS context with the device's certificate."""
        return client_context(self._ca, papers.pem)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* until it ends or the fleet leaves; an error in it is a bug, and asyncio logs it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def fetch(self, papers: Papers, releases: tuple[ReleaseInfo, ...]) -> Fault | None:
        """Really fetch the artifacts of *releases*, some devices at a time; return what went wrong, if anything."""
        return await self._fetching.fetch(papers, releases)

    async def refresh(self, papers: Papers) -> None:
        """Fetch the release file anew, and let every device judge by it."""
        assert self._shared is not None, "enrolled first"
        before = self._shared.current
        after = await self._shared.refresh(papers)
        if after is not before:
            for device in self.devices:
                device.renew_trust(after)

    # --- what is known --------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Count the fleet."""
        versions: Counter[str] = Counter()
        for device in self.devices:
            versions.update(device.installed.values() or [NOTHING])
        is_event = ("alarm:", "lost:", "dial:")
        return Snapshot(
            devices=len(self.devices),
            connected=sum(device.is_up for device in self.devices),
            working=sum(device.is_working for device in self.devices),
            unsettled=sum(device.unsettled for device in self.devices),
            versions=dict(sorted(versions.items())),
            ended={k: v for k, v in sorted(self.counts.items()) if not k.startswith(is_event)},
            events={k: v for k, v in sorted(self.counts.items()) if k.startswith(is_event)},
        )


def _profile(model: str) -> Profile:
    """Return what the devices of a model say of themselves; they share it."""
    return Profile(
        model=model,
        agent=AGENT_VERSION,
        installers=frozenset({"archive"}),
        capabilities=CAPABILITIES,
        facts={"model": model, "simulated": "true"},
    )
