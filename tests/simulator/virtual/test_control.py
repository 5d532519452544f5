"""Worlds in which stages hold devices back, and apps crash by themselves."""

from collections import Counter

from protocol.health import WATCH
from simulator.virtual.beginning import profile_of
from simulator.virtual.control import ControlDraw
from simulator.virtual.draws import draw
from simulator.virtual.fuzz import replay
from simulator.virtual.metrics import MetricsDraw
from simulator.virtual.sometimes import Sometimes

WORLDS = [draw(seed) for seed in range(1, 301)]
HOLDING = [world for world in WORLDS if world.control != ControlDraw()]


def test_some_worlds_hold_devices_back_and_all_others_are_as_they_were() -> None:
    assert len(HOLDING) > 20
    gates = [stage.gate for world in WORLDS for one in world.pipelines for stage in one.stages if world not in HOLDING]
    assert all(gate.control is None for gate in gates)
    gates = [stage.gate for world in HOLDING for one in world.pipelines for stage in one.stages]
    assert sum(gate.control is not None for gate in gates) * 2 > len(gates)


def test_in_such_worlds_devices_have_something_some_versions_are_worse_and_outages_strike() -> None:
    assert all(world.installed and world.builds.version for world in HOLDING)
    assert {world.control.worse > 0 for world in HOLDING} == {True, False}
    assert {world.control.crashes > 0 for world in HOLDING} == {True, False}
    assert {bool(world.control.outages) for world in HOLDING} == {True, False}


def test_some_devices_of_such_worlds_can_watch_what_they_have_and_some_cannot() -> None:
    able = {
        WATCH in profile_of(world, number, model="kiosk").capabilities
        for world in HOLDING
        for number in range(len(world.devices))
    }
    assert able == {True, False}


def test_crashes_stop_some_stages_and_those_held_back_are_updated_where_none_is_stopped() -> None:
    counts: Counter[str] = Counter()
    crashing = [world for world in HOLDING if world.metrics == MetricsDraw()]
    for world in crashing[:16]:
        outcome = replay(world.seed)
        assert outcome.is_good, outcome.violations
        counts += Counter(outcome.counts)
    assert counts[Sometimes.CRASHES_COMPARED] > 0
    assert counts[Sometimes.DISCHARGED] > 0
