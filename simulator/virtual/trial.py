"""One seed: a world is made, broken for a while, healed, and must then come to its end.

First safety: faults strike and operators act, and no law may be broken. Then liveness: everything heals, and within
a bounded time every run has ended, every report is settled, and the devices are what the database says they are.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from controller.app.ports import Priority
from controller.app.repositories import Store
from protocol.units import MINUTE, SECOND
from simulator.virtual.beginning import prepare
from simulator.virtual.connection import NOTICE_MS_MAX
from simulator.virtual.draws import VERSIONS, Draws
from simulator.virtual.ending import Ending
from simulator.virtual.fleet import Fleet
from simulator.virtual.keys import Keys
from simulator.virtual.laws import LAWS
from simulator.virtual.laws.law import Law
from simulator.virtual.logs import errors_go_to
from simulator.virtual.nemesis import Nemesis
from simulator.virtual.network import Network
from simulator.virtual.operator import Operator
from simulator.virtual.oracle import Oracle
from simulator.virtual.picture import Picture
from simulator.virtual.ports import WallClock
from simulator.virtual.scheduler import run_now
from simulator.virtual.server import Server
from simulator.virtual.surroundings import Surroundings
from simulator.virtual.waiting import Waiting
from simulator.virtual.world import World

EVENTS_MAX: Final = 300_000
HEALING_MS_MAX: Final = 90 * MINUTE
CHECK_MS: Final = 20 * SECOND
ROLL_MS: Final = NOTICE_MS_MAX + 30 * SECOND
"""Long enough for a device to notice that its connection was dead before, and to say hello over a new one."""
LIVENESS: Final = "it ends well (liveness)"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a seed: the same wherever it runs. `timeline` is kept only where it was asked for."""

    seed: int
    violations: tuple[str, ...]
    counts: dict[str, int]
    events: int
    virtual_ms: int
    timeline: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Say whether no law was broken."""
        return not self.violations


class Trial:
    """One world and everything in it."""

    def __init__(
        self, draws: Draws, store: Store, *, is_traced: bool = False, laws: Sequence[type[Law]] = LAWS
    ) -> None:
        self._draws = draws
        self._store = store
        self._world = world = World(draws, is_traced=is_traced)
        keys = Keys(seed=draws.seed, is_real=draws.has_real_keys)
        wall = WallClock(world)
        records = run_now(store.write(lambda tx: prepare(tx, draws, keys), priority=Priority.OPERATOR))
        picture = Picture(
            true_now=lambda: world.now,
            wall_now=wall.now,
            unwritable_at=world.unwritable_at,
            devices={record.id: record for record in records},
            counters={version: number for number, version in enumerate(VERSIONS, 1)},
            floors=dict(zip(VERSIONS, draws.floors, strict=True)),
        )
        picture.sort(dict(zip((record.id for record in records), draws.groups, strict=True)))
        picture.revisions = {definition.name: [definition] for definition in draws.pipelines}
        oracle = Oracle(world, picture, laws=laws)
        network = Network(world)
        self._server = Server(world, network, store, wall=wall, keys=keys, oracle=oracle)
        self._fleet = Fleet(world, self._server, oracle, keys)
        self._devices = self._fleet.devices
        self._operator = Operator(world, self._server, oracle, self._fleet)
        self._nemesis = Nemesis(world, network, self._server, self._devices)
        self._surroundings = Surroundings(world, self._devices)
        self._ending = Ending(world, picture, self._devices)
        self._waiting = Waiting(picture)

    def run(self) -> Outcome:
        """Let it all happen."""
        world = self._world
        with errors_go_to(lambda line: world.violated("no fault of ours", line)):
            self._server.boot()
            for device in self._devices:
                device.power_on()
            self._operator.begin()
            self._operator.begin_rare_acts()
            self._nemesis.begin()
            self._surroundings.begin()
            events = self._play(until=world.now + self._draws.chaos_ms)
            self._heal()
            events += self._settle()
            self._server.stop()
        return Outcome(
            seed=self._draws.seed,
            violations=tuple(world.violations),
            counts={path.value: count for path, count in world.counts.items()},
            events=events,
            virtual_ms=world.elapsed_ms,
            timeline=tuple(world.timeline),
        )

    def _play(self, *, until: int, events_max: int = EVENTS_MAX) -> int:
        """Let things happen until that time, or until a law is broken."""
        world, count = self._world, 0
        while not world.violations and world.scheduler.next_at <= until:
            world.scheduler.step()
            count += 1
            if count >= events_max:
                world.violated(LIVENESS, f"{count} events in {world.elapsed_ms} ms: somebody spins")
        return count

    def _heal(self) -> None:
        self._world.say("world", "heals")
        self._world.is_healed = True
        if self._server.wall.catch_up():
            self._server.oracle.picture.jumped_at.append(self._world.now)
        self._operator.settle()

    def _settle(self) -> int:
        """Wait until everything has ended; complain when it has not in time."""
        world = self._world
        last = world.now + HEALING_MS_MAX
        count = self._play(until=world.now + CHECK_MS)  # an act that was under way may begin a run yet
        while not world.violations and (left := list(self._ending.left(self._operator.active))):
            if world.now > last:
                world.violated(LIVENESS, "; ".join(left))
                return count
            for complaint in self._waiting.look(self._operator.active):
                world.violated(LIVENESS, complaint)
            count += self._play(until=world.now + CHECK_MS)
        count += self._call_the_roll()
        if not world.violations:
            self._judge()
        return count

    def _judge(self) -> None:
        run_now(self._store.read(self._server.oracle.restarted))
        for complaint in run_now(self._store.read(self._ending.complaints)):
            self._world.violated(LIVENESS, complaint)

    def _call_the_roll(self) -> int:
        """Let every device connect anew and say what it has, before it is compared."""
        for device in self._devices:
            if device.connection is not None:
                device.connection.cut()
        return self._play(until=self._world.now + ROLL_MS)
