"""A stage that ramps: rounds that are paid for, what counts as known, and a hold that a person lifts."""

from typing import Any

import msgspec
import pytest

from controller.domain import ramping
from controller.domain.counters import Tally
from controller.domain.events import Note, Paused, Resumed, Skipped, Woken
from controller.domain.gates.ramp import next_batch
from controller.domain.model import RampRun, StageRun
from controller.domain.pipeline import Gate, OnBreach, Pace, Ramp, Retry, Rollback, Sequential, Stage
from controller.domain.run import next_deadline
from controller.domain.states import RunState, StageState
from controller.domain.target import Reported, TargetState
from controller.domain.validation import Fault, validate
from protocol.lifecycle import AttemptState
from protocol.reasons import Reason
from tests.controller.domain.kit import World, at, plan, stage

ALERTED = Gate(success_percent=0, sequential=Sequential(above=2), on_breach=OnBreach.ALERT)
SIZE = 400


def ramped(*, gate: Gate = ALERTED, retry: Retry | None = None, size: int = SIZE, **ramp: Any) -> World:
    pace = Pace(max_in_flight=1_000, ramp=Ramp(**ramp))
    return World(plan(stage("a", gate=gate, pace=pace, retry=retry or Retry(attempts_max=1))), [size]).start()


def at_work(world: World) -> list[int]:
    return [index for index, one in enumerate(world.devices[0]) if one.state is TargetState.IN_PROGRESS]


def end(world: World, index: int, state: AttemptState, reason: Reason | None = None) -> None:
    attempt = world.devices[0][index].attempt
    world.device(0, index, Reported(at=world.run_time, attempt=attempt, state=state, reason=reason))


def end_all(world: World, *, failing: int = 0) -> int:
    """Let all devices at work end, the first *failing* by the build's fault; return how many there were."""
    going = at_work(world)
    for number, index in enumerate(going):
        state = AttemptState.FAILED if number < failing else AttemptState.SUCCEEDED
        end(world, index, state, Reason.VERIFY_FAILED if number < failing else None)
    return len(going)


def ramp_of(world: World) -> RampRun:
    ramp = world.run.stages[0].ramp
    assert ramp is not None
    return ramp


def test_rounds_grow_with_what_has_succeeded() -> None:
    world = ramped(risk=10)
    rounds = []
    while world.run.state is RunState.RUNNING:
        rounds.append(end_all(world))
    assert rounds == [10, 17, 42, 119, 212]
    assert ramp_of(world).round == 5
    assert world.run.state is RunState.SUCCEEDED


def test_the_risk_follows_from_the_size_where_none_is_named() -> None:
    assert [ramp_of(ramped(size=size)).risk for size in (5, 4_000, 8_000)] == [10, 10, 20]
    assert len(at_work(ramped(size=5))) == 5


def test_a_round_waits_for_its_last_device() -> None:
    world = ramped(risk=10)
    last = at_work(world)[-1]
    for index in at_work(world)[:-1]:
        end(world, index, AttemptState.SUCCEEDED)
    assert at_work(world) == [last]
    end(world, last, AttemptState.SUCCEEDED)
    assert len(at_work(world)) == 17


def test_a_round_soaks_from_its_last_device_on() -> None:
    world = ramped(risk=10, soak_ms=1_000)
    world.now = at(500)
    end_all(world)
    assert at_work(world) == []
    assert next_deadline(world.plan, world.run) == at(1_500)
    for offset, begun in ((1_499, 0), (1_500, 17)):
        world.now = at(offset)
        world.happen(Woken(at=world.now))
        assert len(at_work(world)) == begun


def test_devices_of_which_nothing_is_known_count_as_failed() -> None:
    world = ramped(risk=10)
    going = at_work(world)
    for index in going[:4]:
        end(world, index, AttemptState.ACCEPTED)
        end(world, index, AttemptState.FAILED, Reason.LEASE_ENDED)
    for index in going[4:]:
        end(world, index, AttemptState.SUCCEEDED)
    tally = world.run.stages[0].tally
    assert (tally.exposed, tally.resolved, tally.blamed) == (10, 6, 0)
    expected = next_batch(10, 4, left=SIZE - 10, risk=10, above=0.02, delta=0.01, rounds=15, spent=1)
    assert len(at_work(world)) == expected < 17


