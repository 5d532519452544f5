"""Numbers that devices tell while they watch: who is asked for them, who is compared with whom, what comes of it."""

from typing import Any

import pytest

from controller.app import removing, runs
from controller.app.ports import Disposition, Uplinked
from controller.app.repositories import Transaction
from controller.domain.control import ControlRun
from controller.domain.metrics import MetricRun
from controller.domain.pipeline import Control, Gate, Metric, OnBreach, Pace, Retry, Targets, Timeouts, Worse
from controller.domain.target import TargetState
from protocol.health import HEALTH, MEASURE, WATCH, Mark
from protocol.ids import device_id
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import RejectCode
from protocol.topics import UplinkKind
from protocol.units import DAY, HOUR, MINUTE, SECOND, later
from tests.controller.app.rig import Rig, stage
from tests.controller.app.test_control_group import held, others, rows

CAPABLE: dict[str, Any] = {"capabilities": ("install", HEALTH, WATCH, MEASURE)}
SCAN, FREE = Metric(name="scan_ms"), Metric(name="free_mb", worse=Worse.LOWER)
SPAN, AGAIN = 54 * MINUTE, 9 * MINUTE
NAMES = tuple(f"d{number:02}" for number in range(8))


def gate(*metrics: Metric, **changes: Any) -> Gate:
    fields: dict[str, Any] = {"soak_ms": int(HOUR), "success_percent": 50}
    return Gate(**(fields | {"control": Control(share_percent=50, metrics=metrics or (SCAN,))} | changes))


def rigged(*names: str, **hello: Any) -> Rig:
    rig = Rig()
    rig.enrol(*names)
    rig.connect(*names, **(CAPABLE | hello))
    return rig


def begun(rules: Gate, *, count: int = 8, **fields: Any) -> tuple[Rig, str, list[str], list[str]]:
    """Return a run whose devices all watch: who of them is held back, and who is updated."""
    names = [f"d{number:02}" for number in range(count)]
    rig = rigged(*names)
    run = rig.start(stage(gate=rules, pace=Pace(max_in_flight=count), **fields))
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched)
    rig.succeed(*updated)
    return rig, run, watched, updated


def groups(rig: Rig, run: str) -> list[ControlRun]:
    """Return the control groups of the stages of a run."""

    def work(tx: Transaction) -> list[ControlRun]:
        record = tx.runs.by_uid(run)
        assert record is not None
        return [one.control for one in record.run.stages if one.control is not None]

    found: list[ControlRun] = rig.wait(rig.store.read(work))
    return found


def group(rig: Rig, run: str) -> ControlRun:
    return groups(rig, run)[0]


def known(rig: Rig, run: str, name: str = "scan_ms") -> MetricRun:
    return group(rig, run).metrics[name]


def pairs(rig: Rig, run: str) -> set[str]:
    """Return the names of devices that are in a pair."""
    return {name for name, row in rows(rig, run).items() if row.target.is_paired}


# --- who is asked ---


def test_devices_are_asked_late_in_the_soak_and_those_held_back_again_and_again() -> None:
    rig = rigged(*NAMES)
    run = rig.start(stage(gate=gate()))
    commands = {name: rig.last_install(name)[1] for name in NAMES}
    assert {commands[name].measure_ms for name in others(rig, run)} == {SPAN}
    assert {commands[name].measure_ms for name in held(rig, run)} == {AGAIN}
    assert {commands[name].watch_ms for name in others(rig, run)} == {HOUR}
    assert {commands[name].watch_ms > 2 * SPAN for name in held(rig, run)} == {True}


@pytest.mark.parametrize("missing", [MEASURE, HEALTH])
def test_nobody_is_asked_for_what_its_agent_cannot_do(missing: str) -> None:
    rig = rigged(*NAMES, capabilities=tuple(one for one in CAPABLE["capabilities"] if one != missing))
    run = rig.start(stage(gate=gate()))
    assert {rig.last_install(name)[1].measure_ms for name in NAMES} == {0}
    rig.succeed(*others(rig, run))
    rig.sleep(int(HOUR) + SECOND)
    assert rig.view(run).stages[0].state == "passed"


