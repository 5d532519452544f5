"""Worlds in which devices are cut off after their success, and stages mind."""

from collections import Counter

from simulator.virtual.draws import draw
from simulator.virtual.fuzz import replay
from simulator.virtual.silence import SilenceDraw
from simulator.virtual.sometimes import Sometimes

WORLDS = [draw(seed) for seed in range(1, 301)]
MINDING = [world for world in WORLDS if world.silence != SilenceDraw()]


def test_only_worlds_that_cut_devices_off_have_stages_that_mind() -> None:
    assert len(MINDING) > 20
    assert any(world.silence.cuts for world in MINDING)
    assert any(world.silence.outage_gap_ms for world in MINDING)
    others = [world for world in WORLDS if world not in MINDING]
    gates = [stage.gate for world in others for one in world.pipelines for stage in one.stages]
    assert all(gate.silent_after_ms is None for gate in gates)


def test_every_stage_that_minds_soaks_for_long_enough() -> None:
    gates = [stage.gate for world in MINDING for one in world.pipelines for stage in one.stages]
    minding = [gate for gate in gates if gate.silent_after_ms is not None]
    assert len(minding) * 2 > len(gates)
    assert all(gate.silent_after_ms <= gate.soak_ms for gate in minding if gate.silent_after_ms)


def test_devices_fall_silent_come_back_and_hold_their_runs() -> None:
    counts: Counter[str] = Counter()
    for world in MINDING[:16]:
        outcome = replay(world.seed)
        assert outcome.is_good, outcome.violations
        counts += Counter(outcome.counts)
    paths = (Sometimes.CUT_OFF_LATER, Sometimes.WENT_SILENT, Sometimes.CAME_BACK_IN_TIME, Sometimes.TELEMETRY_LOST)
    assert [path for path in paths if not counts[path]] == []
