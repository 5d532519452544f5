"""A broker between devices and controller: it outlives every life of the controller, and forgets when it restarts.

The rules this module keeps:

1. It acknowledges what a device says at once, and keeps it for the lanes: that proves nothing to anybody.
2. A lane has a session from its first connection on. What waits in it is offered again after every reconnect, in some
   worlds the new before the old, as NATS and RabbitMQ do; it is gone once it is acknowledged.
3. It publishes the will of a connection that ends. Of one that is taken over it does so late, or never, as it is drawn.
4. A restart cuts off all devices and lanes. What is left of the lanes' sessions depends on the kind of broker: all, the
   sessions without what waited in them (a snapshot), or nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from controller.app.ports import Uplinked
from protocol.codec import decode
from protocol.ids import Name, partition_of
from protocol.messages import Gone
from protocol.topics import DownlinkKind, UplinkKind
from simulator.virtual.connection import Connection, Settled
from simulator.virtual.faults import Keeps
from simulator.virtual.network import Network
from simulator.virtual.scheduler import Act
from simulator.virtual.sometimes import Sometimes

LANES: Final = 2
"""Fewer than in production: a lane of which fleets this small have no device shows nothing."""
NOTICE_MS_MAX: Final = 1_000


def lane_of(name: Name) -> int:
    """Return the lane that a device's uplink takes."""
    return partition_of(name) % LANES


class Consumer(Protocol):
    """What the broker asks of one connection of a lane."""

    def arrived(self, number: int, message: Uplinked) -> None:
        """Take a message, and acknowledge its number to the broker once it is stored."""

    def broken(self) -> None:
        """Learn that the connection is gone."""


@dataclass(slots=True)
class _Session:
    """A lane's session: what waits in it by number, who is connected, and when the last message arrives there."""

    waiting: dict[int, Uplinked] = field(default_factory=dict)
    consumer: Consumer | None = None
    last_at: int = 0


