"""What becomes of an app after its success, on one simulated device: a bad version crashes, or is unwell."""

from collections.abc import Callable, Sequence

from agent.core.events import Ailed, AnyEvent
from agent.core.model import Durable, Watch
from protocol.health import Mark
from protocol.ids import AppName
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import START, World

Feed = Callable[[Callable[[int], AnyEvent]], None]


class Ailments:
    """What becomes of the apps of one device while they are watched.

    Whether one ails is settled for each attempt, and no restart of the agent draws it anew. It is no fault that heals
    with the world: what is installed stays as bad as it is.
    """

    def __init__(self, world: World, label: str, feed: Feed) -> None:
        """Take the world, the device's label, and whom to tell."""
        self._world = world
        self._label = label
        self._feed = feed
        self._turn = 0

    def attend(self, apps: Sequence[AppName], durable: Durable) -> None:
        """Look after these apps, and after no others."""
        self._turn += 1
        watch, draws = durable.watch, self._world.draws
        if not apps or watch is None:
            return
        if self._is_bad(durable):
            self._draw(watch, "health", share=draws.health.ails, mean_ms=draws.health.ails_ms)
            self._draw(watch, "worse", share=draws.control.worse, mean_ms=draws.control.crash_ms)
        self._draw(watch, "crashes", share=draws.control.crashes, mean_ms=draws.control.crash_ms)
        for outage in draws.control.outages:
            if START + outage > self._world.scheduler.now:
                self._later(watch, Mark.CRASHED, after_ms=START + outage - self._world.scheduler.now)

    def _draw(self, watch: Watch, what: str, *, share: float, mean_ms: int) -> None:
        """Draw for this attempt whether something befalls the app, and when."""
        if not share:
            return
        chance = self._world.chance(f"{self._label}/{what}/{watch.run}/{watch.attempt}")
        if chance.random() < share:
            after_ms = chance.randint(1, 2 * mean_ms)
            self._later(watch, chance.choice((Mark.CRASHED, Mark.UNWELL)), after_ms=after_ms)

    def _later(self, watch: Watch, mark: Mark, *, after_ms: int) -> None:
        turn = self._turn
        self._world.scheduler.after(after_ms, lambda: self._ail(watch, mark) if turn == self._turn else None)

    def _is_bad(self, durable: Durable) -> bool:
        return any(release.version == self._world.draws.builds.version for release in durable.installed)

    def _ail(self, watch: Watch, mark: Mark) -> None:
        """Tell it twice: only the first counts."""
        self._world.sometimes(Sometimes.CRASHED_LATER)
        self._world.say(self._label, f"{mark} after attempt {watch.attempt} of {watch.run}")
        for _ in range(2):
            self._feed(lambda at: Ailed(at=at, app=watch.apps[0], mark=mark, detail="a bad build"))