def test_nobody_is_asked_where_nothing_is_compared_or_nobody_is_held_back() -> None:
    rig = rigged(*NAMES)
    rig.start(stage(gate=gate(control=Control(share_percent=50))))
    assert {rig.last_install(name)[1].measure_ms for name in NAMES} == {0}
    alone = rigged("a")
    alone.start(stage(gate=gate()))
    assert (alone.last_install("a")[1].measure_ms, alone.last_install("a")[1].watch_ms) == (0, HOUR)


def test_after_the_discharge_nobody_is_asked() -> None:
    rig, run, watched, _ = begun(gate())
    rig.sleep(int(HOUR) + SECOND)
    assert rig.view(run).stages[0].state == "passed"
    commands = [rig.last_install(name)[1] for name in watched]
    assert [(one.op, one.measure_ms, one.watch_ms) for one in commands] == [("install", 0, HOUR)] * 4


def test_an_attempt_that_begins_anew_after_the_discharge_is_not_asked() -> None:
    rig = rigged(*NAMES)
    run = rig.start(stage(gate=gate(straggler_after_ms=0), timeouts=Timeouts(accept_ms=int(3 * HOUR))))
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched)
    rig.succeed(*updated[1:])
    rig.sleep(int(HOUR) + SECOND)
    assert rig.view(run).stages[0].state == "passed"
    assert rig.last_install(updated[0])[1].measure_ms == SPAN
    rig.refuse(updated[0], RejectCode.NO_FRESH_TIME)
    rig.sleep(5 * SECOND)
    assert rig.last_install(updated[0])[1].measure_ms == 0


# --- who is compared with whom ---


def test_an_updated_device_is_compared_with_the_first_of_those_held_back() -> None:
    rig, run, watched, updated = begun(gate())
    for name in reversed(watched):
        rig.measure(name, scan_ms=10, boot_ms=3)
    assert pairs(rig, run) == set()
    rig.measure(updated[2], scan_ms=12)
    first = min(watched, key=lambda name: rows(rig, run)[name].id)
    assert pairs(rig, run) == {first, updated[2]}
    found = known(rig, run)
    assert (found.pairs, found.worse, found.equal) == (1, 1, 0)
    assert (group(rig, run).updated.measured, group(rig, run).control.measured) == (1, 4)
    rig.measure(updated[0], scan_ms=10)
    assert (known(rig, run).pairs, known(rig, run).equal, len(pairs(rig, run))) == (2, 1, 4)


@pytest.mark.parametrize("is_reversed", [False, True])
def test_both_of_a_pair_may_tell_in_one_batch_in_any_order(is_reversed: bool) -> None:
    rig, run, watched, updated = begun(gate())
    batch = [rig.said_measure(name, scan_ms=10) for name in (*watched[:2], *updated)]
    assert set(rig.receive(batch[::-1] if is_reversed else batch)) == {Disposition.STORED}
    two = sorted(updated, key=lambda name: rows(rig, run)[name].id)[:2]
    assert pairs(rig, run) == {*watched[:2], *two}
    assert (known(rig, run).pairs, known(rig, run).equal, group(rig, run).updated.measured) == (2, 2, 4)


@pytest.mark.parametrize("is_reversed", [False, True])
def test_who_tells_first_does_not_decide_whose_numbers_are_compared(is_reversed: bool) -> None:
    """Those that do so may be of a kind of their own, such as well connected; those held back are of all kinds."""
    rules = gate(control=Control(share_percent=25, metrics=(SCAN,)))
    rig, run, watched, updated = begun(rules, count=16)
    for name in watched:
        rig.measure(name, scan_ms=10)
    in_order = sorted(updated, key=lambda name: rows(rig, run)[name].id)
    for name in in_order[::-1] if is_reversed else in_order:
        rig.measure(name, scan_ms=10)
    assert (len(watched), pairs(rig, run)) == (4, {*watched, *in_order[:4]})
    assert [rig.last_install(name)[1].measure_ms for name in in_order] == [SPAN] * 4 + [0] * 8


def test_who_finds_no_partner_stays_alone_for_good() -> None:
    rig, run, watched, updated = begun(gate())
    rig.measure(updated[0], scan_ms=12)
    rig.measure(watched[0], scan_ms=10)
    rig.measure(updated[0], scan_ms=12)
    assert (pairs(rig, run), group(rig, run).metrics) == (set(), {})
    assert rows(rig, run)[updated[0]].target.measures == {"scan_ms": 12.0}


