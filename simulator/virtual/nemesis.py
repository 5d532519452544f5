"""The nemesis: power cuts, partitions, endpoints that restart and clocks that jump, each as often as the seed says."""

from collections.abc import Callable, Sequence
from typing import Final

from simulator.virtual.broker import LANES
from simulator.virtual.connection import NOTICE_MS_MAX
from simulator.virtual.device import Device
from simulator.virtual.endpoint import Endpoint
from simulator.virtual.network import Network
from simulator.virtual.server import Server
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

QUIET_MS_MAX: Final = 60_000


class Nemesis:
    """Strikes until the world is healed."""

    def __init__(self, world: World, network: Network, server: Server, devices: Sequence[Device]) -> None:
        self._world = world
        self._network = network
        self._server = server
        self._devices = devices
        self._chance = world.chance("nemesis")
        self._furthest_ms = 0

    def begin(self) -> None:
        """Let every fault that the seed drew begin."""
        draws = self._world.draws
        self._every(draws.network.cut_gap_ms, self._cut_off)
        self._every(draws.device.power_gap_ms, self._power_cut)
        self._every(draws.controller.jump_gap_ms, self._jump)
        self._every(draws.controller.endpoint_gap_ms, self._restart_endpoint)
        self._every(draws.builds.outage_gap_ms, self._cut_downloads)
        self._every(draws.silence.outage_gap_ms, self._cut_all_off)
        if draws.broker is not None:
            self._every(draws.broker.restart_gap_ms, self._restart_broker)
            self._every(draws.broker.lane_gap_ms, self._break_lane)
        self._world.scheduler.after(draws.chaos_ms, self._set_right)

    def _every(self, gap_ms: int, strike: Callable[[], None]) -> None:
        if not gap_ms or self._world.is_healed:
            return
        span_ms = 1 + int(self._chance.expovariate(1) * gap_ms)

        def act() -> None:
            if not self._world.is_healed:
                strike()
                self._every(gap_ms, strike)

        self._world.scheduler.after(span_ms, act)

    def _cut_off(self) -> None:
        device = self._chance.choice(self._devices)
        span_ms = self._chance.randint(1, self._world.draws.network.cut_ms)
        self._world.say("network", f"{device.label} is cut off for {span_ms} ms")
        self._network.cut_off(device.name, until=self._world.now + span_ms)
        if device.connection is not None:
            device.connection.cut(notice_ms_max=self._chance.choice((100, NOTICE_MS_MAX)))

    def _cut_all_off(self) -> None:
        self._world.say("network", "everybody is cut off")
        for device in self._devices:
            self._network.cut_off(device.name, until=self._world.now + self._world.draws.silence.outage_ms)
            if device.connection is not None:
                device.connection.cut()

    def _cut_downloads(self) -> None:
        span_ms = self._world.draws.builds.outage_ms
        self._world.say("network", f"no download succeeds for {span_ms} ms")
        self._world.outage_until = self._world.now + span_ms

    def _power_cut(self) -> None:
        device = self._chance.choice(self._devices)
        if device.is_on:
            self._world.sometimes(Sometimes.POWER_CUT)
        device.crash(off_ms=self._chance.randint(1, self._world.draws.device.off_ms))

    def _jump(self) -> None:
        draws = self._world.draws.controller
        span_ms = int(draws.jump_ms * self._chance.random())
        forth = span_ms > 0
        self._world.sometimes(Sometimes.CONTROLLER_CLOCK_FORTH if forth else Sometimes.CONTROLLER_CLOCK_BACK)
        self._world.say("controller", f"its clock jumps by {span_ms} ms")
        self._shift(span_ms)

    def _shift(self, span_ms: int) -> None:
        wall = self._server.wall
        wall.offset_ms += span_ms
        self._furthest_ms = max(self._furthest_ms, wall.offset_ms)
        self._server.oracle.picture.jumped_at.append(self._world.now)

    def _set_right(self) -> None:
        """Heal a clock that is behind what it once showed: devices believe no earlier time, however long they wait."""
        behind_ms = self._furthest_ms - self._server.wall.offset_ms
        if behind_ms:
            self._world.say("controller", f"its clock is set right by {behind_ms} ms")
            self._shift(behind_ms)

    def _restart_endpoint(self) -> None:
        if self._server.life is not None and isinstance(self._server.life.transport, Endpoint):
            self._world.sometimes(Sometimes.ENDPOINT_RESTARTED)
            self._world.say("endpoint", "restarts")
            self._server.life.transport.restart()

    def _restart_broker(self) -> None:
        assert self._server.broker is not None, "only a world with a broker restarts one"
        self._server.broker.restart()

    def _break_lane(self) -> None:
        assert self._server.broker is not None, "only a world with a broker has lanes"
        self._server.broker.break_lane(self._chance.randrange(LANES))
