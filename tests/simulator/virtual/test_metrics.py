"""Worlds in which devices tell numbers, and stages compare them."""

from collections import Counter

import msgspec

from agent.core.model import NOTHING_TOLD, Durable, Told
from controller.domain.pipeline import Metric, Worse
from controller.domain.validation import validate
from protocol.health import HEALTH, MEASURE
from protocol.ids import Name
from simulator.virtual.beginning import kept, profile_of
from simulator.virtual.builds import BuildsDraw
from simulator.virtual.control import ControlDraw
from simulator.virtual.draws import VERSIONS, Draws, draw
from simulator.virtual.fuzz import replay
from simulator.virtual.gauges import Gauges
from simulator.virtual.metrics import MetricsDraw
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

NAME = Name("acme:d1")
WORLDS = [draw(seed) for seed in range(1, 401)]
COMPARING = [world for world in WORLDS if world.metrics != MetricsDraw()]


def metrics_of(world: Draws) -> list[Metric]:
    groups = [stage.gate.control for one in world.pipelines for stage in one.stages]
    return [metric for group in groups if group is not None for metric in group.metrics]


def test_some_worlds_that_hold_devices_back_compare_metrics_and_no_others() -> None:
    assert len(COMPARING) > 15
    assert all(world.control != ControlDraw() for world in COMPARING)
    assert all(bool(metrics_of(world)) is (world in COMPARING) for world in WORLDS)


def test_what_such_worlds_compare_may_be_written() -> None:
    assert [fault for world in COMPARING for one in world.pipelines for fault in validate(one)] == []


def test_metrics_are_worse_in_both_directions_and_the_bad_version_in_some_worlds() -> None:
    assert {metric.worse for world in COMPARING for metric in world.metrics.metrics} == set(Worse)
    assert {world.metrics.shift > 0 for world in COMPARING} == {True, False}
    assert {world.metrics.shift < 0 for world in COMPARING} == {True, False}


def test_some_devices_of_such_worlds_can_measure_and_none_that_cannot_watch() -> None:
    able = {
        (HEALTH in can, MEASURE in can)
        for world in COMPARING
        for number in range(len(world.devices))
        for can in (profile_of(world, number, model="kiosk").capabilities,)
    }
    assert able == {(True, True), (True, False), (False, False)}


def test_a_device_tells_the_same_at_the_same_time_and_more_of_what_is_worse_with_the_bad_version() -> None:
    metric = Metric(name="free_mb", worse=Worse.LOWER)
    known = MetricsDraw(metrics=(metric,), spread=20, shift=40)
    drawn = msgspec.structs.replace(COMPARING[0], metrics=known, builds=BuildsDraw(version=VERSIONS[-1]))
    before = kept(NAME, drawn)
    assert before is not None
    bad = msgspec.structs.replace(before.installed[0], version=VERSIONS[-1])
    after = msgspec.structs.replace(before, installed=(bad,))
    gauges = Gauges(World(drawn), "d1")
    first, again, worse = (gauges.read(one).outputs["free_mb"] for one in (before, before, after))
    assert (again, worse) == (first, int(first) - 40)


def test_a_device_may_tell_nothing_text_or_what_is_far_off() -> None:
    plain = MetricsDraw(metrics=(Metric(name="free_mb"),))
    cases = [({"gaps": 1.0}, NOTHING_TOLD), ({"texts": 1.0}, Told(outputs={"free_mb": "n/a"}))]
    cases += [({"outliers": 1.0}, Told(outputs={"free_mb": 100_000}))]
    for changes, told in cases:
        drawn = msgspec.structs.replace(COMPARING[0], metrics=msgspec.structs.replace(plain, **changes))
        assert Gauges(World(drawn), "d1").read(Durable(name=NAME, incarnation="1" * 16)) == told


def test_metrics_stop_some_stages_and_others_pass() -> None:
    counts: Counter[str] = Counter()
    for world in COMPARING[:20]:
        outcome = replay(world.seed)
        assert outcome.is_good, outcome.violations
        counts += Counter(outcome.counts)
    assert counts[Sometimes.METRIC_STOPPED] > 0
    assert counts[Sometimes.METRIC_EQUAL] > 0
    assert counts[Sometimes.METRIC_UNPAIRED] > 0
    assert counts[Sometimes.METRICS_COMPARED] > 0