def test_a_report_that_comes_twice_counts_once() -> None:
    rig, run, watched, updated = begun(gate())
    told = [rig.said_measure(name, scan_ms=10) for name in (*watched, updated[0])]
    for batch in ([*told, *told], told, told[-1:]):
        assert set(rig.receive(batch)) == {Disposition.STORED}
    assert (known(rig, run).pairs, len(pairs(rig, run))) == (1, 2)
    assert len(rig.devices[updated[0]].acks) > 2


def test_of_an_updated_device_the_first_numbers_that_come_count_and_of_one_held_back_the_newest() -> None:
    rig, run, watched, updated = begun(gate())
    rig.measure(watched[0], scan_ms=5)
    late, early = rig.said_measure(watched[0], scan_ms=30), rig.said_measure(watched[0], scan_ms=20)
    rig.receive([early])
    rig.receive([late])
    rig.receive([rig.said_measure(updated[0], scan_ms=25), rig.said_measure(updated[0], scan_ms=99)])
    rig.measure(watched[0], scan_ms=1)
    rig.measure(updated[0], scan_ms=99)
    told = {name: rows(rig, run)[name].target.measures for name in (watched[0], updated[0])}
    assert told == {watched[0]: {"scan_ms": 30.0}, updated[0]: {"scan_ms": 25.0}}
    assert (known(rig, run).pairs, known(rig, run).worse) == (1, 0)


def open_for_long() -> tuple[Rig, str, list[str], list[str]]:
    """Return a run whose stage does not pass for a day: its last updated device has not accepted its command."""
    rig = rigged(*NAMES)
    run = rig.start(stage(gate=gate(success_percent=100), timeouts=Timeouts(accept_ms=DAY)))
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched)
    rig.succeed(*updated[:-1])
    return rig, run, watched, updated[:-1]


@pytest.mark.parametrize(("age_ms", "count"), [(2 * AGAIN, 1), (2 * AGAIN + 1, 0)])
def test_numbers_of_those_held_back_are_compared_while_they_are_fresh(age_ms: int, count: int) -> None:
    rig, run, watched, updated = open_for_long()
    rig.measure(watched[0], scan_ms=10)
    rig.clock.time = later(rig.clock.time, age_ms)
    rig.measure(updated[0], scan_ms=12)
    assert len(pairs(rig, run)) == 2 * count


def test_who_tells_again_is_fresh_again() -> None:
    rig, run, watched, updated = open_for_long()
    rig.measure(watched[0], scan_ms=10)
    rig.clock.time = later(rig.clock.time, 2 * AGAIN)
    rig.measure(watched[0], scan_ms=11)
    rig.clock.time = later(rig.clock.time, 2 * AGAIN)
    rig.measure(updated[0], scan_ms=11)
    assert known(rig, run).equal == 1


def test_numbers_that_waited_for_their_device_to_be_connected_are_as_old_as_they_are() -> None:
    rig, run, watched, updated = open_for_long()
    waited = [rig.said_measure(name, scan_ms=10) for name in (watched[0], updated[0])]
    rig.clock.time = later(rig.clock.time, 2 * AGAIN + 1)
    rig.receive([waited[0]])
    rig.measure(updated[1], scan_ms=10)
    rig.measure(watched[1], scan_ms=10)
    rig.receive([waited[1]])
    assert pairs(rig, run) == set()
    rig.measure(updated[2], scan_ms=10)
    assert pairs(rig, run) == {watched[1], updated[2]}


def test_a_device_whose_clock_is_ahead_is_not_fresh_for_longer() -> None:
    rig, run, watched, _ = open_for_long()
    now = rig.clock.time
    rig.clock.time = later(now, DAY)
    ahead = rig.said_measure(watched[0], scan_ms=10)
    rig.clock.time = now
    rig.receive([ahead])
    assert rows(rig, run)[watched[0]].target.measured_at == now


