"""The apps of one simulated device: what is active, and the steps that change it, each a span of time and an outcome.

The rules this module keeps:

1. What is on the disk outlives the agent, and a power cut; a step that was under way is gone.
2. In worlds that draw it an installer may be caught half-way, or fail there: then neither version is whole, which
   `Inspect` finds and `RollBack` mends, or not.
"""

from collections.abc import Callable
from typing import Final

from agent.core.effects import Commit, Download, Inspect, Install, RollBack, Verify
from agent.core.events import AnyEvent, Finished, Found, Inspected, Progressed
from agent.core.model import NOTHING_TOLD, Fault, Told, Work
from protocol.reasons import Reason
from protocol.units import SECOND
from simulator.virtual.shapes import OUTPUT, OUTPUT_MAX
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

HALF: Final = "half"
NOTHING: Final = "nothing"
TICK_MS: Final = 5 * SECOND

Step = Download | Install | Inspect | Verify | Commit | RollBack
Feed = Callable[[Callable[[int], AnyEvent]], None]


class Installer:
    """One device's installer and disk; `active` is the digest of the active release, `NOTHING` or `HALF`."""

    def __init__(
        self,
        world: World,
        name: str,
        *,
        model: str,
        feed: Feed,
        silence: Callable[[], None],
        active: str = NOTHING,
    ) -> None:
        """Take the world, name and model of the device, whom to tell of ends, how it falls silent, what is active."""
        self._world = world
        self._model = model
        self._silence = silence
        self._draws = world.draws.device
        self._name = name
        self._chance = world.chance(f"{name}/installer")
        self._outputs = world.chance(f"{name}/outputs")
        self._slowness = world.chance(f"{name}/slowness")
        self._builds = world.chance(f"{name}/builds")
        self._feed = feed
        self._turn = 0
        self._kept = active
        self.active = active
        self.is_installing = False

    def begin(self, step: Step) -> None:
        """Begin a step; what was begun before is called off."""
        self.call_off()
        match step:
            case Download(work=work):
                self._download(work)
            case Install(work=work):
                self._install(work)
            case Inspect(work=work):
                self._then(lambda: self._inspect(work))
            case Verify(work=work):
                self._then(lambda: self._verify(work))
            case Commit(work=work):
                self._then(lambda: self._commit(work))
            case RollBack(work=work):
                self._then(lambda: self._roll_back(work))

    def call_off(self) -> None:
        """Forget the step at hand; the disk stays as it is."""
        self._turn += 1
        self.is_installing = False

    def _then(self, act: Callable[[], None]) -> None:
        span_ms = self._chance.randint(1, 2 * self._draws.step_ms)
        self._world.scheduler.after(span_ms, self._unless_called_off(act))

    def _unless_called_off(self, act: Callable[[], None]) -> Callable[[], None]:
        turn = self._turn
        return lambda: act() if turn == self._turn else None

    def _maybe(self, rate: float, reason: Reason) -> Fault | None:
        return Fault(reason=reason, detail="drawn") if self._world.strikes(rate, self._chance) else None

    def _finish(self, work: Work, fault: Fault | None = None, told: Told = NOTHING_TOLD) -> None:
        def finished(at: int) -> Finished:
            return Finished(at=at, run=work.run, attempt=work.attempt, phase=work.phase, fault=fault, told=told)

        self._feed(finished)

    def _verify(self, work: Work) -> None:
        fault = self._maybe(self._draws.verify_fails, Reason.VERIFY_FAILED)
        if self._is_bad(work, self._world.draws.builds.fails):
            fault = Fault(reason=Reason.VERIFY_FAILED, detail="a bad build")
        self._finish(work, fault, self._told())

    def _is_bad(self, work: Work, share: float) -> bool:
        builds = self._world.draws.builds
        is_bad_here = self._model in builds.models or not builds.models
        is_of_bad_version = work.refs[0].path.split("/")[1] == builds.version
        return is_bad_here and is_of_bad_version and self._world.strikes(share, self._builds)

    def _told(self) -> Told:
        """Return what a release tells, in worlds where any does: a number, and at times a text under its name."""
        shape, chance = self._world.draws.shape, self._outputs
        if shape is None or chance.random() >= shape.tells:
            return NOTHING_TOLD
        value = chance.randint(1, OUTPUT_MAX) if chance.randrange(8) else "slow"
        return Told(outputs={OUTPUT: value, "of": self._name})

    def _download(self, work: Work, told: int = 0) -> None:
        """Tell the progress of a long download now and then; a short one is over before there is any."""
        mean_ms = self._world.draws.clocks.download_ms
        if mean_ms and self._slowness.random() * mean_ms > TICK_MS:
            self._world.scheduler.after(TICK_MS, self._unless_called_off(lambda: self._progress(work, told + 1)))
            return
        self._then(lambda: self._downloaded(work))

    def _downloaded(self, work: Work) -> None:
        fault = self._maybe(self._draws.download_fails, Reason.DOWNLOAD_FAILED)
        if self._world.is_out:
            self._world.sometimes(Sometimes.OUTAGE_FELT)
            fault = Fault(reason=Reason.DOWNLOAD_FAILED, detail="an outage")
        self._finish(work, fault)

    def _progress(self, work: Work, told: int) -> None:
        self._feed(lambda at: Progressed(at=at, run=work.run, attempt=work.attempt, done=told))
        self._download(work, told)

    def _install(self, work: Work) -> None:
        self.is_installing = True
        if self.active != HALF:
            self._kept = self.active
        if self._is_bad(work, self._world.draws.builds.silences):
            self._then(self._silence)
        elif self._world.strikes(self._draws.breaks, self._chance):
            self._then(lambda: self._half_way(work))
        else:
            self._then(lambda: self._switch(work))

    def _half_way(self, work: Work) -> None:
        self.active = HALF
        if self._world.strikes(self._draws.breaks, self._chance):
            self._then(lambda: self._failed(work))
        else:
            self._then(lambda: self._switch(work))

    def _switch(self, work: Work) -> None:
        self.active = wanted(work)
        self._then(lambda: self._installed(work))

    def _failed(self, work: Work) -> None:
        self.is_installing = False
        self._finish(work, Fault(reason=Reason.INSTALL_FAILED, detail="drawn"))

    def _installed(self, work: Work) -> None:
        self.is_installing = False
        self._finish(work)

    def _inspect(self, work: Work) -> None:
        found = {wanted(work): Found.NEW, HALF: Found.BROKEN}.get(self.active, Found.OLD)
        self._feed(lambda at: Inspected(at=at, run=work.run, attempt=work.attempt, found=found))

    def _commit(self, work: Work) -> None:
        self._kept = self.active
        self._finish(work)

    def _roll_back(self, work: Work) -> None:
        if self._world.strikes(self._draws.breaks, self._chance):
            self.active = HALF
            self._finish(work, Fault(reason=Reason.INSTALL_FAILED, detail="drawn"))
            return
        self.active = self._kept
        self._finish(work)


def wanted(work: Work) -> str:
    """Return the digest that is active once the work's release is installed."""
    return work.refs[0].sha256
