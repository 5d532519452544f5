"""A stage with checks: it passes only when all of them do; failures breach its gate, and silence holds the run."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from controller.domain import checking
from controller.domain.events import Answered, Ask, Paused, Recovered, Resumed, Skipped, Woken
from controller.domain.gates.checks import UNANSWERED_MS, Answer, AnswerKind, Check, Http, Phase, Verdict, Webhook
from controller.domain.model import StageRun, run_changed
from controller.domain.pipeline import FailureLimit, Gate, OnBreach, Timeouts
from controller.domain.run import next_deadline, step
from controller.domain.states import RunState, StageState
from controller.domain.target import Reported
from controller.domain.validation import Fault, validate
from protocol.lifecycle import AttemptState
from protocol.reasons import Reason
from protocol.units import Instant
from tests.controller.domain.kit import World, at, plan, stage

PAGE = Http(url="https://shop.example/health")
OK, FAILED, NO_DATA = AnswerKind
MINUTE = 60_000


def check(name: str = "page", **changes: Any) -> Check:
    return Check(**{"name": name, "source": PAGE, "fails_after": 2, **changes})


def world(*checks: Check, size: int = 1, stage_ms: int = 24 * 60 * MINUTE, **gate: Any) -> World:
    definition = stage("a", gate=Gate(checks=checks, **gate), timeouts=Timeouts(stage_ms=stage_ms))
    return World(plan(definition), [size]).start()


def succeed(world: World) -> None:
    """Let every device of the stage succeed."""
    for index in range(len(world.devices[0])):
        report = Reported(at=world.run_time, attempt=1, state=AttemptState.SUCCEEDED, reason=None)
        world.device(0, index, report)


def asks(world: World) -> list[Ask]:
    return [effect for effect in world.effects if isinstance(effect, Ask)]


def answer(world: World, kind: AnswerKind, name: str = "page", **changes: Any) -> None:
    """Answer the newest question of a check."""
    last = next((ask.sequence for ask in reversed(asks(world)) if ask.check == name), None)
    said = Answer(kind=kind, evidence="status 503" if kind is FAILED else "")
    world.happen(Answered(**{"at": world.now, "stage": 0, "check": name, "answer": said, "sequence": last, **changes}))


def wake_next(world: World) -> None:
    """Let time pass until something is due."""
    wake = next_deadline(world.plan, world.run)
    assert wake is not None
    world.now = wake
    world.happen(Woken(at=wake))


def told(world: World) -> list[str]:
    return [note.kind for note in world.notes]


def test_a_stage_passes_only_once_its_check_does() -> None:
    going = world(check(needed=2))
    assert asks(going) == []
    succeed(going)
    assert going.state(0) is StageState.SOAKING
    assert asks(going) == [Ask(stage=0, check="page", sequence=1)]
    answer(going, OK)
    assert going.state(0) is StageState.SOAKING
    wake_next(going)
    assert going.now == at(MINUTE)
    answer(going, OK)
    assert going.run.state is RunState.SUCCEEDED
    assert "check_pass" in told(going)


def test_one_of_several_checks_is_not_enough() -> None:
    going = world(check("a"), check("b"))
    succeed(going)
    answer(going, OK, "a")
    assert going.state(0) is StageState.SOAKING
    answer(going, OK, "b")
    assert going.state(0) is StageState.PASSED


def test_a_check_that_passes_is_asked_on_until_the_soak_is_over_and_may_still_fail() -> None:
    going = world(check(), soak_ms=10 * MINUTE)
    succeed(going)
    answer(going, OK)
    for _ in range(2):
        wake_next(going)
        answer(going, FAILED)
    assert going.state(0) is StageState.FAILED
    assert going.run.stages[0].reason == "check page: 2 of 2 failures in a row; the last: status 503"


def test_a_check_that_is_asked_from_the_opening_on_stops_a_stage_that_rolls_out() -> None:
    going = world(check(at=Phase.ROLLOUT), check("late"), size=3)
    assert [ask.check for ask in asks(going)] == ["page"]
    answer(going, FAILED)
    wake_next(going)
    answer(going, FAILED)
    assert going.state(0) is StageState.FAILED


def test_a_failure_that_pauses_is_latched_and_needs_as_many_failures_again_after_an_override() -> None:
    going = world(check(), on_breach=OnBreach.PAUSE)
    succeed(going)
    answer(going, FAILED)
    wake_next(going)
    answer(going, FAILED)
    assert going.run.pause_reasons == ("check:a/page",)
    breach = going.run.stages[0].checks["page"].breach
    assert breach is not None
    assert breach.evidence == "2 of 2 failures in a row; the last: status 503"
    going.now = Instant(going.now + MINUTE)
    before = len(asks(going))
    going.happen(Resumed(at=going.now, reason="known", by="ann"))
    assert len(asks(going)) == before + 1, "it is asked anew at once"
    answer(going, FAILED)
    assert not going.run.is_paused
    wake_next(going)
    answer(going, FAILED)
    assert going.run.pause_reasons == ("check:a/page",)


def test_a_failure_that_alerts_is_told_once_and_still_does_not_pass() -> None:
    going = world(check(), on_breach=OnBreach.ALERT)
    succeed(going)
    for _ in range(4):
        answer(going, FAILED)
        wake_next(going)
    assert told(going).count("check_fail") == 1
    assert (going.state(0), going.run.is_paused) == (StageState.SOAKING, False)
    answer(going, OK)
    assert going.state(0) is StageState.PASSED


def test_failures_of_devices_and_of_a_check_breach_one_gate_without_hiding_each_other() -> None:
    going = world(
        check(at=Phase.ROLLOUT, fails_after=1), size=3, on_breach=OnBreach.PAUSE, failures=FailureLimit(count=0)
    )
    answer(going, FAILED)
    report = Reported(at=going.run_time, attempt=1, state=AttemptState.FAILED, reason=Reason.VERIFY_FAILED)
    going.device(0, 0, report)
    assert going.run.pause_reasons == ("check:a/page", "breach:a")
    stage_run = going.run.stages[0]
    assert stage_run.breach is not None
    assert stage_run.breach.failed == 1
    assert stage_run.checks["page"].breach is not None


def test_silence_holds_the_run_with_a_reason_of_its_own_and_a_resume_waits_anew() -> None:
    going = world(check(no_data_after_ms=3 * MINUTE))
    succeed(going)
    while not going.run.is_paused:
        answer(going, NO_DATA)
        wake_next(going)
    assert (going.now, going.run.pause_reasons) == (at(3 * MINUTE), ("no_data:a/page",))
    going.happen(Resumed(at=going.now, by="ann"))
    assert (going.run.is_paused, going.state(0)) == (False, StageState.SOAKING)
    answer(going, OK)
    assert going.state(0) is StageState.PASSED


def test_a_build_system_that_tells_late_ends_the_hold_by_itself() -> None:
    going = world(check("ci", source=Webhook()))
    succeed(going)
    wake_next(going)
    assert going.run.pause_reasons == ("no_data:a/ci",)
    assert asks(going) == []
    going.now = Instant(going.now + MINUTE)
    answer(going, OK, "ci", sequence=None, by="trigger:hook")
    assert going.run.state is RunState.SUCCEEDED
    assert "check_answered" in told(going)


def test_what_was_told_by_a_build_system_stays_while_the_stage_soaks() -> None:
    going = world(check("ci", source=Webhook()), soak_ms=60 * MINUTE)
    succeed(going)
    answer(going, OK, "ci", sequence=None)
    wake_next(going)
    assert (going.now, going.run.state) == (at(60 * MINUTE), RunState.SUCCEEDED)


def test_a_question_that_nobody_answers_lapses_and_is_put_again_under_another_number() -> None:
    going = world(check())
    succeed(going)
    wake_next(going)
    assert going.now == at(UNANSWERED_MS)
    wake_next(going)
    assert [ask.sequence for ask in asks(going)] == [1, 2]
    answer(going, OK, sequence=1)
    assert going.state(0) is StageState.SOAKING
    answer(going, OK)
    assert going.state(0) is StageState.PASSED


def test_nothing_is_asked_while_the_run_is_paused_and_an_answer_that_comes_then_counts() -> None:
    going = world(check(needed=2))
    succeed(going)
    going.happen(Paused(at=going.now, reason="operator:tea"))
    answer(going, OK)
    going.now = Instant(going.now + 60 * MINUTE)
    going.happen(Woken(at=going.now))
    assert len(asks(going)) == 1
    going.happen(Resumed(at=going.now))
    assert len(asks(going)) == 2
    answer(going, OK)
    assert going.state(0) is StageState.PASSED


def test_a_resume_from_another_pause_forgives_no_failure() -> None:
    going = world(check(fails_after=2), on_breach=OnBreach.PAUSE)
    succeed(going)
    answer(going, FAILED)
    going.happen(Paused(at=going.now, reason="operator:tea"))
    going.happen(Resumed(at=going.now, by="ann"))
    assert going.run.stages[0].checks["page"].failures == 1
    answer(going, FAILED)
    assert going.run.pause_reasons == ("check:a/page",)
    going.happen(Resumed(at=going.now, reason="known", by="ann"))
    assert going.run.stages[0].checks["page"].failures == 0


def test_a_resume_after_silence_waits_anew_and_forgives_no_failure() -> None:
    going = world(check(fails_after=2, no_data_after_ms=3 * MINUTE), on_breach=OnBreach.PAUSE)
    succeed(going)
    answer(going, FAILED)
    while not going.run.is_paused:
        wake_next(going)
        answer(going, NO_DATA)
    assert going.run.pause_reasons == ("no_data:a/page",)
    going.happen(Resumed(at=going.now, by="ann"))
    assert going.run.stages[0].checks["page"].failures == 1
    assert not going.run.is_paused


def test_time_in_which_nobody_looked_is_no_silence() -> None:
    going = world(check(no_data_after_ms=3 * MINUTE))
    succeed(going)
    going.now = Instant(going.now + 60 * MINUTE)
    going.happen(Recovered(at=going.now, gap_ms=60 * MINUTE))
    assert not going.run.is_paused


def test_what_a_check_on_trial_finds_is_told_and_has_no_effect() -> None:
    going = world(check(dry_run=True), soak_ms=5 * MINUTE)
    succeed(going)
    answer(going, FAILED)
    wake_next(going)
    answer(going, FAILED)
    assert told(going).count("check_fail") == 1
    while going.state(0) is StageState.SOAKING:
        wake_next(going)
    assert (going.state(0), going.run.stages[0].checks["page"].breach) == (StageState.PASSED, None)


def test_a_stage_waits_for_its_checks_no_longer_than_for_its_devices() -> None:
    going = world(check(), stage_ms=5 * MINUTE, soak_ms=MINUTE, on_breach=OnBreach.ALERT)
    succeed(going)
    while going.state(0) is StageState.SOAKING:
        answer(going, FAILED)
        wake_next(going)
    assert going.state(0) is StageState.TIMED_OUT
    assert going.now == at(6 * MINUTE)


def test_a_person_decides_in_place_of_who_does_not_answer() -> None:
    going = world(check(no_data_after_ms=MINUTE))
    succeed(going)
    while not going.run.is_paused:
        wake_next(going)
    answer(going, OK, sequence=None, by="ann", is_decision=True)
    assert going.run.state is RunState.SUCCEEDED


def test_a_stage_that_is_skipped_holds_the_run_no_more() -> None:
    going = world(check(no_data_after_ms=MINUTE))
    succeed(going)
    while not going.run.is_paused:
        wake_next(going)
    going.happen(Skipped(at=going.now, stage=0, reason="no time", by="ann"))
    assert (going.state(0), going.run.pause_reasons) == (StageState.SKIPPED, ())


def test_an_answer_before_a_check_is_asked_or_after_the_verdict_changes_nothing() -> None:
    going = world(check("ci", source=Webhook()))
    before = going.run
    answer(going, OK, "ci", sequence=None)
    assert going.run == before
    succeed(going)
    answer(going, OK, "ci", sequence=None)
    assert going.state(0) is StageState.PASSED
    ended = going.run
    answer(going, FAILED, "ci", sequence=None)
    assert going.run == ended


def test_names_of_checks_are_told_apart_and_their_number_is_limited() -> None:
    twice = plan(stage("a", gate=Gate(checks=(check("x"), check("x")))))
    assert validate(twice.pipeline) == (
        Fault(place="stages[0].gate.checks[1].name", message="check 'x' is defined twice"),
    )
    many = plan(stage("a", gate=Gate(checks=tuple(check(f"c{number}") for number in range(17)))))
    assert validate(many.pipeline)[0].message == "17 checks: expected at most 16"


steps = st.lists(
    st.tuples(st.sampled_from(["answer", "stale", "wake", "pause", "resume", "push"]), st.sampled_from(AnswerKind)),
    max_size=40,
)
gates: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict, on_breach=st.sampled_from(OnBreach), soak_ms=st.sampled_from([0, 3 * MINUTE])
)


@settings(max_examples=200)
@given(steps, st.integers(1, 3), gates, st.sampled_from(Phase))
@pytest.mark.parametrize("source", [PAGE, Webhook()])
def test_whatever_happens_a_stage_never_passes_without_enough_successes_and_settling_twice_changes_nothing(
    source: Http | Webhook,
    course: list[tuple[str, AnswerKind]],
    needed: int,
    gate: dict[str, Any],
    phase: Phase,
) -> None:
    definition = check(source=source, needed=needed, no_data_after_ms=5 * MINUTE, at=phase)
    going = world(definition, **gate)
    succeed(going)
    oks = 0
    for what, kind in course:
        known = going.run.stages[0].checks.get("page")
        is_taken = known is not None and going.run.state is RunState.RUNNING
        match what:
            case "answer" if known is not None and known.asked_at is not None:
                answer(going, kind)
                oks += kind is OK
            case "push" if isinstance(source, Webhook):
                answer(going, kind, sequence=None)
                oks += is_taken and kind is OK
            case "stale":
                answer(going, kind, sequence=0)
            case "wake" if next_deadline(going.plan, going.run) is not None:
                wake_next(going)
            case "pause":
                going.happen(Paused(at=going.now, reason="operator:x"))
            case "resume":
                going.happen(Resumed(at=going.now))
        again, effects = step(going.plan, going.run, Woken(at=going.now))
        assert (run_changed(again), [e for e in effects if isinstance(e, Ask)]) == (going.run, [])
    assert going.state(0) is not StageState.PASSED or oks >= needed
    known = going.run.stages[0].checks.get("page")
    assert known is None or going.state(0) is not StageState.PASSED or known.told is Verdict.PASS


def test_nothing_is_due_of_a_check_that_has_not_begun() -> None:
    stage_ = stage("a", gate=Gate(checks=(check(),)))
    assert list(checking.dues(stage_, StageRun(state=StageState.SOAKING))) == []
