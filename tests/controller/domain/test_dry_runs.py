"""Rules on trial tell when they would have stopped a stage, and stop nothing."""

from hypothesis import given
from hypothesis import strategies as st

from controller.domain.events import Note, Resumed
from controller.domain.pipeline import (
    Denominator,
    DryRun,
    FailureLimit,
    Gate,
    OnBreach,
    Pace,
    Pipeline,
    Rollback,
    Sequential,
)
from controller.domain.states import RunState, StageState
from controller.domain.target import Reported, TargetState
from controller.domain.validation import Fault, validate
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import Reason
from tests.controller.domain.kit import World, plan, stage

STRICT = DryRun(name="strict", sequential=None, failures=FailureLimit(count=0))
LAX = DryRun(name="lax", sequential=None, failures=FailureLimit(count=9))


def world(gate: Gate, *, size: int = 6) -> World:
    return World(plan(stage("eu", gate=gate, pace=Pace(max_in_flight=1))), [size]).start()


def end(world: World, state: AttemptState) -> None:
    """Let the device that is at work end."""
    index = [device.state for device in world.devices[0]].index(TargetState.IN_PROGRESS)
    is_good = state is AttemptState.SUCCEEDED
    event = Reported(
        at=world.run_time,
        attempt=1,
        state=state,
        reason=None if is_good else Reason.VERIFY_FAILED,
        detail="",
        left=Left.NEW if is_good else Left.OLD,
    )
    world.device(0, index, event)


def told(world: World, kind: str) -> list[Note]:
    return [note for note in world.notes if note.kind == kind]


def test_a_rule_keeps_its_first_breach_and_is_told_once() -> None:
    gate = Gate(sequential=None, success_percent=0, dry_run=(STRICT, LAX))
    done = world(gate)
    end(done, AttemptState.SUCCEEDED)
    end(done, AttemptState.FAILED)
    end(done, AttemptState.FAILED)
    kept = done.run.stages[0].dry_runs
    assert {name: (breach.failed, breach.exposed) for name, breach in kept.items()} == {"strict": (1, 2)}
    assert [(note.text, note.evidence) for note in told(done, "dry_run")] == [
        ("strict", "1 of 2 started failed; stops on failure 1")
    ]


def test_a_rule_stops_nothing_and_is_summed_up_at_the_end() -> None:
    done = world(Gate(sequential=None, success_percent=0, dry_run=(STRICT, LAX)), size=3)
    for state in (AttemptState.FAILED, AttemptState.SUCCEEDED, AttemptState.SUCCEEDED):
        end(done, state)
    assert (done.state(0), done.run.state) == (StageState.PASSED, RunState.SUCCEEDED)
    assert [note.text for note in told(done, "dry_run_ended")] == [
        "rule strict would have stopped on failure 1 of 1 started; 2 devices began after that",
        "rule lax would not have stopped",
    ]


def test_it_is_said_how_much_earlier_than_the_gate_a_rule_would_have_stopped() -> None:
    gate = Gate(sequential=None, failures=FailureLimit(count=1), on_breach=OnBreach.FAIL, dry_run=(STRICT,))
    done = world(gate)
    for state in (AttemptState.FAILED, AttemptState.SUCCEEDED, AttemptState.FAILED):
        end(done, state)
    assert done.run.state is RunState.FAILED
    assert [note.text for note in told(done, "dry_run_ended")] == [
        "rule strict would have stopped on failure 1 of 1 started, 2 devices earlier than the gate"
    ]


def faults(gate: Gate, **changes: object) -> list[Fault]:
    return list(validate(Pipeline(name="weekly", stages=(stage("eu", gate=gate),), **changes)))  # type: ignore[arg-type]


def test_a_rule_may_not_be_wrong_more_often_than_the_pipeline_allows() -> None:
    rule = DryRun(name="wild", sequential=Sequential(alpha_percent=5))
    [fault] = faults(Gate(dry_run=(rule,)))
    assert fault.place == "stages[0].gate.dry_run[0].failures"
    assert faults(Gate(dry_run=(rule,)), alpha_percent=5.0) == []


def test_names_are_unique_rules_are_few_and_a_rollback_has_none() -> None:
    assert [fault.place for fault in faults(Gate(dry_run=(STRICT, STRICT)))] == ["stages[0].gate.dry_run[1].name"]
    many = tuple(DryRun(name=f"r{number}") for number in range(9))
    assert [fault.place for fault in faults(Gate(dry_run=many))] == ["stages[0].gate.dry_run"]
    rollback = Rollback(gate=Gate(dry_run=(STRICT,)))
    assert [fault.place for fault in faults(Gate(), rollback=rollback)] == ["rollback.gate.dry_run"]


LIMITS = st.builds(FailureLimit, count=st.integers(0, 3)) | st.builds(
    FailureLimit, percent=st.sampled_from([0.0, 20.0, 50.0]), of=st.sampled_from(Denominator)
)


@given(LIMITS, LIMITS, st.sampled_from(OnBreach), st.lists(st.booleans(), min_size=1, max_size=12))
def test_a_replay_finds_the_very_breaches_that_a_run_has_kept(
    own: FailureLimit, tried: FailureLimit, on_breach: OnBreach, ends: list[bool]
) -> None:
    """The world compares after every step; it must have had breaches to compare."""
    rule = DryRun(name="strict", sequential=None, failures=tried)
    done = world(Gate(sequential=None, failures=own, on_breach=on_breach, dry_run=(rule,)), size=12)
    for is_good in ends:
        if not any(device.state is TargetState.IN_PROGRESS for device in done.devices[0]):
            break
        end(done, AttemptState.SUCCEEDED if is_good else AttemptState.FAILED)
        if done.run.is_paused:
            done.happen(Resumed(at=done.now))
    if ends[0] is False and own.count == 0:
        assert done.first_breaches[0].failed == 1
