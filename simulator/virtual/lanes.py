"""The lanes of one life of the controller: its side of a broker, where nobody tells who is connected.

It stands in for `controller.mqtt`: the same port down, the same promises up, and the same `Sessions`.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import Final

from controller.app.errors import ControllerError
from controller.app.inbox import Inbox
from controller.app.ports import Disposition, Uplinked
from controller.mqtt.sessions import Sessions
from protocol.ids import PARTITIONS, Name
from protocol.topics import DownlinkKind, UplinkKind
from simulator.virtual.broker import LANES, Broker, lane_of
from simulator.virtual.intake import RETRY_MS, Handed, Intake, Perils, Spawn
from simulator.virtual.picture import Session
from simulator.virtual.scheduler import suspend
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

CONNECT_MS_MAX: Final = 2_000
EPOCHS_MAX: Final = 1_000_000


class _Lane:
    """One connection of a lane, from its birth to its end; what it still says afterwards counts for nothing."""

    def __init__(self, lanes: "Lanes", index: int) -> None:
        self.index: Final = index
        self.in_flight = 0
        self.last_at = 0
        self._lanes = lanes

    def arrived(self, number: int, message: Uplinked) -> None:
        """Take a message."""
        self._lanes.take(self, number, message)

    def broken(self) -> None:
        """Learn that it is gone."""
        self._lanes.lost(self)


class Lanes:
    """Implements `controller.app.ports.Transport`; dies with its controller."""

    def __init__(
        self, world: World, inbox: Inbox, broker: Broker, *, chance: random.Random, spawn: Spawn, handed: Handed
    ) -> None:
        """Take a chance that outlives this life, so that no two lives have the same instance."""
        draws = world.draws.broker
        assert draws is not None, "only some worlds have a broker"
        self._world = world
        self._inbox = inbox
        self._broker = broker
        self._spawn = spawn
        self._handed = handed
        self._chance = chance
        self._window = draws.window
        self._intake = Intake(world, inbox, spawn)
        self._perils = Perils(world, chance)
        self._standing: dict[int, _Lane] = {}
        self._epoch = dict.fromkeys(range(LANES), 0)
        self._sessions = Sessions()
        self._unseen: set[int] = set()
        self._is_telling = False
        self._has_begun = False
        self.instance = chance.randrange(1, 2**31)

    def begin(self) -> None:
        """Let every lane connect; called once more, when a loop begins again, it changes nothing."""
        if not self._has_begun:
            self._has_begun = True
            for index in range(LANES):
                self._connect(index)

    def die(self) -> None:
        """End with the controller: the broker keeps the sessions, and devices notice nothing."""
        for lane in self._standing.values():
            self._broker.detach(lane)
        self._standing.clear()
        self._intake.clear()

    # --- the controller's port ----------------------------------------------------------------------------------

    @property
    def session_count(self) -> int:
        """Return how many devices said hello, and no will since."""
        return len(self._sessions)

    def session(self, name: Name) -> int:
        """Return the number of the device's session, 0 when it has none."""
        return self._sessions.of(name)

    def whole_session(self, name: Name) -> Session | None:
        """Return the device's session where it is there indeed, by a lane that stands; for observers."""
        index = lane_of(name)
        if not self.is_up(name) or not self.session(name) or self._broker.connection(name) is None:
            return None
        return self.instance, self.session(name) * EPOCHS_MAX + self._epoch[index]

    def is_up(self, name: Name) -> bool:
        """Say whether the lane of a device stands; for observers."""
        return lane_of(name) in self._standing

    def write(self, name: Name, kind: DownlinkKind, payload: bytes) -> bool:
        """Hand bytes to the broker, unless the lane is full or does not stand, or no session wants a command."""
        lane = self._standing.get(lane_of(name))
        is_wanted = kind is not DownlinkKind.COMMAND or self.session(name) != 0
        if lane is None or not is_wanted or lane.in_flight >= self._window:
            return False
        self._perils.perhaps_die(kind)
        lane.in_flight += 1
        delay_ms = int(self._chance.random() * self._world.draws.network.delay_ms)
        lane.last_at = max(lane.last_at, self._world.now + delay_ms)
        self._world.scheduler.at(lane.last_at, lambda: self._pass_on(lane, name, kind, payload))
        self._handed(name, kind, payload)
        self._perils.written(kind)
        return True

    def _pass_on(self, lane: _Lane, name: Name, kind: DownlinkKind, payload: bytes) -> None:
        """Let the broker have a message; one that was under way when its connection ended never arrives."""
        lane.in_flight -= 1
        self._broker.deliver(lane, name, kind, payload)

    def close(self, name: Name, *, reason: str) -> None:
        """Forget a device's session: its connection to the broker is not ours to close."""
        self._world.say("lanes", f"forget {name}: {reason}")
        number = self._sessions.newest(name)
        self._sessions.end(name, number)
        self._spawn(self._intake.note_end(name, number))

    # --- connections --------------------------------------------------------------------------------------------

    def _connect(self, index: int) -> None:
        self._world.scheduler.after(self._chance.randint(0, CONNECT_MS_MAX), lambda: self._spawn(self._stand(index)))

    async def _stand(self, index: int) -> None:
        lane = _Lane(self, index)
        is_present = self._broker.attach(index, lane)
        if is_present is None:
            self._connect(index)
            return
        self._standing[index] = lane
        self._epoch[index] += 1
        if not is_present or self._epoch[index] == 1:
            self._lose_sight(index)

    def lost(self, lane: _Lane) -> None:
        """Learn that a lane's connection is gone; connect again."""
        if self._standing.get(lane.index) is lane:
            del self._standing[lane.index]
            self._connect(lane.index)

    def _lose_sight(self, index: int) -> None:
        self._sessions.forget(range(index, PARTITIONS, LANES))
        self._unseen.add(index)
        if not self._is_telling:
            self._is_telling = True
            self._spawn(self._tell())

    async def _tell(self) -> None:
        while self._unseen:
            lanes, self._unseen = self._unseen, set()
            await self._insist([partition for partition in range(PARTITIONS) if partition % LANES in lanes])
        self._is_telling = False

    async def _insist(self, partitions: list[int]) -> None:
        while True:
            try:
                await self._inbox.lost_sight(partitions)
            except ControllerError:
                await suspend(lambda go_on: self._world.scheduler.after(RETRY_MS, go_on))
            else:
                return

    # --- messages -----------------------------------------------------------------------------------------------

    def take(self, lane: _Lane, number: int, message: Uplinked) -> None:
        """Queue a message for the next batch, and acknowledge it once it is stored, if its connection lasts."""
        settle = self._settling(message)

        def answer(disposition: Disposition) -> None:
            settle(disposition)
            self._broker.acknowledge(lane, lane.index, number)

        self._intake.put(message, answer)

    def _settling(self, message: Uplinked) -> Callable[[Disposition], None]:
        """Return what a message means for its device's session."""
        match message.kind:
            case UplinkKind.HELLO:
                return partial(self._greeted, message.name, self._sessions.expect(message.name))
            case UplinkKind.GONE:
                return partial(self._gone, message.name, self._sessions.newest(message.name))
            case _:
                return lambda _: None

    def _greeted(self, name: Name, number: int, disposition: Disposition) -> None:
        (self._sessions.begin if disposition is Disposition.STORED else self._sessions.refuse)(name, number)

    def _gone(self, name: Name, number: int, disposition: Disposition) -> None:
        if disposition is Disposition.STORED:
            self._sessions.end(name, number)
        elif disposition is Disposition.STALE:
            self._world.sometimes(Sometimes.STALE_WILL)