def test_failures_that_the_network_is_to_blame_for_cost_nothing_and_prove_nothing() -> None:
    world = ramped(risk=10)
    for index in at_work(world):
        end(world, index, AttemptState.ACCEPTED)
        end(world, index, AttemptState.FAILED, Reason.DOWNLOAD_FAILED)
    assert len(at_work(world)) == 10


def test_a_retry_costs_one_of_its_round_and_counts_as_failed_meanwhile() -> None:
    world = ramped(risk=3, retry=Retry(attempts_max=3, backoff_ms=1_000))
    first = at_work(world)
    end(world, first[0], AttemptState.ACCEPTED)
    end(world, first[0], AttemptState.FAILED, Reason.INTERRUPTED)
    for index in first[1:]:
        end(world, index, AttemptState.SUCCEEDED)
    assert ramp_of(world).left == 0
    assert len(at_work(world)) == next_batch(3, 1, left=SIZE - 2, risk=3, above=0.02, delta=0.01, rounds=15, spent=1)


def test_a_spent_risk_holds_the_run_until_a_person_takes_another() -> None:
    world = ramped(risk=4)
    end_all(world, failing=4)
    assert world.run.pause_reasons == ("ramp:a",)
    assert at_work(world) == []
    [held] = [note for note in world.notes if note.kind == "paused"]
    assert held.evidence == "round 1 of 15: 0 more may begin, 0 are at work; at most 4 failures above 2 % are risked"
    world.happen(Resumed(at=world.now, reason="a known fault", by="ann"))
    assert len(at_work(world)) == 4
    assert (ramp_of(world).accepted_exposed, ramp_of(world).accepted_failed, ramp_of(world).round) == (4, 4, 1)
    end_all(world)
    assert len(at_work(world)) == next_batch(4, 0, left=SIZE - 8, risk=4, above=0.02, delta=0.01, rounds=15, spent=1)


def test_devices_that_wait_for_another_try_when_a_hold_is_lifted_make_up_for_no_later_failure() -> None:
    world = ramped(risk=4, retry=Retry(attempts_max=2, backoff_ms=1))
    for index in at_work(world):
        end(world, index, AttemptState.ACCEPTED)
        end(world, index, AttemptState.FAILED, Reason.INTERRUPTED)
    assert world.run.pause_reasons == ("ramp:a",)
    world.now = at(1_000)
    world.happen(Resumed(at=world.now, reason="a power cut", by="ann"))
    assert at_work(world) == [0, 1, 2, 3]
    end_all(world)
    begun = len(at_work(world))
    assert begun == next_batch(4, 0, left=SIZE - 4, risk=4, above=0.02, delta=0.01, rounds=15, spent=1)
    end_all(world, failing=4)
    left = SIZE - 4 - begun
    expected = next_batch(4 + begun, 4, left=left, risk=4, above=0.02, delta=0.01, rounds=15, spent=2)
    assert len(at_work(world)) == expected < begun


def test_a_resumption_from_another_pause_gives_a_ramp_nothing() -> None:
    world = ramped(risk=10)
    before = ramp_of(world)
    world.happen(Paused(at=world.now, reason="lunch"))
    world.happen(Resumed(at=world.now))
    assert ramp_of(world) == before


def test_the_rounds_of_a_ramp_come_to_an_end() -> None:
    world = ramped(risk=10, rounds=2)
    end_all(world)
    end_all(world)
    assert world.run.pause_reasons == ("ramp:a",)


def test_skipping_a_stage_lifts_the_hold_of_its_ramp() -> None:
    world = ramped(risk=4)
    end_all(world, failing=4)
    world.happen(Skipped(at=world.now, stage=0, reason="not worth it", by="ann"))
    assert (world.state(0), world.run.is_paused) == (StageState.SKIPPED, False)


