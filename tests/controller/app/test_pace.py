"""How many devices one transaction releases, and how a run goes on with the next ones."""

from controller.app import runs, wakeups
from controller.domain.pipeline import Growth, Pace, Targets
from protocol.units import HOUR, MINUTE, SECOND
from simulator.virtual.scheduler import run_now
from tests.controller.app.rig import Rig, stage

NAMES = ("a", "b", "c", "d", "e")
BATCH_MAX = 2


def fleet() -> Rig:
    rig = Rig(release_batch_max=BATCH_MAX)
    run_now(wakeups.recover(rig.controller))
    rig.enrol(*NAMES)
    rig.connect(*NAMES)
    return rig


def look(rig: Rig) -> int:
    """Do what is due, and return in how many milliseconds to look again."""
    next_at = run_now(wakeups.look(rig.controller))
    rig.pump()
    return next_at - rig.clock.time


def sent(rig: Rig) -> int:
    return sum(len(device.commands) for device in rig.devices.values())


def test_the_first_commands_leave_before_the_rest_are_made() -> None:
    rig = fleet()
    run = rig.start(stage())
    assert (sent(rig), rig.counters(run)) == (2, {"queued": 3, "in_progress": 2})

    assert (look(rig), sent(rig)) == (1, 4)
    assert (look(rig), sent(rig)) == (1, 5)

    assert rig.counters(run) == {"in_progress": 5}
    assert look(rig) > SECOND


def test_a_release_in_parts_keeps_the_pace() -> None:
    rig = fleet()
    run = rig.start(stage(pace=Pace(max_in_flight=3)))
    for _ in NAMES:
        look(rig)

    assert rig.counters(run) == {"queued": 2, "in_progress": 3}
    assert look(rig) > SECOND


def test_a_controller_that_dies_in_between_goes_on_by_itself() -> None:
    rig = fleet()
    run = rig.start(stage())
    rig.controller = rig.new_controller()
    rig.inbox.open(rig.controller)

    run_now(wakeups.recover(rig.controller))
    look(rig)
    look(rig)

    assert rig.counters(run) == {"in_progress": 5}
    assert {len(device.commands) for device in rig.devices.values()} == {1}


def test_a_pause_in_between_lets_no_more_go() -> None:
    rig = fleet()
    run = rig.start(stage())
    rig.do(runs.pause, run=run, reason="wait")

    rig.sleep(MINUTE)
    assert rig.counters(run) == {"queued": 3, "in_progress": 2}

    rig.do(runs.resume, run=run)
    rig.sleep(SECOND)
    assert rig.counters(run) == {"in_progress": 5}


def test_a_transaction_that_only_reads_the_run_does_not_forget_that_it_goes_on() -> None:
    rig = fleet()
    run = rig.start(stage())
    at_work = next(name for name in NAMES if rig.devices[name].commands)
    rig.connect(at_work)

    rig.sleep(SECOND)

    assert rig.counters(run) == {"in_progress": 5}


def test_a_device_that_says_hello_in_between_does_not_break_the_order() -> None:
    rig = fleet()
    run = rig.start(stage())
    waiting = next(name for name in NAMES if not rig.devices[name].commands)
    rig.connect(waiting)

    assert rig.counters(run) == {"queued": 1, "in_progress": 4}
    rig.sleep(SECOND)
    assert rig.counters(run) == {"in_progress": 5}


def test_a_run_whose_ready_devices_went_offline_is_not_looked_at_again_and_again() -> None:
    rig = fleet()
    run = rig.start(stage())
    rig.lose(*(name for name in NAMES if not rig.devices[name].commands))

    look(rig)

    assert look(rig) > SECOND
    assert rig.counters(run) == {"queued": 3, "in_progress": 2}


def test_stages_that_open_together_share_what_one_transaction_may_release() -> None:
    rig = Rig(release_batch_max=BATCH_MAX)
    run_now(wakeups.recover(rig.controller))
    rig.enrol("a", "b", "c", region="eu")
    rig.enrol("d", "e", region="us")
    rig.connect(*NAMES)
    run = rig.start(*(stage(name, targets=Targets(labels={"region": name})) for name in ("eu", "us")))
    assert [rig.counters(run, index) for index in (0, 1)] == [{"queued": 1, "in_progress": 2}, {"queued": 2}]

    rig.sleep(SECOND)

    assert [rig.counters(run, index) for index in (0, 1)] == [{"in_progress": 3}, {"in_progress": 2}]


def paced(rate: int | Growth) -> tuple[Rig, str]:
    rig = Rig()
    run_now(wakeups.recover(rig.controller))
    rig.enrol(*NAMES)
    rig.connect(*NAMES)
    return rig, rig.start(stage(pace=Pace(per_minute=rate)))


def test_a_stage_with_a_rate_releases_no_more_than_that() -> None:
    rig, run = paced(2)
    assert sent(rig) == 1
    shown = rig.view(run).stages[0]
    assert (shown.per_minute, shown.paced_until) == (2, rig.clock.time + 30 * SECOND)

    rig.sleep(30 * SECOND - 1)
    assert rig.counters(run) == {"queued": 4, "in_progress": 1}
    rig.sleep(1)
    assert rig.counters(run) == {"queued": 3, "in_progress": 2}
    rig.sleep(MINUTE)
    assert rig.counters(run) == {"queued": 1, "in_progress": 4}


def test_a_rate_survives_a_restart() -> None:
    rig, run = paced(2)
    rig.controller = rig.new_controller()
    rig.inbox.open(rig.controller)
    run_now(wakeups.recover(rig.controller))
    rig.sleep(20 * SECOND)

    assert rig.counters(run) == {"queued": 4, "in_progress": 1}
    rig.sleep(10 * SECOND)
    assert rig.counters(run) == {"queued": 3, "in_progress": 2}


def test_a_long_pause_is_followed_by_no_burst() -> None:
    rig, run = paced(2)
    rig.do(runs.pause, run=run, reason="wait")
    assert rig.view(run).stages[0].paced_until is None
    rig.sleep(5 * HOUR)
    rig.do(runs.resume, run=run)
    assert rig.counters(run) == {"queued": 4, "in_progress": 1}
    rig.sleep(35 * SECOND)
    assert rig.counters(run) == {"queued": 3, "in_progress": 2}


def test_a_rate_grows_as_devices_succeed() -> None:
    rig, run = paced(Growth(start=1, factor=6, every=1, max=6))
    rig.succeed(next(name for name in NAMES if rig.devices[name].commands))
    assert rig.view(run).stages[0].per_minute == 6

    rig.sleep(MINUTE)
    assert rig.counters(run) == {"queued": 3, "in_progress": 1, "succeeded": 1}
    rig.sleep(10 * SECOND)
    assert rig.counters(run) == {"queued": 2, "in_progress": 2, "succeeded": 1}


def test_a_command_made_anew_for_the_same_attempt_is_not_counted() -> None:
    rig, run = paced(1)
    rig.do(runs.pause, run=run, reason="wait")
    rig.do(runs.resume, run=run)
    installs = [command for device in rig.devices.values() for _, command in device.commands if command.op == "install"]
    assert len(installs) == 2
    rig.sleep(MINUTE)
    assert rig.counters(run) == {"queued": 3, "in_progress": 2}
