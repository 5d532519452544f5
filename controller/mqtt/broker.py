"""An external broker as the controller sees it: a `Transport` down, an `Inbox` up, and a clean start and stop.

```
broker ── 16 lanes (a session each) → Intake (batches) → Inbox
              ↑ write, by the device's partition         └ acknowledged after the commit
```
"""

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog
from paho.mqtt.client import MQTTMessage

from controller.address import BrokerAddress
from controller.app.ports import Chance, Disposition, Inbox, Uplinked
from controller.complaints import Complaints
from controller.intake import Answer, Farewell, Intake, Message
from controller.mqtt.connection import Settings
from controller.mqtt.lane import Lane, client_id
from controller.mqtt.limits import LANES, Counts, Limits, partitions_of
from controller.mqtt.sessions import Sessions
from controller.mqtt.uplinks import Foreign, read
from protocol.ids import Name, TenantId, partition_of
from protocol.profiles import Profile
from protocol.topics import Downlink, DownlinkKind, UplinkKind, uplink_filter

CHANCE_BYTES: Final = 4

log = structlog.get_logger()


class Broker:
    """The way to one tenant's devices over an external broker; implements `controller.app.ports.Transport`.

    Make it, and call everything, on the loop that runs `run`. `counts` and the properties below it are for metrics.
    """

    def __init__(
        self,
        inbox: Inbox,
        *,
        tenant: TenantId,
        address: BrokerAddress,
        profile: Profile,
        new_context: Callable[[], ssl.SSLContext],
        instance: int,
        chance: Chance,
        may_hold: Callable[[], bool],
        limits: Limits | None = None,
    ) -> None:
        """Take where messages go and whose devices they are of, then the broker and how to speak with it.

        Args:
            inbox: where messages go.
            tenant: whose devices are heard.
            address: the broker.
            profile: what the broker can do.
            new_context: returns how TLS is spoken on one connection.
            instance: this life's number.
            chance: what spreads reconnects.
            may_hold: says whether this process is still the controller of its installation.
            limits: how much of everything.
        """
        self.limits: Limits = limits or Limits()
        self.counts: Counts = Counts()
        self._inbox = inbox
        self._tenant = tenant
        self._instance: Final = instance
        self._make_context = new_context if address.is_tls else None
        self._chance = chance
        self.may_hold: Final = may_hold
        self._complaints = Complaints(
            lines_per_second=self.limits.log_lines_per_second, burst=self.limits.log_lines_burst
        )
        self._intake = Intake(inbox, limits=self.limits.intake, counts=self.counts, on_pressure=self._press)
        self._sessions = Sessions()
        self._lanes = [Lane(index, self, _settings(address, profile, tenant, index)) for index in range(LANES)]
        self._unseen: set[int] = set()
        self._sight_lost = asyncio.Event()
        self._relieved = asyncio.Event()
        self._relieved.set()
        self._is_stopping = False
        self._lane_tasks: list[asyncio.Task[None]] = []
        self._stopped = asyncio.Event()

    # --- life -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until `stop` has been called and is done; an error of ours ends it with that error."""
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(loop) for loop in (self._intake.run(), self._tell_of_losses())]
            self._lane_tasks = [tasks.create_task(lane.run(), name=f"lane-{lane.index}") for lane in self._lanes]
            await self._stopped.wait()
            for task in (*background, *self._lane_tasks):
                task.cancel()

    async def stop(self) -> None:
        """Read no more, store what has come, acknowledge it, say goodbye, and end `run`.

        The broker keeps the sessions: what devices say until the next start waits there. Bounded in time: what cannot
        be stored in `IntakeLimits.drain_timeout_s` is not acknowledged, so the broker offers it again.
        """
        if self._is_stopping:
            await self._stopped.wait()
            return
        self._is_stopping = True
        self._relieved.clear()
        for lane in self._lanes:
            lane.pause()
        is_drained = await self._intake.drain()
        await asyncio.gather(*(lane.leave() for lane in self._lanes))
        log.info("broker_left", is_drained=is_drained, left=self._intake.depth)
        self._stopped.set()

    async def _tell_of_losses(self) -> None:
        """Tell the inbox of what was lost sight of; of several lanes at once, until it has taken note."""
        while True:
            await self._sight_lost.wait()
            self._sight_lost.clear()
            partitions, self._unseen = self._unseen, set()
            await self._insist(partitions)

    async def _insist(self, partitions: set[int]) -> None:
        wait_s = self.limits.intake.retry_first_s
        while True:
            try:
                await self._inbox.lost_sight(partitions)
            except Exception as error:  # noqa: BLE001 - the top of the loop: it logs and goes on
                log.warning("loss_of_sight_refused", error=repr(error), retry_in_s=wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, self.limits.intake.retry_max_s)
            else:
                return

    # --- the port -------------------------------------------------------------------------------------------

    @property
    def instance(self) -> int:
        """The number of this life of the transport."""
        return self._instance

    @property
    def session_count(self) -> int:
        """Return how many devices have a session: said hello, and no will since."""
        return len(self._sessions)

    def session(self, name: Name) -> int:
        """Return the number of the device's session, 0 when it has none."""
        return self._sessions.of(name)

    def write(self, name: Name, kind: DownlinkKind, payload: bytes) -> bool:
        """Hand bytes for the device to the broker now.

        Returns False, and keeps nothing, when the device's lane does not stand or its window is full, or when a
        command is for a device without a session.
        """
        is_wanted = kind is not DownlinkKind.COMMAND or self._sessions.of(name) != 0
        is_written = is_wanted and self._lanes[partition_of(name) % LANES].publish(str(Downlink(name, kind)), payload)
        self.counts.written += is_written
        self.counts.write_refused += not is_written
        return is_written

    def close(self, name: Name, *, reason: str) -> None:
        """Forget the device's session; its connection to the broker is not ours to close."""
        number = self._sessions.newest(name)
        if number:
            log.info("session_closed", device=name, reason=reason)
            self._sessions.end(name, number)
            self._intake.put(Farewell(name, number))

    # --- gauges ---------------------------------------------------------------------------------------------

    @property
    def faults(self) -> tuple[str, ...]:
        """Return what keeps devices from being reached, in words."""
        if self.lanes_standing == LANES:
            return ()
        return (f"{self.lanes_standing} of {LANES} sessions at the broker stand: see the log for why",)

    @property
    def lanes_standing(self) -> int:
        """Return how many lanes stand."""
        return sum(lane.stands for lane in self._lanes)

    @property
    def unsettled(self) -> int:
        """Return how many messages the broker has not acknowledged."""
        return sum(lane.unsettled_count for lane in self._lanes)

    @property
    def depth(self) -> int:
        """Return how many messages wait to be stored."""
        return self._intake.depth

    # --- what lanes ask -------------------------------------------------------------------------------------

    def take(self, lane: Lane, message: MQTTMessage, acknowledge: Callable[[], None]) -> None:
        """Queue a device's message; acknowledge anything else at once, or it would be offered for ever."""
        self.counts.received += 1
        try:
            content = read(message, tenant=self._tenant, partitions=lane.partitions)
        except Foreign as error:
            self.counts.messages_refused[error.reason] += 1
            at = asyncio.get_running_loop().time()
            self._complaints.say(at, "message_foreign", lane=lane.index, reason=error.reason, topic=error.topic)
            if message.qos:
                acknowledge()
            return
        self._intake.put(Message(content, self._answer(content, acknowledge if message.qos else _nothing)))

    def _answer(self, content: Uplinked, acknowledge: Callable[[], None]) -> Answer:
        match content.kind:
            case UplinkKind.HELLO:
                return partial(self._greeted, content.name, self._sessions.expect(content.name), acknowledge)
            case UplinkKind.GONE:
                return partial(self._gone, content.name, self._sessions.newest(content.name), acknowledge)
            case _:
                return lambda _: acknowledge()

    def _greeted(self, name: Name, number: int, acknowledge: Callable[[], None], what: Disposition) -> None:
        (self._sessions.begin if what is Disposition.STORED else self._sessions.refuse)(name, number)
        acknowledge()

    def _gone(self, name: Name, number: int, acknowledge: Callable[[], None], what: Disposition) -> None:
        if what is Disposition.STORED:
            self._sessions.end(name, number)
        acknowledge()

    def lost_sight(self, lane: Lane) -> None:
        """Forget who of the lane's devices is connected, and have the inbox told."""
        self.counts.sight_lost += 1
        self._sessions.forget(lane.partitions)
        self._unseen.update(lane.partitions)
        self._sight_lost.set()

    def new_context(self) -> ssl.SSLContext | None:
        """Return how TLS is spoken on the next connection; None speaks none."""
        return None if self._make_context is None else self._make_context()

    def chance(self) -> float:
        """Draw a number from 0 to 1."""
        return int(self._chance.token(CHANCE_BYTES), 16) / (256**CHANCE_BYTES - 1)

    async def until_relieved(self) -> None:
        """Wait while too many messages wait to be stored: a new connection would bring the same ones once more."""
        await self._relieved.wait()

    def _press(self, is_on: bool) -> None:  # noqa: FBT001 - a callback with one argument
        if self._is_stopping:
            return
        if is_on:
            self._relieved.clear()
        else:
            self._relieved.set()
        for lane in self._lanes:
            if is_on:
                lane.pause()
            else:
                lane.resume()


def _nothing() -> None:
    """Acknowledge nothing: at QoS 0 nobody waits for it."""


def _settings(address: BrokerAddress, profile: Profile, tenant: TenantId, index: int) -> Settings:
    return Settings(
        address=address,
        client_id=client_id(tenant, index),
        profile=profile,
        filters=tuple(uplink_filter(partition) for partition in partitions_of(index)),
    )