def test_devices_are_compared_within_their_model() -> None:
    rig = Rig()
    rig.enrol(*NAMES[:4], model="k1")
    rig.enrol(*NAMES[4:], model="k2")
    rig.connect(*NAMES, **CAPABLE)
    run = rig.start(stage(gate=gate()))
    models = {name: row.model for name, row in rows(rig, run).items()}
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched)
    rig.succeed(*updated)
    rig.receive([rig.said_measure(name, scan_ms=10) for name in (*updated, *watched)])
    for model in ("k1", "k2"):
        sides = [[name for name in side if models[name] == model] for side in (watched, updated)]
        found = [name for name in pairs(rig, run) if models[name] == model]
        assert len(found) == 2 * min(map(len, sides))
    assert known(rig, run).pairs == len(pairs(rig, run)) // 2


def test_two_stages_compare_apart() -> None:
    rig = rigged(*NAMES)
    first, second = (tuple(device_id(name) for name in half) for half in (NAMES[:4], NAMES[4:]))
    run = rig.start(
        stage("a", gate=gate(), targets=Targets(devices=first)),
        stage("b", gate=gate(FREE, SCAN), targets=Targets(devices=second)),
    )
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched)
    rig.succeed(*updated)
    rig.receive([rig.said_measure(name, scan_ms=10, free_mb=3) for name in (*watched, *updated)])
    assert [[*one.metrics] for one in groups(rig, run)] == [["scan_ms"], ["free_mb", "scan_ms"]]
    assert [one.metrics["scan_ms"].pairs for one in groups(rig, run)] == [2, 2]


# --- what counts ---


@pytest.mark.parametrize("outputs", [{"scan_ms": "fast"}, {"boot_ms": 3}, {}])
def test_text_and_what_nobody_compares_is_as_good_as_nothing(outputs: dict[str, Any]) -> None:
    rig, run, watched, updated = begun(gate())
    rig.measure(watched[0], scan_ms=10)
    rig.measure(updated[0], **outputs)
    assert (pairs(rig, run), rows(rig, run)[updated[0]].target.measured_at) == (set(), None)
    rig.measure(updated[0], scan_ms=12)
    assert known(rig, run).pairs == 1


def test_a_metric_that_one_of_a_pair_does_not_tell_is_not_counted() -> None:
    rig, run, watched, updated = begun(gate(SCAN, FREE))
    rig.measure(watched[0], scan_ms=10, free_mb=5)
    rig.measure(updated[0], scan_ms=12, free_mb="none")
    assert (known(rig, run).pairs, list(group(rig, run).metrics)) == (1, ["scan_ms"])
    assert len(pairs(rig, run)) == 2


def test_no_number_can_be_told_that_is_none() -> None:
    rig, run, watched, updated = begun(gate())
    rig.measure(watched[0], scan_ms=10)
    assert rig.measure(updated[0], scan_ms=float("nan")) is not Disposition.STORED
    assert (pairs(rig, run), rows(rig, run)[updated[0]].target.measures) == (set(), {})


def test_numbers_of_an_earlier_attempt_are_of_none() -> None:
    rig = rigged(*NAMES)
    run = rig.start(stage(gate=gate(), retry=Retry(attempts_max=3)))
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched)
    rig.succeed(*updated[1:])
    first = rig.last_install(updated[0])
    rig.report(updated[0], AttemptState.ACCEPTED)
    rig.sleep(int(HOUR) + 60 * SECOND)
    assert rig.last_install(updated[0])[1].attempt == 2
    rig.measure(watched[0], scan_ms=10)
    rig.measure(updated[0], command=first, scan_ms=50)
    assert pairs(rig, run) == set()
    rig.succeed(updated[0])
    rig.measure(updated[0], scan_ms=10)
    assert (known(rig, run).pairs, known(rig, run).equal) == (1, 1)


def test_a_device_that_begins_again_after_its_pair_is_in_no_other() -> None:
    rig = rigged(*NAMES)
    run = rig.start(stage(gate=gate(), retry=Retry(attempts_max=3, backoff_ms=1)))
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched)
    rig.succeed(*updated[1:])
    rig.measure(watched[0], scan_ms=10)
    rig.report(updated[0], AttemptState.ACCEPTED)
    rig.measure(updated[0], scan_ms=12)
    assert pairs(rig, run) == {watched[0], updated[0]}
    rig.sleep(int(HOUR) + 60 * SECOND)
    assert rig.last_install(updated[0])[1].attempt == 2
    rig.succeed(updated[0])
    rig.measure(watched[1], scan_ms=10)
    rig.measure(updated[0], scan_ms=13)
    assert (pairs(rig, run), known(rig, run).pairs) == ({watched[0], updated[0]}, 1)
    assert not rig.view(run).stages[0].reason