def test_a_stage_that_does_not_ramp_says_nothing_of_it() -> None:
    plain = Stage(name=stage("a").name)
    at_rest = StageRun(tally=Tally(queued=3))
    assert (ramping.begun(plain, targets=3), ramping.issued(None, count=2)) == (None, None)
    assert (ramping.accepted(plain, at_rest), ramping.said(plain, at_rest), ramping.is_done(at_rest)) == (
        None,
        "",
        False,
    )


def test_a_ramp_needs_to_know_what_is_tolerated() -> None:
    pipeline = plan(stage("a", gate=Gate(sequential=None), pace=Pace(ramp=Ramp()))).pipeline
    message = "expected a gate that says what share of failures is tolerated, as failures: {above: 2%}"
    assert validate(pipeline) == (Fault(place="stages[0].pace.ramp", message=message),)
    back = Rollback(gate=Gate(sequential=None), pace=Pace(ramp=Ramp()))
    rolled_back = msgspec.structs.replace(plan(stage("a")).pipeline, rollback=back)
    assert validate(rolled_back) == (Fault(place="rollback.pace.ramp", message=message),)


def test_a_rollback_spends_no_more_of_alpha_than_its_pipeline_has() -> None:
    back = Rollback(gate=Gate(sequential=Sequential(alpha_percent=5)))
    pipeline = msgspec.structs.replace(plan(stage("a")).pipeline, rollback=back)
    message = "the gates of the stages name shares of 5% in all: expected at most the total of 1%"
    assert validate(pipeline) == (Fault(place="rollback.gate", message=message),)


# --- breaches -------------------------------------------------------------------------------------------------------


def test_an_alert_is_told_once_and_the_stage_goes_on() -> None:
    world = World(plan(stage("a", gate=ALERTED, retry=Retry(attempts_max=1))), [6]).start()
    for index in range(6):
        end(world, index, AttemptState.FAILED, Reason.VERIFY_FAILED)
    told = [note for note in world.notes if note.kind == "breached"]
    assert told == [
        Note(
            kind="breached",
            stage=stage("a").name,
            evidence="2 of 2 started failed; stops on failure 2 (evidence 410 of 100)",
        )
    ]
    assert world.run.state is RunState.SUCCEEDED


@pytest.mark.parametrize("on_breach", [OnBreach.PAUSE, OnBreach.FAIL])
def test_a_breach_keeps_what_was_known_then(on_breach: OnBreach) -> None:
    gate = Gate(success_percent=0, on_breach=on_breach)
    world = World(plan(stage("a", gate=gate, retry=Retry(attempts_max=1), pace=Pace(max_in_flight=3))), [9]).start()
    for index in range(3):
        end(world, index, AttemptState.FAILED, Reason.VERIFY_FAILED)
    breach = world.run.stages[0].breach
    assert breach is not None
    assert (breach.failed, breach.exposed) == (2, 2)
    assert world.run.stages[0].tally.blamed == 3


def test_after_an_override_the_gate_stops_on_the_next_failure_only_where_it_is_beyond_what_was_accepted() -> None:
    gate = Gate(success_percent=0, on_breach=OnBreach.PAUSE)
    world = World(plan(stage("a", gate=gate, retry=Retry(attempts_max=1), pace=Pace(max_in_flight=1))), [9]).start()
    for index in range(2):
        end(world, index, AttemptState.FAILED, Reason.VERIFY_FAILED)
    assert world.run.pause_reasons == ("breach:a",)
    world.happen(Resumed(at=world.now))
    end(world, 2, AttemptState.SUCCEEDED)
    assert not world.run.is_paused
    end(world, 3, AttemptState.FAILED, Reason.VERIFY_FAILED)
    assert world.run.pause_reasons == ("breach:a",)
    breach = world.run.stages[0].breach
    assert breach is not None
    assert (breach.failed, breach.exposed) == (3, 4)