class Broker:
    """Devices on one side, lanes on the other."""

    def __init__(self, network: Network) -> None:
        draws = network.world.draws.broker
        assert draws is not None, "only some worlds have a broker"
        self._draws = draws
        self._network = network
        self._world = network.world
        self._chance = network.world.chance("broker")
        self._open: dict[Connection, None] = {}
        self._live: dict[Name, Connection] = {}
        self._sessions: dict[int, _Session] = {}
        self._count = 0
        self._is_up = True

    # --- devices ------------------------------------------------------------------------------------------------

    def arrive(self, connection: Connection, *, admitted: Act, refused: Act) -> None:
        """Let a device connect, whoever else is there."""
        self._world.scheduler.after(self._network.delay_ms(), lambda: self._admit(connection, admitted, refused))

    def _admit(self, connection: Connection, admitted: Act, refused: Act) -> None:
        if not self._is_up or not connection.is_whole:
            refused()
            return
        older = self._live.get(connection.name)
        if older is not None:
            self._world.sometimes(Sometimes.TAKEN_OVER)
            del self._open[older]
            older.cut()
            if self._chance.random() < self._draws.wills_at_takeover:
                self._network.within(self._draws.will_late_ms, lambda: self._publish_will(older))
        self._open[connection] = None
        self._live[connection.name] = connection
        admitted()

    def connection(self, name: Name) -> str | None:
        """Return by which connection a device is there, as its hello and its will name it."""
        connection = self._live.get(name)
        return decode(connection.will, Gone).connection if connection is not None and connection.is_whole else None

    def left(self, connection: Connection) -> None:
        """Learn that a connection is gone: its will is published."""
        if connection in self._open:
            self._forget(connection)
            self._publish_will(connection)

    def _forget(self, connection: Connection) -> None:
        del self._open[connection]
        if self._live.get(connection.name) is connection:
            del self._live[connection.name]

    def _publish_will(self, connection: Connection) -> None:
        self.take(Uplinked(name=connection.name, kind=UplinkKind.GONE, payload=connection.will), None)

    def take(self, message: Uplinked, settled: Settled | None) -> None:
        """Acknowledge a message, and keep it for its lane where that has a session."""
        if settled is not None:
            settled()
        session = self._sessions.get(lane_of(message.name))
        if session is None or not self._is_up:
            return
        self._count += 1
        session.waiting[self._count] = message
        self._offer(session, self._count)

    def deliver(self, consumer: Consumer, name: Name, kind: DownlinkKind, payload: bytes) -> None:
        """Publish to a device what a connected lane says; nobody learns where it is not there or has no room."""
        connection = self._live.get(name)
        if connection is None or not self._hears(consumer, lane_of(name)):
            return
        if not self._world.strikes(self._draws.downlink_loss, self._chance):
            connection.down(kind, payload)

    # --- lanes --------------------------------------------------------------------------------------------------

    def attach(self, lane: int, consumer: Consumer) -> bool | None:
        """Connect a lane; return whether the broker still had its session, None where it cannot be reached."""
        if not self._is_up:
            return None
        is_present = lane in self._sessions
        session = self._sessions.setdefault(lane, _Session())
        session.consumer = consumer
        if session.waiting:
            self._world.sometimes(Sometimes.LANE_RESUMED)
        late_ms = self._chance.randint(1, self._draws.redelivery_late_ms) if self._draws.redelivery_late_ms else 0
        for number in list(session.waiting):
            self._offer(session, number, late_ms=late_ms)
        return is_present

    def detach(self, consumer: Consumer) -> None:
        """Learn that a lane's connection is gone; its session stays."""
        for session in self._sessions.values():
            if session.consumer is consumer:
                session.consumer = None

    def acknowledge(self, consumer: Consumer, lane: int, number: int) -> None:
        """Forget a message that is stored, if the connection that it came by still stands."""
        if self._hears(consumer, lane):
            self._sessions[lane].waiting.pop(number, None)

    def _hears(self, consumer: Consumer, lane: int) -> bool:
        session = self._sessions.get(lane)
        return session is not None and session.consumer is consumer

    def _offer(self, session: _Session, number: int, *, late_ms: int = 0) -> None:
        consumer, message = session.consumer, session.waiting[number]
        if consumer is None:
            return
        at = self._world.now + self._network.delay_ms() + late_ms
        if not late_ms:
            at = session.last_at = max(at, session.last_at)
        self._world.scheduler.at(at, self._arrival(session, consumer, number, message))

    def _arrival(self, session: _Session, consumer: Consumer, number: int, message: Uplinked) -> Callable[[], None]:
        def arrive() -> None:
            if session.consumer is consumer:
                consumer.arrived(number, message)

        return arrive

    # --- faults -------------------------------------------------------------------------------------------------

    def break_lane(self, lane: int) -> None:
        """Break the connection of a lane; in some worlds its session expires, too."""
        session = self._sessions.get(lane)
        if session is None or session.consumer is None:
            return
        consumer, session.consumer = session.consumer, None
        if self._chance.random() < self._draws.forgets:
            self._forget_session(lane)
        self._network.within(NOTICE_MS_MAX, consumer.broken)

    def restart(self) -> None:
        """Go down with everything, and come up again with what this kind of broker keeps."""
        self._world.say("broker", "restarts")
        self._world.sometimes(Sometimes.BROKER_RESTARTED)
        for connection in list(self._open):
            connection.cut()
            self._forget(connection)
            if self._chance.random() < self._draws.wills_at_restart:
                self._publish_will(connection)
        for consumer in self._consumers():
            self._network.within(NOTICE_MS_MAX, consumer.broken)
        for session in self._sessions.values():
            session.consumer = None
        self._lose()
        self._is_up = False
        self._world.scheduler.after(self._chance.randint(1, self._draws.down_ms), self._come_up)

    def _lose(self) -> None:
        match self._draws.keeps:
            case Keeps.ALL:
                pass
            case Keeps.SESSIONS:
                for session in self._sessions.values():
                    session.waiting.clear()
            case Keeps.NOTHING:
                for lane in list(self._sessions):
                    self._forget_session(lane)

    def _forget_session(self, lane: int) -> None:
        self._world.sometimes(Sometimes.SESSION_FORGOTTEN)
        self._world.say("broker", f"forgets the session of lane {lane}")
        del self._sessions[lane]

    def _come_up(self) -> None:
        self._is_up = True

    def _consumers(self) -> Iterator[Consumer]:
        return (session.consumer for session in self._sessions.values() if session.consumer is not None)