def test_who_was_told_to_leave_the_fleet_is_not_heard_and_what_it_told_before_counts() -> None:
    rig, run, watched, updated = begun(gate())
    rig.measure(watched[0], scan_ms=10)
    for name in (watched[0], updated[0]):
        rig.do(removing.remove, device=name, reason="sold")
    rig.measure(updated[0], scan_ms=12)
    assert pairs(rig, run) == set()
    rig.measure(updated[1], scan_ms=12)
    assert (pairs(rig, run), known(rig, run).worse) == ({watched[0], updated[1]}, 1)


def test_what_those_held_back_tell_after_their_discharge_counts_nowhere() -> None:
    rig, run, watched, updated = begun(gate())
    watches = {name: rig.last_install(name) for name in watched}
    rig.measure(watched[0], scan_ms=10)
    rig.sleep(int(HOUR) + SECOND)
    assert rig.view(run).stages[0].state == "passed"
    for name in watched:
        rig.measure(name, command=watches[name], scan_ms=10)
    rig.measure(updated[0], scan_ms=12)
    rig.succeed(*watched)
    for name in watched:
        rig.measure(name, scan_ms=12)
    assert (pairs(rig, run), group(rig, run).metrics, rig.view(run).state) == (set(), {}, "succeeded")


def test_once_anybody_is_discharged_those_that_still_are_held_back_are_no_partners() -> None:
    rig = rigged(*NAMES)
    run = rig.start(stage(gate=gate(), timeouts=Timeouts(lease_ms=DAY)))
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched[1:])
    rig.report(watched[0], AttemptState.ACCEPTED)
    rig.succeed(*updated)
    rig.sleep(int(HOUR) + SECOND)
    assert (held(rig, run), rig.view(run).stages[0].state) == ([watched[0]], "passed")
    rig.measure(watched[0], scan_ms=10)
    rig.measure(updated[0], scan_ms=12)
    assert (pairs(rig, run), group(rig, run).metrics) == (set(), {})


def test_numbers_for_a_command_that_was_never_given_raise_an_alarm() -> None:
    rig, run, watched, updated = begun(gate())
    rig.measure(watched[0], scan_ms=10)
    assert rig.measure(updated[0], command=rig.last_install(updated[1]), scan_ms=12) is Disposition.STORED
    assert pairs(rig, run) == set()
    alarms = rig.wait(rig.store.read(lambda tx: tx.log.security(after=0, limit=9)))
    assert [(one.code, one.detail) for one in alarms] == [("unknown-command", f"reports measured of run {run}")]


# --- nothing is lost where a row changes twice in a batch ---


def test_a_mark_and_numbers_of_one_batch_are_both_kept() -> None:
    rig, run, watched, updated = begun(gate())
    rig.measure(watched[0], scan_ms=10)
    rig.receive([rig.said_measure(updated[0], scan_ms=12), rig.said_mark(watched[0], Mark.WELL)])
    target = rows(rig, run)[watched[0]].target
    assert (target.health, target.is_paired, group(rig, run).strata["k1"].control) == (Mark.WELL, True, 3)


def test_who_succeeds_tells_and_is_away_in_one_batch_is_paired_and_watched() -> None:
    rig = rigged(*NAMES)
    run = rig.start(stage(gate=gate(silent_after_ms=int(30 * MINUTE))))
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched)
    rig.measure(watched[0], scan_ms=10)
    rig.lose(updated[0])
    success = rig.signed_report(updated[0], AttemptState.SUCCEEDED, left=Left.NEW)
    said = [Uplinked(name=rig.devices[updated[0]].name, kind=UplinkKind.REPORT, payload=success)]
    rig.receive([*said, rig.said_measure(updated[0], scan_ms=12)])
    target = rows(rig, run)[updated[0]].target
    assert (target.state, target.is_paired) == (TargetState.SUCCEEDED, True)
    assert (target.watched_until is not None, target.due is not None) == (True, True)


