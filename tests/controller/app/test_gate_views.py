"""What people see of the metrics that a stage compares, and of what they have stopped."""

from typing import Any

import msgspec
import pytest

from controller.app import runs
from controller.app.errors import Conflict
from controller.app.views import ControlView, MetricView
from controller.domain.pipeline import Control, Gate, Metric, OnBreach, Pace, Worse
from protocol.health import HEALTH, MEASURE, WATCH
from protocol.units import HOUR
from tests.controller.app.rig import Rig, stage

SCAN, FREE = Metric(name="scan_ms"), Metric(name="free_mb", worse=Worse.LOWER, alpha_percent=0.1)
COMPARED = Gate(soak_ms=int(HOUR), control=Control(share_percent=50, metrics=(SCAN, FREE)))
CAPABLE: dict[str, Any] = {"capabilities": ("install", HEALTH, WATCH, MEASURE)}
NAMES = tuple(f"d{number:02}" for number in range(60))


def soaking(**rules: Any) -> tuple[Rig, str, list[str], list[str]]:
    """Return a run whose stage soaks, who is held back, and who was updated."""
    rig = Rig()
    rig.enrol(*NAMES)
    rig.connect(*NAMES, **CAPABLE)
    run = rig.start(stage(gate=msgspec.structs.replace(COMPARED, **rules), pace=Pace(max_in_flight=60)))
    shown = rig.do(runs.targets, run=run, limit=100).items
    held, updated = ([one.device for one in shown if one.is_control is is_held] for is_held in (True, False))
    rig.watch(*held)
    rig.succeed(*updated)
    return rig, run, held, updated


def control(rig: Rig, run: str) -> ControlView:
    group = rig.view(run).stages[0].gate.control
    assert group is not None
    return group


def stopped(rig: Rig, held: list[str], updated: list[str], run: str) -> MetricView:
    """Let every updated device be slower than its partner until that stops the stage; return what is seen then."""
    for one in held:
        rig.measure(one, scan_ms=100, free_mb=50)
    for one in updated:
        rig.measure(one, scan_ms=200, free_mb=50)
        if control(rig, run).metrics[0].breached_at is not None:
            return control(rig, run).metrics[0]
    raise AssertionError("slower devices did nothing")


def test_metrics_of_which_no_pair_is_there_yet_are_shown_as_the_gate_names_them() -> None:
    rig, run, _, _ = soaking()
    scan, free = control(rig, run).metrics
    assert (scan.name, scan.worse, scan.said) == ("scan_ms", "higher", "no device is compared yet")
    assert (scan.pairs, scan.worse_pairs, scan.equal_pairs, scan.unpaired) == (0, 0, 0, 0)
    assert (scan.value, scan.is_breached, scan.breached_at, scan.evidence) == (1.0, False, None, "")
    assert (free.name, free.worse, free.pairs) == ("free_mb", "lower", 0)


def test_each_metric_has_its_own_share_of_alpha_beside_the_gate_and_the_comparison_of_crashes() -> None:
    rig, run, _, _ = soaking()
    scan, free = control(rig, run).metrics
    assert (scan.alpha_percent, scan.threshold) == pytest.approx((0.3, 100 / 0.3))
    assert (free.alpha_percent, free.threshold) == pytest.approx((0.1, 1_000))


def test_numbers_without_a_partner_are_counted_and_so_are_those_of_another_metric() -> None:
    rig, run, held, updated = soaking()
    rig.measure(updated[0], scan_ms=120)
    rig.measure(held[0], scan_ms=100, free_mb=50)
    rig.measure(held[1], scan_ms=100, free_mb=50)
    rig.measure(updated[1], scan_ms=120)
    rig.measure(updated[2], scan_ms=100, free_mb=60)
    group = control(rig, run)
    scan, free = group.metrics
    assert (group.updated.measured, group.control.measured) == (3, 2)
    assert (scan.pairs, scan.worse_pairs, scan.equal_pairs, scan.unpaired) == (2, 1, 1, 1)
    assert (free.pairs, free.worse_pairs, free.equal_pairs, free.unpaired) == (1, 0, 0, 2)
    assert scan.said.startswith("worse on 1 of 2 updated devices, equal on 1, each beside one held back; evidence ")
    assert free.value < 1 < scan.value


def test_of_each_device_people_see_what_it_told_and_whether_that_is_compared() -> None:
    rig, run, held, updated = soaking()
    rig.measure(updated[0], scan_ms=120)
    rig.measure(held[0], scan_ms=100, free_mb=50, boot_ms=9)
    rig.measure(updated[1], scan_ms=120)
    shown = {one.device: (one.measures, one.is_paired) for one in rig.do(runs.targets, run=run, limit=100).items}
    assert shown[updated[0]] == ({"scan_ms": 120}, False)
    assert shown[updated[1]] == ({"scan_ms": 120}, True)
    assert shown[held[0]] == ({"scan_ms": 100, "free_mb": 50}, True)
    assert shown[updated[2]] == ({}, False)


def test_people_see_which_metric_stopped_a_stage_and_what_was_known() -> None:
    rig, run, held, updated = soaking()
    seen = stopped(rig, held, updated, run)
    assert (seen.is_breached, seen.pairs, seen.worse_pairs) == (True, seen.worse_pairs, seen.pairs)
    assert seen.evidence == seen.said
    assert seen.value >= seen.threshold
    assert rig.view(run).stages[0].reason == f"scan_ms: {seen.evidence}"
    assert not control(rig, run).is_breached


def test_going_on_over_a_metric_takes_an_override_and_shows_what_was_accepted() -> None:
    rig, run, held, updated = soaking(on_breach=OnBreach.PAUSE)
    count = stopped(rig, held, updated, run).worse_pairs
    assert rig.view(run).pause_reasons == ("metric:all:scan_ms",)
    with pytest.raises(
        Conflict,
        match=r"^metric scan_ms is worse on updated devices of stage all than on those held back: resume with override",
    ):
        rig.do(runs.resume, run=run)
    rig.do(runs.resume, run=run, override=True, reason="known")
    scan, free = control(rig, run).metrics
    assert (scan.accepted, scan.is_breached, free.accepted) == (count, False, 0)


def test_two_metrics_that_hold_a_run_are_both_named() -> None:
    rig, run, held, updated = soaking(on_breach=OnBreach.PAUSE)
    for one in held:
        rig.measure(one, scan_ms=100, free_mb=50)
    for one in updated:
        rig.measure(one, scan_ms=200, free_mb=20)
    with pytest.raises(Conflict, match=r"^metric scan_ms is worse .* held back; metric free_mb is worse .*: resume"):
        rig.do(runs.resume, run=run)


def test_where_a_metric_only_alerts_the_timeline_tells_it_once() -> None:
    rig, run, held, updated = soaking(on_breach=OnBreach.ALERT)
    seen = stopped(rig, held, updated, run)
    rig.measure(updated[-1], scan_ms=200)
    [told] = [event.data for event in rig.do(runs.events, run=run) if event.kind == "metric"]
    assert told == {"stage": "all", "text": "scan_ms", "evidence": seen.evidence}
