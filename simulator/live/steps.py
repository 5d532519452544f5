"""The steps of an installation as a simulated device takes them: each is a span of time and an outcome.

The rules this module keeps:

1. One step at a time; what was asked before is forgotten when a step is called off or the power goes.
2. What is active changes at the end of an install, so a power cut in the middle of one leaves the old version.
3. A download that was interrupted goes on where it was.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from agent.core.effects import Commit, Download, Inspect, Install, RollBack, Verify
from agent.core.events import AnyEvent, Finished, Found, Inspected, Progressed
from agent.core.model import Fault, Phase, Work
from protocol.ids import AppName
from protocol.reasons import Reason
from protocol.units import SECOND
from simulator.live.behaviour import Character

TICK_MS: Final = 1 * SECOND
COMMIT_MS: Final = 5

Step = Download | Install | Inspect | Verify | Commit | RollBack


Fetch = Callable[[Work], Awaitable[Fault | None]]


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How downloads are played: as if each release had `pretend_bytes`, where that is not 0, or really done."""

    pretend_bytes: int = 0
    is_real: bool = False

    def size(self, work: Work) -> int:
        """Return how many bytes are to be fetched."""
        return self.pretend_bytes or sum(release.length for release in work.releases)


class Steps:
    """Carries out steps on the loop's clock and feeds what came of them."""

    __slots__ = (
        "_active",
        "_chance",
        "_character",
        "_done",
        "_feed",
        "_fetch",
        "_handle",
        "_load",
        "_loop",
        "_now",
        "_task",
    )

    def __init__(
        self,
        character: Character,
        *,
        load: Load,
        fetch: Fetch,
        feed: Callable[[AnyEvent], None],
        now: Callable[[], int],
    ) -> None:
        """Take what the device is like, how downloads are played, what really fetches, where events go, and a clock."""
        self._character = character
        self._chance = random.Random(f"{character.seed}/steps")
        self._load = load
        self._fetch = fetch
        self._feed = feed
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._active: dict[AppName, str] = {}
        self._done: tuple[str, int] = ("", 0)

    def begin(self, step: Step, installed: dict[AppName, str]) -> None:
        """Begin *step*; *installed* is what was last committed."""
        self.call_off()
        span_ms = self._character.step_ms
        match step:
            case Download(work=work):
                self._download(work)
            case Install(work=work):
                self._after(span_ms, lambda: self._install(work))
            case Inspect(work=work):
                self._after(span_ms, lambda: self._inspect(work))
            case Verify(work=work):
                self._after(span_ms * 2, lambda: self._verify(work))
            case Commit(work=work):
                self._after(COMMIT_MS, lambda: self._finish(work, Phase.COMMITTING))
            case RollBack(work=work):
                self._after(span_ms, lambda: self._roll_back(work, installed))

    def call_off(self) -> None:
        """Forget the step at hand."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _after(self, span_ms: float, then: Callable[[], None]) -> None:
        self._handle = self._loop.call_later(span_ms / SECOND, then)

    def _finish(self, work: Work, phase: Phase, fault: Fault | None = None) -> None:
        self._handle = None
        self._feed(Finished(at=self._now(), run=work.run, attempt=work.attempt, phase=phase, fault=fault))

    # --- download -------------------------------------------------------------------------------------------

    def _download(self, work: Work) -> None:
        if self._load.is_real:
            self._task = self._loop.create_task(self._really_download(work))
            return
        size = self._load.size(work)
        key = ",".join(ref.sha256 for ref in work.refs)
        done = self._done[1] if self._done[0] == key else 0
        breaks = self._chance.random() < self._character.break_share
        stop_at = int(done + (size - done) * self._chance.random()) if breaks else size
        self._part(work, done=done, stop_at=stop_at, size=size)

    async def _really_download(self, work: Work) -> None:
        fault = await self._fetch(work)
        self._task = None
        self._finish(work, Phase.DOWNLOADING, fault)

    def _part(self, work: Work, *, done: int, stop_at: int, size: int) -> None:
        """Fetch for one tick's time, or what is left."""
        self._done = (",".join(ref.sha256 for ref in work.refs), done)
        if done >= stop_at:
            broken = Fault(reason=Reason.DOWNLOAD_FAILED, detail="the connection broke off (simulated)")
            self._finish(work, Phase.DOWNLOADING, broken if stop_at < size else None)
            return
        part = min(stop_at - done, max(1, self._character.bandwidth * TICK_MS // SECOND))
        self._after(part * SECOND / self._character.bandwidth, lambda: self._fetched(work, done + part, stop_at, size))

    def _fetched(self, work: Work, done: int, stop_at: int, size: int) -> None:
        if done < stop_at:
            self._feed(Progressed(at=self._now(), run=work.run, attempt=work.attempt, done=done, total=size))
        self._part(work, done=done, stop_at=stop_at, size=size)

    # --- the other steps ------------------------------------------------------------------------------------

    def _install(self, work: Work) -> None:
        self._active |= {release.app: release.version for release in work.releases}
        self._finish(work, Phase.INSTALLING)

    def _inspect(self, work: Work) -> None:
        self._handle = None
        is_new = all(self._active.get(release.app) == release.version for release in work.releases)
        found = Found.NEW if is_new else Found.OLD
        self._feed(Inspected(at=self._now(), run=work.run, attempt=work.attempt, found=found))

    def _verify(self, work: Work) -> None:
        bad = [r.version for r in work.releases if r.version in self._character.fails]
        detail = f"the health probe of {', '.join(bad)} answers 500 (simulated)"
        self._finish(work, Phase.VERIFYING, Fault(reason=Reason.VERIFY_FAILED, detail=detail) if bad else None)

    def _roll_back(self, work: Work, installed: dict[AppName, str]) -> None:
        self._active = dict(installed)
        self._finish(work, Phase.ROLLING_BACK)