def test_an_attempt_that_is_commanded_anew_in_the_batch_of_its_pair_stays_paired() -> None:
    rig = rigged(*NAMES)
    run = rig.start(stage(gate=gate()))
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched)
    rig.measure(watched[0], scan_ms=10)
    first = rig.last_install(updated[0])
    refusal = rig.said_refusal(updated[0], RejectCode.NO_FRESH_TIME)
    rig.receive([rig.said_measure(updated[0], scan_ms=12), refusal])
    rig.sleep(5 * SECOND)
    assert rig.last_install(updated[0]) != first
    assert pairs(rig, run) == {watched[0], updated[0]}
    rig.succeed(updated[0])
    assert (pairs(rig, run), known(rig, run).pairs) == ({watched[0], updated[0]}, 1)


# --- what comes of it ---


def worse(rig: Rig, run: str, watched: list[str], updated: list[str], wanted: str) -> int:
    """Let pairs tell of which the updated one is worse until the run is as wanted; return how many did."""
    for count, (one, other) in enumerate(zip(watched, updated, strict=True), start=1):
        rig.measure(one, scan_ms=10, free_mb=10)
        rig.measure(other, scan_ms=11, free_mb=10)
        view = rig.view(run)
        if wanted in {view.state, *view.pause_reasons}:
            return count
    raise AssertionError("the numbers of all did nothing")


def test_a_stage_fails_on_whose_updated_devices_a_metric_is_worse_and_nobody_held_back_is_updated() -> None:
    rig, run, watched, updated = begun(gate(SCAN, FREE), count=40)
    count = worse(rig, run, watched, updated, "failed")
    seen = rig.view(run).stages[0]
    assert seen.reason.startswith(f"scan_ms: worse on {count} of {count} updated devices, each beside one held back")
    assert (seen.failures, seen.counters.succeeded, known(rig, run, "free_mb").equal) == (0, 20, count)
    assert {len(rig.devices[name].commands) for name in watched} == {1}
    told = rows(rig, run)
    rig.measure(watched[-1], scan_ms=10)
    rig.measure(updated[-1], scan_ms=11)
    assert (known(rig, run).pairs, rig.view(run).stages[0].reason) == (count, seen.reason)
    assert rows(rig, run) == told, "what is told after the verdict changes nothing"


def test_going_on_over_a_metric_accepts_what_it_has_shown() -> None:
    rig, run, watched, updated = begun(gate(on_breach=OnBreach.PAUSE), count=40)
    count = worse(rig, run, watched, updated, "metric:all:scan_ms")
    rig.do(runs.resume, run=run, override=True, reason="known")
    assert (rig.view(run).paused, known(rig, run).accepted) == (False, count)
    worse(rig, run, watched[count : count + 1], updated[count : count + 1], "metric:all:scan_ms")
    rig.do(runs.skip, run=run, stage="all", reason="not this one")
    assert (rig.view(run).paused, rig.view(run).stages[0].state) == (False, "skipped")


def test_a_metric_may_only_be_told_of() -> None:
    rig, run, watched, updated = begun(gate(on_breach=OnBreach.ALERT), count=40)
    for one, other in zip(watched, updated, strict=True):
        rig.measure(one, scan_ms=10)
        rig.measure(other, scan_ms=11)
    told = [event.data for event in rig.do(runs.events, run=run) if event.kind == "metric"]
    assert [(one["stage"], one["text"]) for one in told] == [("all", "scan_ms")]
    rig.sleep(int(HOUR) + SECOND)
    assert rig.view(run).stages[0].state == "passed"


def test_numbers_count_while_the_run_is_paused() -> None:
    rig, run, watched, updated = begun(gate(on_breach=OnBreach.PAUSE), count=40)
    rig.do(runs.pause, run=run, reason="lunch")
    worse(rig, run, watched, updated, "metric:all:scan_ms")
    assert len(rig.view(run).pause_reasons) == 2


def test_a_new_controller_goes_on_where_the_old_one_was() -> None:
    rig, run, watched, updated = begun(gate(on_breach=OnBreach.PAUSE), count=40)
    for one, other in zip(watched[:5], updated[:5], strict=True):
        rig.measure(one, scan_ms=10)
        rig.measure(other, scan_ms=11)
    rig.controller = rig.new_controller()
    rig.inbox.open(rig.controller)
    count = worse(rig, run, watched[5:], updated[5:], "metric:all:scan_ms")
    assert known(rig, run).worse == 5 + count
