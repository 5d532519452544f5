"""What happens by itself, and what a time without the controller leaves."""

from controller.app import heartbeat, wakeups
from controller.domain.pipeline import Gate, Targets, Timeouts
from protocol.ids import device_id
from protocol.lifecycle import AttemptState
from protocol.units import HOUR, MINUTE, SECOND, later
from simulator.virtual.scheduler import run_now
from tests.controller.app.rig import Rig, stage

ONLY_A = Targets(devices=(device_id("a"),))


def at_work() -> tuple[Rig, str]:
    rig = Rig()
    rig.enrol("a")
    rig.connect("a")
    run_now(wakeups.recover(rig.controller))
    run = rig.start(stage(targets=ONLY_A, timeouts=Timeouts(lease_ms=10 * MINUTE), gate=Gate()))
    rig.report("a", AttemptState.DOWNLOADING)
    return rig, run


def test_time_in_which_the_controller_was_down_ends_no_lease() -> None:
    rig, run = at_work()
    rig.clock.time = later(rig.clock.time, HOUR)

    gap = run_now(wakeups.recover(rig.controller))
    run_now(wakeups.look(rig.controller))

    assert gap == HOUR
    assert rig.counters(run) == {"in_progress": 1}
    rig.sleep(11 * MINUTE)
    assert rig.target(run, "a").attempt == 2


def test_a_jump_of_the_clock_ends_no_lease() -> None:
    rig, run = at_work()
    rig.clock.time = later(rig.clock.time, HOUR)

    run_now(wakeups.look(rig.controller))
    run_now(wakeups.look(rig.controller))

    assert rig.counters(run) == {"in_progress": 1}


def test_a_short_absence_counts_as_time() -> None:
    rig, _ = at_work()
    rig.clock.time = later(rig.clock.time, SECOND)

    assert run_now(wakeups.recover(rig.controller)) == SECOND


def test_nothing_due_means_looking_again_at_the_next_heartbeat() -> None:
    rig = Rig()

    next_at = run_now(wakeups.look(rig.controller))

    assert next_at == later(rig.clock.time, heartbeat.BEAT_MS)
