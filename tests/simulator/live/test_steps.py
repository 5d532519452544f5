import asyncio
from collections.abc import Callable

import msgspec
import pytest

from agent.core.effects import Commit, Download, Inspect, Install, RollBack, Verify
from agent.core.events import AnyEvent, Finished, Found, Inspected, Progressed
from agent.core.model import Fault, Phase, Work
from protocol.ids import AppName, RunId, digest_of
from protocol.messages import ReleaseRef
from protocol.reasons import Reason
from protocol.trust import ReleaseInfo
from protocol.units import Instant, Millis
from simulator.live.behaviour import Behaviour, Character
from simulator.live.steps import Load, Step, Steps
from tests.simulator.instant_loop import run_virtually

APP = AppName("shop")
RELEASE = ReleaseInfo(
    app=APP,
    version="2.0",
    path="shop/2.0",
    sha256=digest_of(b"2"),
    length=3_000_000,
    counter=2,
    floor=1,
    installer="archive",
)
WORK = Work(
    digest=digest_of(b"c"),
    run=RunId("r1"),
    attempt=1,
    epoch=1,
    not_after=Instant(10**13),
    refs=(ReleaseRef(path="shop/2.0", sha256=RELEASE.sha256, length=RELEASE.length, counter=2),),
    releases=(RELEASE,),
)
CALM = Character(id="sim-0001", seed="1", behaviour=Behaviour.FAST, labels={}, bandwidth=1_000_000, step_ms=Millis(100))


async def _no_fetch(work: Work) -> Fault | None:
    raise AssertionError("not asked for")


def played(
    *asked: Step,
    character: Character = CALM,
    load: Load | None = None,
    during: Callable[[Steps], None] = lambda _: None,
) -> list[AnyEvent]:
    """Play steps one after the other in virtual time and return what they fed."""

    async def play() -> list[AnyEvent]:
        fed: list[AnyEvent] = []
        loop = asyncio.get_running_loop()
        steps = Steps(
            character,
            load=load or Load(),
            fetch=_no_fetch,
            feed=fed.append,
            now=lambda: round(loop.time() * 1000),
        )
        for step in asked:
            steps.begin(step, {APP: "1.0"})
            during(steps)
            await asyncio.sleep(60)
        return fed

    return run_virtually(play())


def ends(events: list[AnyEvent]) -> list[tuple[Phase, Reason | None]]:
    return [(e.phase, e.fault.reason if e.fault else None) for e in events if isinstance(e, Finished)]


def test_a_download_takes_its_size_over_the_bandwidth_and_tells_its_progress() -> None:
    events = played(Download(work=WORK))
    assert [(e.at, e.done, e.total) for e in events if isinstance(e, Progressed)] == [
        (1_000, 1_000_000, 3_000_000),
        (2_000, 2_000_000, 3_000_000),
    ]
    assert isinstance(events[-1], Finished)
    assert (events[-1].at, events[-1].phase, events[-1].fault) == (3_000, Phase.DOWNLOADING, None)


def test_a_download_can_be_played_as_if_it_were_larger() -> None:
    assert played(Download(work=WORK), load=Load(pretend_bytes=10_000_000))[-1].at == 10_000


def test_a_broken_download_fails_and_the_next_one_goes_on_where_it_was() -> None:
    breaking = msgspec.structs.replace(CALM, break_share=1.0)
    events = played(Download(work=WORK), Download(work=WORK), character=breaking)
    first, second = (e for e in events if isinstance(e, Finished))
    assert ends(events) == [(Phase.DOWNLOADING, Reason.DOWNLOAD_FAILED)] * 2
    assert first.at + second.at - 60_000 < 3_000


def test_steps_end_well_one_by_one() -> None:
    events = played(Install(work=WORK), Verify(work=WORK), Commit(work=WORK))
    assert ends(events) == [(Phase.INSTALLING, None), (Phase.VERIFYING, None), (Phase.COMMITTING, None)]


def test_a_version_that_fails_here_is_not_verified() -> None:
    failing = msgspec.structs.replace(CALM, fails=frozenset({"2.0"}))
    events = played(Verify(work=WORK), RollBack(work=WORK), character=failing)
    assert ends(events) == [(Phase.VERIFYING, Reason.VERIFY_FAILED), (Phase.ROLLING_BACK, None)]


@pytest.mark.parametrize(
    ("before", "found"),
    [((), Found.OLD), ((Install(work=WORK),), Found.NEW), ((Install(work=WORK), RollBack(work=WORK)), Found.OLD)],
)
def test_an_inspection_tells_what_is_active(before: tuple[Step, ...], found: Found) -> None:
    last = played(*before, Inspect(work=WORK))[-1]
    assert isinstance(last, Inspected)
    assert last.found is found


def test_a_step_that_is_called_off_feeds_nothing() -> None:
    assert played(Install(work=WORK), during=Steps.call_off) == []


@pytest.mark.parametrize("fault", [None, Fault(reason=Reason.HASH_MISMATCH)])
async def test_a_real_download_ends_as_the_fetch_does(fault: Fault | None) -> None:
    fed: list[AnyEvent] = []

    async def fetch(work: Work) -> Fault | None:
        return fault

    steps = Steps(CALM, load=Load(is_real=True), fetch=fetch, feed=fed.append, now=lambda: 5)
    steps.begin(Download(work=WORK), {})
    await asyncio.sleep(0.01)
    assert fed == [Finished(at=5, run=WORK.run, attempt=1, phase=Phase.DOWNLOADING, fault=fault)]


async def test_a_real_download_can_be_called_off() -> None:
    fed: list[AnyEvent] = []

    async def fetch(work: Work) -> Fault | None:
        await asyncio.sleep(60)
        return None

    steps = Steps(CALM, load=Load(is_real=True), fetch=fetch, feed=fed.append, now=lambda: 5)
    steps.begin(Download(work=WORK), {})
    await asyncio.sleep(0)
    steps.call_off()
    await asyncio.sleep(0)
    assert fed == []
