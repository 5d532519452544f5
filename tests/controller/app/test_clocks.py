"""Clocks of devices: progress gives more time, up to a limit; who waits for too long goes without."""

from collections.abc import Iterator

import pytest

from controller.app import runs
from controller.domain.pipeline import Gate, Pace, Retry, Timeouts
from protocol.codec import encode
from protocol.lifecycle import AttemptState
from protocol.messages import Op, Progress, Tick
from protocol.topics import UplinkKind
from protocol.units import HOUR, MINUTE, SECOND
from tests.controller.app.rig import Rig, stage

SPANS = Timeouts(accept_ms=HOUR, lease_ms=10 * MINUTE, attempt_ms=HOUR)
LENIENT = Gate(success_percent=0)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    rig.enrol("a")
    rig.connect("a")
    yield rig
    rig.close()


def downloading(rig: Rig) -> str:
    run = rig.start(stage(timeouts=SPANS, retry=Retry(attempts_max=1), gate=LENIENT))
    rig.report("a", AttemptState.DOWNLOADING)
    return run


def tick(rig: Rig, *, attempt: int = 1) -> None:
    """Let the device tell its progress."""
    run = rig.last_install("a")[1].run
    progress = Progress(run=run, attempt=attempt, state=AttemptState.DOWNLOADING, done=1, total=2)
    rig.say("a", UplinkKind.TICK, encode(Tick(progress=(progress,))))


def test_progress_keeps_a_device_at_work_beyond_its_lease(rig: Rig) -> None:
    run = downloading(rig)
    rig.sleep(9 * MINUTE)
    tick(rig)
    rig.sleep(9 * MINUTE)
    assert rig.counters(run) == {"in_progress": 1}
    rig.sleep(MINUTE)
    assert rig.target(run, "a").reason == "lease_ended"


def test_who_is_given_more_time_may_use_it(rig: Rig) -> None:
    downloading(rig)
    rig.sleep(9 * MINUTE)
    tick(rig)
    rig.sleep(2 * MINUTE)
    _, command = rig.last("a")
    assert command.op == Op.GO
    assert command.not_after >= rig.clock.now() + 8 * MINUTE


def test_no_progress_helps_beyond_the_time_that_an_attempt_may_take(rig: Rig) -> None:
    run = downloading(rig)
    for _ in range(59):
        rig.sleep(MINUTE)
        tick(rig)
    assert rig.counters(run) == {"in_progress": 1}
    rig.sleep(MINUTE)
    assert rig.counters(run) == {"timed_out": 1}


def test_progress_of_another_attempt_helps_nobody(rig: Rig) -> None:
    run = downloading(rig)
    rig.sleep(9 * MINUTE)
    tick(rig, attempt=2)
    rig.sleep(MINUTE)
    assert rig.counters(run) == {"timed_out": 1}


def test_the_device_may_download_for_longer_than_its_lease_and_do_nothing_else_so(rig: Rig) -> None:
    downloading(rig)
    steps = rig.last_install("a")[1].steps
    assert (steps.download_ms, steps.install_ms, steps.verify_ms) == (54 * MINUTE, 9 * MINUTE, 5 * MINUTE)


def queueing(rig: Rig) -> str:
    """Return a run in which `a` is at work, `b` waits for its turn, and `c` is not there."""
    rig.enrol("b", "c")
    rig.connect("b")
    timeouts = Timeouts(accept_ms=HOUR, lease_ms=HOUR, queued_ms=10 * MINUTE)
    run = rig.start(stage(timeouts=timeouts, pace=Pace(max_in_flight=1), gate=LENIENT))
    for name in "ab":
        if rig.devices[name].commands:
            rig.report(name, AttemptState.INSTALLING)
    return run


def test_who_waits_for_too_long_goes_without(rig: Rig) -> None:
    run = queueing(rig)
    rig.sleep(10 * MINUTE - SECOND)
    assert rig.counters(run) == {"in_progress": 1, "queued": 2}
    rig.sleep(SECOND)
    assert rig.counters(run) == {"in_progress": 1, "timed_out": 2}
    assert rig.target(run, "c").reason == "never_started"
    rig.connect("c")
    assert not rig.devices["c"].commands


def test_a_pause_takes_nothing_of_the_time_to_wait(rig: Rig) -> None:
    run = queueing(rig)
    rig.do(runs.pause, run=run, reason="lunch")
    rig.sleep(HOUR)
    rig.do(runs.resume, run=run)
    assert rig.counters(run) == {"in_progress": 1, "queued": 2}


def test_a_paused_run_tells_when_its_stage_opened(rig: Rig) -> None:
    run = downloading(rig)
    opened_at = rig.view(run).stages[0].opened_at
    rig.sleep(3 * MINUTE)
    rig.do(runs.pause, run=run, reason="lunch")
    rig.sleep(MINUTE)
    assert rig.view(run).stages[0].opened_at == opened_at
