"""Worlds in which a version crashes some time after its success."""

from collections import Counter

from controller.domain.pipeline import OnHealth
from protocol.health import HEALTH
from simulator.virtual.beginning import profile_of
from simulator.virtual.builds import BuildsDraw
from simulator.virtual.control import ControlDraw
from simulator.virtual.draws import draw
from simulator.virtual.fuzz import replay
from simulator.virtual.health import HealthDraw
from simulator.virtual.sometimes import Sometimes

WORLDS = [draw(seed) for seed in range(1, 301)]
AILING = [world for world in WORLDS if world.health.ails]


def test_only_worlds_with_a_bad_version_have_one_that_crashes_later() -> None:
    assert len(AILING) > 20
    assert all(world.builds != BuildsDraw() for world in AILING)
    assert any(world.builds.fails == 0 for world in AILING), "some versions seem to be good at first"


def test_some_devices_of_such_worlds_can_watch_and_some_cannot() -> None:
    able = {
        HEALTH in profile_of(world, number, model="kiosk").capabilities
        for world in AILING
        for number in range(len(world.devices))
    }
    assert able == {True, False}
    others = (world for world in WORLDS if world.health == HealthDraw() and world.control == ControlDraw())
    assert not any(HEALTH in profile_of(world, 0, model="kiosk").capabilities for world in others)


def test_most_stages_of_such_worlds_mind_how_devices_do() -> None:
    gates = [stage.gate for world in AILING for one in world.pipelines for stage in one.stages]
    assert {gate.health for gate in gates} == set(OnHealth)
    assert sum(gate.watch_ms > 0 for gate in gates) * 3 > len(gates)


def test_devices_tell_of_harm_and_of_none() -> None:
    counts: Counter[str] = Counter()
    for world in AILING[:6]:
        outcome = replay(world.seed)
        assert outcome.is_good, outcome.violations
        counts += Counter(outcome.counts)
    assert counts[Sometimes.CRASHED_LATER] > 0
    assert counts[Sometimes.STAYED_WELL] > 0
    assert counts[Sometimes.WATCH_ENDED_EARLY] > 0
