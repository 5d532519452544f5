"""A stage that passes by proof: whom it counts, what it waits for, and that delay never helps a bad build."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain import target as targets
from controller.domain import waves
from controller.domain.counters import Tally
from controller.domain.gates import mirror
from controller.domain.gates.mirror import Outcome, best_prefix
from controller.domain.pipeline import Gate, Pace, Proof, Retry
from controller.domain.settle import ALL_QUARANTINED
from controller.domain.states import StageState
from controller.domain.target import TargetState
from controller.domain.validation import Fault, validate
from controller.domain.waves import SIZE_MIN, Wave, counted, current, is_proved, safest, shown
from protocol.lifecycle import AttemptState
from protocol.reasons import Reason
from tests.controller.domain.kit import World, plan, stage
from tests.controller.domain.test_run import end, fail, look, states, succeed

PROOF = Proof(below=5, beta_percent=5)
ENOUGH = mirror.passes_after(0, below=0.05, beta=0.05)
"""So many faultless devices prove it."""
ONE_LESS = mirror.passes_after(1, below=0.05, beta=0.05)


def world_of(size: int, *, in_flight: int = 1_000, proof: Proof = PROOF) -> World:
    """Return a run of one stage that passes by proof, and of another one after it."""
    rules = {"pace": Pace(max_in_flight=in_flight), "retry": Retry(attempts_max=1)}
    first = stage("a", gate=Gate(proof=proof, sequential=None), **rules)
    world = World(plan(first, stage("b", "a")), [size, 1])
    return world.start()


def accept(world: World, *indexes: int) -> None:
    """Let devices be heard of."""
    for index in indexes:
        attempt = world.devices[0][index].attempt
        report = targets.Reported(at=world.run_time, attempt=attempt, state=AttemptState.ACCEPTED)
        world.device(0, index, report)


# --- when a stage passes ------------------------------------------------------------------------------------------


def test_it_passes_as_soon_as_it_is_proved_whoever_is_still_queued() -> None:
    world = world_of(ENOUGH + 50, in_flight=1)
    succeed(world, 0, *range(ENOUGH - 1))
    assert states(world) == [StageState.ROLLING_OUT, StageState.BLOCKED]
    succeed(world, 0, ENOUGH - 1)
    assert states(world) == [StageState.PASSED, StageState.ROLLING_OUT]
    assert world.devices[0][-1].state is TargetState.QUEUED


def test_a_failure_makes_it_take_longer() -> None:
    world = world_of(ONE_LESS + 50, in_flight=1)
    fail(world, 0, 0)
    succeed(world, 0, *range(1, ONE_LESS - 1))
    assert world.state(0) is StageState.ROLLING_OUT
    succeed(world, 0, ONE_LESS - 1)
    assert world.state(0) is StageState.PASSED


def test_who_is_silent_counts_as_failed() -> None:
    world = world_of(ENOUGH + 1)
    accept(world, 0)
    succeed(world, 0, *range(1, ENOUGH + 1))
    assert world.state(0) is StageState.ROLLING_OUT
    succeed(world, 0, 0)
    assert world.state(0) is StageState.PASSED


def test_who_began_later_does_not_hold_up_what_is_proved_of_those_before() -> None:
    world = world_of(200)
    accept(world, *range(200))
    prefix = -(-ENOUGH // SIZE_MIN) * SIZE_MIN
    succeed(world, 0, *range(prefix - 1))
    assert world.state(0) is StageState.ROLLING_OUT
    succeed(world, 0, prefix - 1)
    assert world.state(0) is StageState.PASSED


def test_a_stage_that_is_too_small_to_prove_anything_fails_when_all_are_done() -> None:
    world = world_of(10)
    succeed(world, 0, *range(10))
    assert states(world) == [StageState.FAILED, StageState.CANCELLED]
    reason = (
        "not proved: 10 of the first 10 are well; passes at 70 with as many failures (fewer than 5 % fail, beta 5 %)"
    )
    assert world.run.stages[0].reason == reason


def test_a_stage_without_its_proof_in_time_is_timed_out() -> None:
    world = world_of(10)
    look(world, world.plan.pipeline.stages[0].timeouts.stage_ms)
    assert world.state(0) is StageState.TIMED_OUT


def test_who_was_called_back_after_it_began_is_not_well() -> None:
    world = world_of(ENOUGH + 1)
    accept(world, 0)
    end(world, 0, 0, AttemptState.CANCELLED)
    succeed(world, 0, *range(1, ENOUGH + 1))
    assert world.state(0) is StageState.FAILED


def test_who_turned_the_work_down_has_not_begun() -> None:
    world = world_of(ENOUGH + 1)
    end(world, 0, 0, AttemptState.REJECTED, Reason.LOCKED)
    succeed(world, 0, *range(1, ENOUGH + 1))
    assert world.state(0) is StageState.PASSED


def test_another_attempt_belongs_to_the_wave_of_the_first() -> None:
    stage_of_two = stage("a", gate=Gate(proof=PROOF, sequential=None), retry=Retry(attempts_max=2, backoff_ms=1))
    world = World(plan(stage_of_two), [30]).start()
    fail(world, 0, 0, reason=Reason.DOWNLOAD_FAILED)
    succeed(world, 0, *range(1, 30))
    look(world, 10)
    assert world.devices[0][0].attempt == 2
    accept(world, 0)
    assert world.devices[0][0].wave == 0
    succeed(world, 0, 0)
    assert world.run.stages[0].waves == (Wave(10, 10), Wave(10, 10), Wave(10, 10))


def test_models_that_are_quarantined_do_not_stand_in_the_way_once_the_rest_is_done() -> None:
    models = ["good"] * ENOUGH + ["bad"] * 20
    gate = Gate(proof=PROOF)
    first = stage("a", gate=gate, pace=Pace(max_in_flight=200), retry=Retry(attempts_max=1))
    world = World(plan(first, alpha_percent=5.0), [len(models)], [models]).start()
    succeed(world, 0, 0)
    for index in range(ENOUGH, ENOUGH + 20):
        if world.devices[0][index].state is TargetState.IN_PROGRESS:
            fail(world, 0, index)
    assert world.run.stages[0].models["bad"].breach is not None
    succeed(world, 0, *range(1, ENOUGH))
    assert world.state(0) is StageState.PASSED
    assert world.run.stages[0].reason != ALL_QUARANTINED


# --- waves --------------------------------------------------------------------------------------------------------


def test_a_million_devices_need_about_a_hundred_waves() -> None:
    known: waves.Waves = ()
    for size in [1_000] * 1_000:
        known = counted(known, [(current(known), size, 0)])
    assert sum(wave.begun for wave in known) == 1_000_000
    assert len(known) < 120
    assert current((Wave(10**9, 0),)) < 220


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), max_size=40))
def test_nobody_joins_a_wave_that_was_left(steps: list[tuple[int, int]]) -> None:
    known: waves.Waves = ()
    last = 0
    for begun, turned_down in steps:
        wave = current(known)
        assert wave >= last
        last = wave
        known = counted(known, [(wave, begun, 0), (wave, -min(begun, turned_down), 0)])


def test_devices_of_no_wave_count_nowhere() -> None:
    assert counted((), [(None, 1, 1)]) == ()


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(AssertionError, match="no such devices"):
        counted((), [(0, 1, 2)])


# --- the promise --------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32), st.integers(1, 150), st.sampled_from([0.0, 0.02, 0.1, 0.5]))
def test_however_late_devices_report_nothing_is_proved_that_their_ends_do_not_prove(
    seed: int, size: int, rate: float
) -> None:
    """So the promise for outcomes that are all known at once is that for any delay."""
    chance = random.Random(seed)
    outcomes = [Outcome.FAILED if chance.random() < rate else Outcome.OK for _ in range(size)]
    goal = best_prefix(outcomes, below=0.05).log
    known: waves.Waves = ()
    of: dict[int, int] = {}
    silent: list[int] = []
    while len(of) < size or silent:
        if len(of) < size and (not silent or chance.random() < 0.5):
            of[len(of)] = current(known)
            silent.append(len(of) - 1)
            known = counted(known, [(of[len(of) - 1], 1, 0)])
        else:
            told = silent.pop(chance.randrange(len(silent)))
            known = counted(known, [(of[told], 0, int(outcomes[told] is Outcome.OK))])
        assert safest(known, below=0.05).log <= goal + 1e-9


def test_a_proof_waits_for_no_stragglers() -> None:
    gate = Gate(proof=PROOF, straggler_after_ms=1)
    message = "a proof waits for no stragglers: expected it without straggler_after"
    assert validate(plan(stage("a", gate=gate)).pipeline) == (
        Fault(place="stages[0].gate.straggler_after", message=message),
    )


def test_a_device_that_crashed_since_its_success_proves_nothing() -> None:
    begun = (Wave(begun=5, faultless=2),)
    tally = Tally(succeeded=5, started=5, exposed=5, resolved=5, blamed=3, unwell=3)
    prefix = shown(Proof(below=50, beta_percent=10), begun, tally)
    assert (prefix.counted, prefix.failed) != (5, 0)
    assert not is_proved(prefix, Proof(below=50, beta_percent=10))


def test_of_devices_that_are_left_by_a_quarantine_no_more_are_well_than_surely_never_failed() -> None:
    begun = (Wave(begun=40, faultless=20),)
    rest = Tally(succeeded=20, failed=2, started=22, exposed=22, resolved=22, blamed=3)
    assert shown(Proof(below=50), begun, rest).failed == 5
