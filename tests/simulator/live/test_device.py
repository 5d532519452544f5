"""A simulated device counts how its attempts end, also those that end in the step in which they begin."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from agent.clock import boottime_ms
from agent.core.events import Woke
from agent.core.model import Durable, Fault, Trust
from protocol.messages import Command, InstalledRelease
from protocol.topics import DownlinkKind
from protocol.trust import ReleaseInfo
from protocol.units import HOUR, MINUTE
from simulator.live.behaviour import Behaviour, Character
from simulator.live.device import Device
from simulator.live.enrolment import Papers
from simulator.live.history import Record
from simulator.live.steps import Load
from tests.agent.world import DEVICE, INCARNATION, NAME, NONCE, PROFILE, T0, TRUST, reply, signed, watching

PAPERS = Papers(name=NAME, signer=DEVICE, pem=b"")
AWAY = Character(
    id="sim-0001", seed="1", behaviour=Behaviour.OFFLINE, labels={}, bandwidth=1, step_ms=HOUR, away_ms=HOUR
)
"""A device that dials nobody for an hour."""


class Process:
    """What a device needs of the process that it lives in; implements `simulator.live.device.Host`."""

    mqtt = ("127.0.0.1", 1)

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.dialling = asyncio.Semaphore(1)
        self.load = Load()
        self.record: Record | None = None
        self.trust: Trust = TRUST

    def tls(self, papers: Papers) -> ssl.SSLContext:
        raise AssertionError(f"{papers.name} dials nobody")

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        raise AssertionError(f"nothing is fetched: {work}")

    async def fetch(self, papers: Papers, releases: tuple[ReleaseInfo, ...]) -> Fault | None:
        raise AssertionError(f"{papers.name} fetches nothing: {releases}")

    async def refresh(self, papers: Papers) -> None:
        raise AssertionError(f"{papers.name} has all that it needs")


def begun(process: Process) -> Device:
    """Return a device that has the shop, and is connected."""
    device = Device(AWAY, PAPERS, host=process, profile=PROFILE)
    has = (InstalledRelease(app="shop", version="1.0"),)
    device._journal.commit(Durable(name=NAME, incarnation=INCARNATION, installed=has))
    device.power_on()
    device.connected(NONCE)
    device.came(DownlinkKind.ACK, reply())
    return device


async def told(*commands: Command) -> Counter[str]:
    """Return what the process counted, after a device that has the shop got these commands."""
    process = Process()
    device = begun(process)
    for command in commands:
        device.came(DownlinkKind.COMMAND, signed(command))
    device.leave()
    return process.counts


async def test_a_device_that_is_asked_for_numbers_tells_none_and_is_asked_again() -> None:
    device = begun(Process())
    device.came(DownlinkKind.COMMAND, signed(watching(measure_ms=MINUTE)))
    runtime = device._runtime
    assert runtime is not None
    count = runtime.outbox_count
    device.feed(Woke(at=boottime_ms() + MINUTE, nonce=NONCE))
    watch = runtime.state.durable.watch
    assert watch is not None
    assert watch.measure_at is not None
    assert (runtime.outbox_count, runtime.state.session.is_measuring) == (count, False)
    assert T0 + MINUTE * 2 > watch.measure_at > T0 + MINUTE
    device.leave()


async def test_a_watch_that_succeeds_as_it_begins_is_counted() -> None:
    assert await told(watching()) == {"succeeded": 1}


async def test_a_watch_over_what_is_not_there_is_counted_as_rejected() -> None:
    counts = await told(watching(apps=("till",)), watching(seq=T0 + 1, run="run-2"))
    assert counts == {"rejected:unsupported": 1, "succeeded": 1}


async def test_a_command_that_comes_twice_is_counted_once() -> None:
    assert await told(watching(), watching(), watching(seq=T0 + 1)) == {"succeeded": 1}
