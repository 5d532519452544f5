"""One lane: a session at the broker under a fixed client id, for a sixteenth of the partitions.

The rules this module keeps:

1. The session outlives connections and lives of the controller, so what devices say meanwhile is kept at the broker.
2. A lane stands when all its subscriptions are granted. When it stands for the first time, or the broker has forgotten
   the session, hellos and wills may have been missed: the host is told.
3. Before every connection the lane asks whether this process is still the controller. Who was kicked out says so and
   waits for minutes.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, Protocol

import structlog
from paho.mqtt.client import MQTTMessage

from controller.mqtt.connection import Connection, ConnectionEnded, How, Settings
from controller.mqtt.limits import Counts, Limits, partitions_of
from controller.mqtt.retries import Retries
from protocol.ids import TenantId

PASSWORD_REFUSALS: Final = {"Not authorized", "Bad user name or password"}
"""How brokers answer a wrong password (MQTT 5.0, section 3.2.2.2): Mosquitto by the first."""

log = structlog.get_logger()


class Host(Protocol):
    """What a lane asks of the broker's transport."""

    limits: Limits
    counts: Counts

    def take(self, lane: "Lane", message: MQTTMessage, acknowledge: Callable[[], None]) -> None:
        """Take a message that arrived; *acknowledge* it once it is stored."""

    def lost_sight(self, lane: "Lane") -> None:
        """Take note that hellos and wills of the lane's devices may have been missed."""

    def new_context(self) -> ssl.SSLContext | None:
        """Return how TLS is spoken on the next connection; None speaks none."""

    def may_hold(self) -> bool:
        """Say whether this process is still the controller of its installation."""

    def chance(self) -> float:
        """Draw a number from 0 to 1."""

    async def until_relieved(self) -> None:
        """Wait until messages may come in."""


def client_id(tenant: TenantId, index: int) -> str:
    """Return the client id of a lane.

    >>> client_id(TenantId("acme"), 3)
    'tidegate-acme-lane-03'
    """
    return f"tidegate-{tenant}-lane-{index:02}"


class Lane:
    """A sixteenth of the way to the broker; `run` keeps it standing."""

    def __init__(self, index: int, host: Host, settings: Settings) -> None:
        """Take the number, 0 to 15, whom to ask, and how to connect."""
        self.index: Final = index
        self.partitions: Final = partitions_of(index)
        self._host = host
        self._settings = settings
        self._retries = Retries(host.limits)
        self._connection: Connection | None = None
        self._has_stood = False
        self._is_leaving = False
        self._said = ""
        self.stands = False

    async def run(self) -> None:
        """Connect, and connect again, until `leave` or cancelled."""
        loop = asyncio.get_running_loop()
        while not self._is_leaving:
            await self._until_ours()
            await self._host.until_relieved()
            connection = self._new_connection()
            end = await self._hold(connection)
            lived_s = 0.0 if connection.accepted_at is None else loop.time() - connection.accepted_at
            if not self._is_leaving:
                await asyncio.sleep(self._note(end, lived_s))

    async def _until_ours(self) -> None:
        while not self._host.may_hold():
            log.error("lane_not_ours", lane=self.index, reason="this process does not hold the installation any more")
            await asyncio.sleep(self._host.limits.taken_over_wait_s)

    def _new_connection(self) -> Connection:
        def receive(message: MQTTMessage) -> None:
            self._host.take(self, message, lambda: connection.acknowledge(message.mid))

        connection = Connection(self._settings, limits=self._host.limits, counts=self._host.counts, receive=receive)
        return connection

    async def _hold(self, connection: Connection) -> ConnectionEnded:
        """Hold one connection from its beginning to its end, and return the end."""
        self._connection = connection
        try:
            is_present = await connection.open(self._host.new_context())
            self._stand(is_present=is_present)
            return await connection.until_end()
        except ConnectionEnded as end:
            return end
        except Exception as error:  # the top of the loop: it logs, counts and goes on
            log.exception("lane_failed", lane=self.index)
            return connection.close(How.FAULT, repr(error))
        finally:
            self.stands = False
            connection.close()

    def _stand(self, *, is_present: bool) -> None:
        self.stands = True
        self._host.counts.connected += 1
        log.info("lane_stands", lane=self.index, session_present=is_present)
        if not is_present or not self._has_stood:
            self._host.lost_sight(self)
        self._has_stood = True

    def _note(self, end: ConnectionEnded, lived_s: float) -> float:
        """Count and log an end, but no failure twice in a row; return how long to wait after it, in seconds."""
        self._host.counts.ended[end.how.value] += 1
        wait_s = self._retries.wait_s(end.how, lived_s=lived_s, chance=self._host.chance())
        fields = {"lane": self.index, "how": end.how.value, "reason": str(end), "retry_in_s": round(wait_s, 1)}
        if self._retries.is_taken_over:
            self._host.counts.taken_over += 1
            log.error("lane_taken_over", **fields, hint="another controller uses this broker for the same tenant")
        elif lived_s or str(end) != self._said:
            _say(end, has_lived=lived_s > 0, **fields)
        self._said = str(end)
        return wait_s

    # --- what the transport asks ----------------------------------------------------------------------------

    @property
    def unsettled_count(self) -> int:
        """The messages that the broker has not acknowledged, at QoS 0 those that are not written out."""
        return 0 if self._connection is None else self._connection.unsettled_count

    def publish(self, topic: str, payload: bytes) -> bool:
        """Hand a message over; False, and nothing kept, when it cannot be sent now."""
        return self.stands and self._connection is not None and self._connection.publish(topic, payload)

    def pause(self) -> None:
        """Read nothing until `resume`."""
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """Read again."""
        if self._connection is not None:
            self._connection.resume()

    async def leave(self) -> None:
        """Say goodbye, and do not come back; the session stays at the broker."""
        self._is_leaving = True
        if self._connection is not None:
            await self._connection.leave()


def _say(end: ConnectionEnded, *, has_lived: bool, **fields: object) -> None:
    if end.how is How.REFUSED and str(end) in PASSWORD_REFUSALS:
        log.error("lane_refused", **fields, hint="the broker may still have older 'passwords': restart it")
    elif end.how in {How.NOT_SUBSCRIBED, How.REFUSED}:
        log.error("lane_refused", **fields)
    elif end.how is How.LOST and not has_lived:
        log.error("lane_refused", **fields, hint="ended before any answer: brokers refuse certificates that way")
    else:
        log.warning("lane_lost", **fields)
