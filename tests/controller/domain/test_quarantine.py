"""Models that have tests of their own: who is kept out, for how long, and what becomes of the rest."""

import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from controller.domain import quarantine
from controller.domain import run as runs
from controller.domain.counters import Tally
from controller.domain.events import CallOff, Folded, Frozen, Joined, Note, Paused, Readmitted, Resumed, Woken
from controller.domain.gates import exact, judgement, odds
from controller.domain.model import ModelRun, Plan, Run, StageRun, create, stage_changed
from controller.domain.pipeline import FailureLimit, Gate, OnBreach, OnModel, Pace, Retry, Sequential, Targets
from controller.domain.quarantine import MODELS_MAX, OTHERS, barred, begun, excepted, is_tested, refuted
from controller.domain.settle import ALL_QUARANTINED
from controller.domain.states import RunState, StageState
from controller.domain.target import Delta, Marked, TargetState
from protocol.health import Mark
from protocol.lifecycle import AttemptState
from protocol.reasons import Reason
from protocol.units import Instant
from tests.controller.domain.kit import World, at, plan, stage
from tests.controller.domain.test_run import end, fail, succeed

LENIENT = Gate(success_percent=0)
GOOD = 12
"""So many devices of a good model have succeeded before anything else happens."""
TWO = [*["good"] * GOOD, "bad", "good", "bad", "good", "good", "bad"]
BAD = [index for index, model in enumerate(TWO) if model == "bad"]
REST = [index for index, model in enumerate(TWO) if model == "good" and index >= GOOD]
"""Where nothing else is said, the last bad one is queued until two others have ended."""


def world_of(*models: list[str], gate: Gate = LENIENT, in_flight: int = 4, **changes: Any) -> World:
    """Return a chain of stages of devices of these models; of the first the good ones have succeeded."""
    pace = Pace(max_in_flight=in_flight)
    names = "abcd"[: len(models)]
    stages = [
        stage(name, *names[:index][-1:], gate=gate, pace=pace, retry=Retry(attempts_max=1))
        for index, name in enumerate(names)
    ]
    world = World(plan(*stages, **{"alpha_percent": 5.0, **changes}), [len(those) for those in models], models)
    world.start()
    if models[0][:GOOD] == TWO[:GOOD]:
        succeed(world, 0, *range(GOOD))
    return world


def told(world: World, kind: str) -> list[Note]:
    return [note for note in world.notes if note.kind == kind]


def states(world: World, stage: int) -> dict[str, int]:
    return dict(Counter(device.state.value for device in world.devices[stage]))


# --- who is tested, and by how much of alpha ----------------------------------------------------------------------


def test_the_alphas_of_a_stage_are_all_that_it_has() -> None:
    world = world_of(TWO)
    whole = judgement.alpha_of(world.plan.pipeline, 0)
    own = [quarantine.alpha_of(world.plan, world.run, 0) for _ in world.run.stages[0].models]
    pooled = excepted(world.plan.pipeline.stages[0], world.run.stages[0], barred(world.run)).share * whole
    assert sum(own) + pooled == pytest.approx(whole)
    assert own == [pytest.approx(whole / 4)] * 2


@pytest.mark.parametrize(
    ("models", "gate"),
    [
        (["bad"] * len(TWO), LENIENT),
        (TWO, Gate(success_percent=0, models=OnModel.IGNORED)),
        (TWO, Gate(success_percent=0, sequential=None, failures=FailureLimit(count=9))),
    ],
)
def test_without_several_models_or_a_test_none_is_tested_and_all_alpha_is_for_all(
    models: list[str], gate: Gate
) -> None:
    world = world_of(models, gate=gate, in_flight=len(TWO))
    fail(world, 0, *BAD[:2])
    definition, at_work = world.plan.pipeline.stages[0], world.run.stages[0]
    assert not is_tested(definition, at_work)
    assert excepted(definition, at_work, barred(world.run)).share == 1.0
    assert told(world, "quarantined") == []


def test_the_largest_models_have_a_test_each_and_the_rest_one_together() -> None:
    counts = {f"k{number:03}": 100 - number for number in range(80)}
    known = begun(counts, takes_new=False)
    assert len(known) == MODELS_MAX + 1
    assert list(known)[:2] == ["k000", "k001"]
    assert known[OTHERS].tally.targets == sum(100 - number for number in range(64, 80))
    assert sum(one.tally.targets for one in known.values()) == sum(counts.values())


def test_as_many_models_as_have_tests_need_no_other() -> None:
    counts = {f"k{number}": 1 for number in range(MODELS_MAX)}
    assert OTHERS not in begun(counts, takes_new=False)
    assert begun(counts, takes_new=True)[OTHERS] == ModelRun()


def test_one_model_and_newcomers_have_no_tests() -> None:
    at_work = StageRun(models=begun({"k1": 5}, takes_new=True))
    assert not is_tested(stage("a"), at_work)
    assert is_tested(stage("a"), StageRun(models=begun({"k1": 5, "k2": 1}, takes_new=False)))


def test_newcomers_count_with_their_model_or_with_the_others() -> None:
    targets = Targets(include_new=True)
    world = World(plan(stage("a", targets=targets)), [2], [["k1", "k2"]]).start()
    joined = Joined(at=world.now, counts={0: 3}, models={0: {"k1": 1, "k9": 2}})
    run, _ = runs.step(world.plan, world.run, joined)
    assert {name: one.tally.targets for name, one in run.stages[0].models.items()} == {"k1": 2, "k2": 1, OTHERS: 2}


def test_a_run_of_an_earlier_version_counts_its_devices_together_alone() -> None:
    world = world_of(TWO)
    stored = msgspec.json.decode(msgspec.json.encode(world.run))
    del stored["stages"][0]["models"]
    old = msgspec.convert(stored, Run)
    assert old.stages[0].models == {}
    change = Delta(before=TargetState.IN_PROGRESS, after=TargetState.FAILED, exposed=1, resolved=1, blamed=1)
    run, _ = runs.step(world.plan, old, Folded(at=world.now, deltas={0: (change,)}))
    assert (run.stages[0].tally.blamed, run.stages[0].models) == (1, {})
    definition = world.plan.pipeline.stages[0]
    assert excepted(definition, run.stages[0], barred(run)).share == 1.0


def test_a_device_of_which_the_model_is_not_known_counts_for_none() -> None:
    known = begun({"k1": 1, "k2": 1}, takes_new=True)
    change = Delta(before=TargetState.QUEUED, after=TargetState.IN_PROGRESS)
    assert quarantine.counted(known, [change]) == known


# --- a quarantine ---------------------------------------------------------------------------------------------------


def test_a_model_that_fails_is_quarantined_and_the_rest_goes_on_and_passes() -> None:
    world = world_of(TWO, gate=Gate(success_percent=100))
    fail(world, 0, *BAD[:2])
    [note] = told(world, "quarantined")
    assert (note.stage, note.text) == ("a", "model bad")
    assert note.evidence == "2 of 2 started failed; stops on failure 2 (evidence 410 of 80)"
    last = world.devices[0][BAD[2]]
    assert (last.state, last.reason) == (TargetState.CANCELLED, Reason.MODEL_QUARANTINED)
    assert world.state(0) is StageState.ROLLING_OUT
    succeed(world, 0, *REST)
    assert world.state(0) is StageState.PASSED, "all of the rest have succeeded"
    assert world.run.state is RunState.SUCCEEDED
    assert states(world, 0) == {"failed": 2, "cancelled": 1, "succeeded": GOOD + 3}


def test_what_a_quarantine_knew_is_kept_whatever_comes_later() -> None:
    world = world_of(TWO, in_flight=6)
    end(world, 0, BAD[2], AttemptState.DOWNLOADING)
    fail(world, 0, *BAD[:2])
    before = world.run.stages[0].models["bad"].breach
    fail(world, 0, BAD[2])
    after = world.run.stages[0].models["bad"]
    assert before is not None
    assert (after.breach, after.tally.blamed, before.failed, before.exposed) == (before, 3, 2, 3)
    assert len(told(world, "quarantined")) == 1


def test_what_is_not_accepted_is_called_back_and_what_is_accepted_goes_on() -> None:
    world = world_of([*TWO, "bad"], in_flight=7)
    end(world, 0, BAD[2], AttemptState.DOWNLOADING)
    fail(world, 0, *BAD[:2])
    accepted, unaccepted = world.devices[0][BAD[2]], world.devices[0][len(TWO)]
    assert (accepted.state, accepted.cancel_requested) == (TargetState.IN_PROGRESS, False)
    assert (unaccepted.cancel_requested, unaccepted.returns) == (True, True)
    end(world, 0, len(TWO), AttemptState.CANCELLED)
    called_back = world.devices[0][len(TWO)]
    assert (called_back.state, called_back.reason) == (TargetState.CANCELLED, Reason.MODEL_QUARANTINED)
    succeed(world, 0, BAD[2], *REST)
    assert world.state(0) is StageState.PASSED
    assert states(world, 0) == {"failed": 2, "succeeded": GOOD + 4, "cancelled": 1}


def test_an_attempt_that_would_be_tried_again_is_not() -> None:
    pace, retry = Pace(max_in_flight=len(TWO)), Retry(attempts_max=3)
    world = World(plan(stage("a", gate=LENIENT, pace=pace, retry=retry), alpha_percent=5.0), [len(TWO)], [TWO]).start()
    end(world, 0, BAD[2], AttemptState.DOWNLOADING)
    succeed(world, 0, *range(GOOD))
    fail(world, 0, *BAD[:2])
    end(world, 0, BAD[2], AttemptState.FAILED, Reason.DOWNLOAD_FAILED)
    last = world.devices[0][BAD[2]]
    assert (last.state, last.reason) == (TargetState.CANCELLED, Reason.MODEL_QUARANTINED)


def test_later_stages_leave_the_model_out_and_say_so() -> None:
    world = world_of(TWO, ["bad", "good", "bad", "good", "bad"])
    fail(world, 0, *BAD[:2])
    succeed(world, 0, *REST)
    assert world.state(1) is StageState.ROLLING_OUT
    assert world.models[1] == ["good"] * 2
    assert told(world, "left_out")[0].text == "3 of a quarantined model"
    succeed(world, 1, 0, 1)
    assert world.run.state is RunState.SUCCEEDED


def test_a_stage_of_which_all_devices_are_left_out_is_skipped() -> None:
    world = world_of(TWO, ["bad"] * 3, ["good"])
    fail(world, 0, *BAD[:2])
    succeed(world, 0, *REST)
    assert (world.state(1), world.run.stages[1].reason) == (StageState.SKIPPED, ALL_QUARANTINED)
    succeed(world, 2, 0)
    assert world.run.state is RunState.SUCCEEDED


def test_a_stage_beside_it_calls_its_devices_off_too() -> None:
    stages = [stage(name, gate=LENIENT, pace=Pace(max_in_flight=4), retry=Retry(attempts_max=1)) for name in "ab"]
    world = World(plan(*stages, alpha_percent=5.0), [len(TWO), 6], [TWO, ["bad"] * 6]).start()
    succeed(world, 0, *range(GOOD))
    end(world, 1, 0, AttemptState.DOWNLOADING)
    fail(world, 0, *BAD[:2])
    assert [one.state.value for one in world.devices[1]] == ["in_progress"] * 4 + ["cancelled"] * 2
    assert [one.returns for one in world.devices[1]] == [False, True, True, True, False, False]
    for index in (1, 2, 3):
        end(world, 1, index, AttemptState.CANCELLED)
    succeed(world, 1, 0)
    assert world.state(1) is StageState.SKIPPED, "there is nobody left whose success could be asked for"


def beside_others() -> World:
    """Return two stages side by side; in the second, devices of the bad model came late and stand among others."""
    stages = [stage(name, gate=LENIENT, targets=Targets(include_new=True)) for name in "ab"]
    world = World(plan(*stages, alpha_percent=5.0), [len(TWO), 1], [TWO, ["good"]]).start()
    world.run, _ = runs.step(world.plan, world.run, Joined(at=world.now, counts={1: 2}, models={1: {"bad": 2}}))
    succeed_in(world, [*["good"] * GOOD])
    return world


def succeed_in(world: World, models: list[str]) -> None:
    """Let devices of the first stage have succeeded, of which the second knows nothing."""
    ended = [
        Delta(before=TargetState.IN_PROGRESS, after=TargetState.SUCCEEDED, exposed=1, resolved=1, model=model)
        for model in models
    ]
    world.run, _ = runs.step(world.plan, world.run, Folded(at=world.now, deltas={0: tuple(ended)}))


FAILED = Delta(before=TargetState.IN_PROGRESS, after=TargetState.FAILED, exposed=1, resolved=1, blamed=1, model="bad")


def test_devices_that_stand_among_others_elsewhere_are_called_off_by_their_model() -> None:
    world = beside_others()
    _, effects = runs.step(world.plan, world.run, Folded(at=world.now, deltas={0: (FAILED, FAILED)}))
    assert [(e.stage, e.model) for e in effects if isinstance(e, CallOff)] == [(0, "bad"), (1, "bad")]


def test_devices_that_stand_among_others_are_not_tried_again() -> None:
    world = beside_others()
    begins = Delta(before=TargetState.QUEUED, after=TargetState.IN_PROGRESS, model="bad")
    run, _ = runs.step(world.plan, world.run, Folded(at=world.now, deltas={0: (FAILED, FAILED), 1: (begins,)}))
    comes_back = Delta(before=TargetState.IN_PROGRESS, after=TargetState.QUEUED, model="bad")
    _, effects = runs.step(world.plan, run, Folded(at=world.now, deltas={1: (comes_back,)}))
    assert [(e.stage, e.model) for e in effects if isinstance(e, CallOff)] == [(1, "bad")]


def test_every_model_can_be_quarantined_but_the_last() -> None:
    world = world_of([*["good"] * GOOD, *["bad", "worse", "worst"] * 2], in_flight=6, gate=Gate())
    fail(world, 0, *range(GOOD, GOOD + 6))
    assert len(told(world, "quarantined")) == 3
    assert world.state(0) is StageState.PASSED


def test_a_stage_fails_of_which_nobody_is_left_by_its_own_tests() -> None:
    world = world_of(TWO, in_flight=6, gate=Gate(success_percent=1))
    fail(world, 0, *BAD)
    out = world.run.stages[0].models["bad"].breach
    models = {name: msgspec.structs.replace(one, breach=out) for name, one in world.run.stages[0].models.items()}
    world.run = stage_changed(world.run, 0, models=models)
    end(world, 0, REST[0], AttemptState.SUCCEEDED)
    for index in REST[1:]:
        end(world, 0, index, AttemptState.CANCELLED)
    assert (world.state(0), world.run.stages[0].reason) == (StageState.FAILED, "0 of 0 succeeded, 1 % needed")


def test_a_quarantine_is_told_once_however_often_one_looks() -> None:
    world = world_of(TWO)
    fail(world, 0, *BAD[:2])
    _, effects = runs.step(world.plan, world.run, Woken(at=world.now))
    assert not any(isinstance(effect, Note | CallOff) for effect in effects)


def test_a_paused_run_quarantines_too() -> None:
    world = world_of(TWO)
    world.happen(Paused(at=world.now, reason="operator:lunch"))
    fail(world, 0, *BAD[:2])
    assert len(told(world, "quarantined")) == 1
    assert world.devices[0][BAD[2]].state is TargetState.CANCELLED


def test_the_tail_of_a_passed_stage_can_quarantine_for_those_to_come() -> None:
    gate = Gate(success_percent=70, straggler_after_ms=0)
    world = world_of(TWO, ["bad", "good"] * 2, gate=gate, in_flight=6)
    for index in BAD:
        end(world, 0, index, AttemptState.INSTALLING)
    succeed(world, 0, REST[0])
    assert world.state(0) is StageState.PASSED
    fail(world, 0, *BAD)
    assert len(told(world, "quarantined")) == 1
    assert [one.returns for one in world.devices[1]] == [True, False, True, False]


# --- the test of all devices together -------------------------------------------------------------------------------


def test_the_test_of_all_counts_those_that_are_not_quarantined() -> None:
    world = world_of(TWO, in_flight=6)
    fail(world, 0, *BAD)
    assert world.state(0) is StageState.ROLLING_OUT
    assert world.run.stages[0].breach is None
    at_work = world.run.stages[0]
    rest = excepted(stage("a"), at_work, barred(world.run)).rest(at_work.tally)
    assert (at_work.tally.blamed, rest.blamed, rest.exposed, rest.targets) == (3, 0, GOOD, GOOD + 3)


def test_a_fixed_limit_counts_all_devices() -> None:
    gate = Gate(success_percent=0, failures=FailureLimit(count=2), on_breach=OnBreach.PAUSE)
    world = world_of(TWO, gate=gate, in_flight=6)
    end(world, 0, BAD[2], AttemptState.DOWNLOADING)
    fail(world, 0, *BAD[:2])
    at_work, pipeline = world.run.stages[0], world.plan.pipeline
    reading = judgement.read(pipeline, 0, at_work.tally, excepted(pipeline.stages[0], at_work, barred(world.run)))
    assert (reading.failed, reading.stops_on) == (0, 1), "one more, and the limit of two is exceeded"
    fail(world, 0, BAD[2])
    assert world.run.pause_reasons == ("breach:a",)
    breach = world.run.stages[0].breach
    assert breach is not None
    assert breach.evidence.startswith("0 of 12 started failed; stopped by 3 failures of quarantined models (evidence ")


def test_what_quarantined_models_break_alone_is_told_at_the_verdict() -> None:
    gate = Gate(success_percent=0, sequential=Sequential(above=2), failures=FailureLimit(count=2))
    world = world_of(TWO, gate=gate, in_flight=6)
    end(world, 0, BAD[2], AttemptState.DOWNLOADING)
    fail(world, 0, *BAD)
    assert world.run.stages[0].reason == "0 of 12 started devices failed, and 3 of quarantined models"


def test_a_quarantine_is_felt_at_once_by_the_test_of_every_stage() -> None:
    """What another stage quarantines may be what has spoken for the build so far."""
    sound, few = 30, ["c1", "c2", "c3", "c4"]
    models = [["bad"] * sound + few + ["good"] * 8, ["good"] * GOOD + ["bad"] * 2]
    pace = Pace(max_in_flight=4)
    stages = [stage(name, gate=LENIENT, pace=pace, retry=Retry(attempts_max=1)) for name in "ab"]
    world = World(plan(*stages, alpha_percent=5.0), [len(those) for those in models], models).start()
    succeed(world, 0, *range(sound))
    fail(world, 0, *range(sound, sound + len(few)))
    assert world.state(0) is StageState.ROLLING_OUT
    succeed(world, 1, *range(GOOD))
    begun_before = world.commands
    succeed(world, 0, sound + len(few))
    assert world.commands == begun_before + 1, "there is somebody left who would begin"
    fail(world, 1, GOOD)
    assert told(world, "quarantined") == []
    held = world.commands
    fail(world, 1, GOOD + 1)
    assert [note.stage for note in told(world, "quarantined")] == ["b"]
    assert (world.state(0), world.commands) == (StageState.FAILED, held)


def test_failures_of_a_quarantined_model_breach_no_test_that_was_resumed_over() -> None:
    world = world_of(
        [*["good"] * GOOD, *"abcd", *["bad"] * 4], gate=Gate(success_percent=0, on_breach=OnBreach.PAUSE), in_flight=9
    )
    bad = range(GOOD + 4, GOOD + 8)
    for index in bad:
        end(world, 0, index, AttemptState.DOWNLOADING)
    fail(world, 0, *range(GOOD, GOOD + 4), *bad[:3])
    assert [note.text for note in told(world, "quarantined")] == ["model bad"]
    assert world.run.pause_reasons == ("breach:a",)
    world.happen(Resumed(at=world.now, reason="known"))
    fail(world, 0, bad[3])
    assert not world.run.is_paused
    assert world.run.stages[0].tally.blamed == 8


# --- a person lifts it ----------------------------------------------------------------------------------------------


def readmit(world: World, model: str = "bad") -> None:
    world.happen(Readmitted(at=world.now, model=model, reason="checked by hand", by="ann"))


def test_a_readmitted_model_begins_again_and_is_quarantined_by_the_next_evidence() -> None:
    world = world_of(TWO, [*["good"] * GOOD, "bad", "bad"])
    fail(world, 0, *BAD[:2])
    readmit(world)
    assert [(note.text, note.by) for note in told(world, "readmitted")] == [("model bad: checked by hand", "ann")]
    succeed(world, 0, *REST)
    assert world.devices[0][BAD[2]].state is TargetState.CANCELLED, "who was called off stays so"
    assert world.models[1][GOOD:] == ["bad", "bad"]
    assert world.run.stages[0].models["bad"].accepted == 2
    succeed(world, 1, *range(GOOD))
    fail(world, 1, GOOD, GOOD + 1)
    assert [note.stage for note in told(world, "quarantined")] == ["a", "b"]


def test_a_model_readmitted_in_its_stage_is_quarantined_with_the_next_failure() -> None:
    world = world_of(TWO, in_flight=6)
    end(world, 0, BAD[2], AttemptState.DOWNLOADING)
    fail(world, 0, *BAD[:2])
    readmit(world)
    world.happen(Woken(at=world.now))
    assert not barred(world.run).stages
    assert world.state(0) is StageState.ROLLING_OUT, "what was accepted does not breach the test of all, either"
    fail(world, 0, BAD[2])
    assert barred(world.run).has("bad")


def test_a_resume_lifts_no_quarantine() -> None:
    world = world_of(TWO)
    fail(world, 0, *BAD[:2])
    world.happen(Paused(at=world.now, reason="operator:lunch"))
    world.happen(Resumed(at=world.now, reason="back"))
    assert barred(world.run).has("bad")


def test_a_resume_from_another_pause_accepts_no_failure_of_a_model() -> None:
    world = world_of(TWO)
    fail(world, 0, BAD[0])
    world.happen(Paused(at=world.now, reason="operator:lunch"))
    world.happen(Resumed(at=world.now, reason="back"))
    assert world.run.stages[0].models["bad"].accepted == 0


def test_a_model_that_is_not_quarantined_cannot_be_readmitted() -> None:
    world = world_of(TWO)
    before = world.run
    readmit(world)
    assert world.run == before


def test_all_others_are_readmitted_together() -> None:
    world = world_of(TWO)
    others = {**world.run.stages[0].models, OTHERS: ModelRun(tally=Tally(failed=3, exposed=3, resolved=3, blamed=3))}
    run = stage_changed(world.run, 0, models=others)
    run = quarantine.quarantined(world.plan, run, 0, model=OTHERS, now=0)
    assert [barred(run).has(model) for model in ("k77", "bad", None)] == [True, False, False]
    assert quarantine.names(run) == (OTHERS,)
    assert not barred(quarantine.readmitted(run, OTHERS)).has("k77")


# --- what is read out -----------------------------------------------------------------------------------------------


def test_the_closest_model_is_that_with_most_evidence_and_not_quarantined() -> None:
    world = world_of(["a"] * 4 + ["b"] * 2 + ["c"], gate=Gate(success_percent=0), in_flight=9, alpha_percent=1.0)
    out = barred(world.run)
    assert quarantine.closest(world.plan, world.run, 0, out) is None
    fail(world, 0, 0, 4)
    succeed(world, 0, 1, 2)
    assert quarantine.closest(world.plan, world.run, 0, out) == "b"
    assert quarantine.stops_on(world.plan, world.run, 0, "b") == 2
    assert str(quarantine.read(world.plan, world.run, 0, "a")).startswith("1 of 3 started failed; stops on failure 3")


def test_a_model_whose_failures_were_accepted_is_said_to_be_quarantined_on_the_next_one() -> None:
    world = world_of(["a"] * 9 + ["b"] * 9, gate=Gate(success_percent=0), in_flight=18, alpha_percent=1.0)
    fail(world, 0, *range(8))
    world.happen(Readmitted(at=world.now, model="a", reason="a bad batch", by="ann"))
    assert quarantine.stops_on(world.plan, world.run, 0, "a") == 9
    assert str(quarantine.read(world.plan, world.run, 0, "a")).startswith("8 of 8 started failed; stops on failure 9")


# --- what is promised -----------------------------------------------------------------------------------------------

ALPHA, ABOVE, MODELS = 0.01, 0.02, 10
OWN = ALPHA / 2 / MODELS


def own_limit(started: int) -> int:
    return odds.stops_on(started, above=ABOVE, alpha=OWN)


def test_a_good_model_of_ten_is_rarely_quarantined_exactly() -> None:
    """The evidence file's fleet: 10,000 devices of ten models, of which nine fail on 1 % and are tolerated to 2 %."""
    healthy = exact.run(own_limit, rate=0.01, devices=1_100)
    at_the_limit = exact.run(own_limit, rate=ABOVE, devices=1_100)
    assert (MODELS - 1) * healthy.stopped < 0.0005
    assert MODELS * at_the_limit.stopped <= ALPHA / 2


@pytest.mark.parametrize(("rate", "devices", "within"), [(0.6, 300, 6), (1.0, 100, 3), (0.3, 1_500, 18)])
def test_a_bad_model_is_caught_within_few_of_its_devices_exactly(rate: float, devices: int, within: int) -> None:
    found = exact.run(own_limit, rate=rate, devices=devices)
    assert found.stopped > 0.999
    assert found.median is not None
    assert found.median <= within


def rollout(seed: int) -> tuple[dict[str, int], set[str], bool]:
    """Draw a stage of 4,000 devices of ten models, in which the tests act only when 100 more devices have begun.

    Returns:
        The failures of each model, the models that are quarantined, and whether the test of all has stopped the stage.
    """
    chance = random.Random(seed)
    definition = plan(stage("all"), alpha_percent=100 * ALPHA)
    devices = chance.choices([f"k{n}" for n in range(9)] + ["bad"], weights=[97 / 9] * 9 + [3], k=4_000)
    run = create(definition)
    run, _ = runs.step(definition, run, Frozen(at=at(0), stage=0, targets=len(devices), models=Counter(devices)))
    failed: Counter[str] = Counter()
    late: list[Delta] = []
    for number, model in enumerate(devices):
        if barred(run).has(model):
            continue
        has_failed = chance.random() < (0.6 if model == "bad" else 0.01)
        failed[model] += has_failed
        late.append(
            Delta(
                before=TargetState.QUEUED,
                after=TargetState.FAILED if has_failed else TargetState.SUCCEEDED,
                exposed=1,
                resolved=1,
                blamed=int(has_failed),
                model=model,
            )
        )
        if number % 100 == 99:
            run, late = folded_in(definition, run, late), []
    stopped = run.stages[0].breach is not None
    return failed, {name for name in run.stages[0].models if barred(run).has(name)}, stopped


def folded_in(definition: Plan, run: Run, deltas: list[Delta]) -> Run:
    """Return the run after what devices told, with the tests as a settling applies them."""
    at_work = run.stages[0]
    tally = msgspec.structs.replace(
        at_work.tally,
        queued=at_work.tally.queued - len(deltas),
        succeeded=at_work.tally.succeeded + sum(not delta.blamed for delta in deltas),
        failed=at_work.tally.failed + sum(delta.blamed for delta in deltas),
        exposed=at_work.tally.exposed + len(deltas),
        resolved=at_work.tally.resolved + len(deltas),
        blamed=at_work.tally.blamed + sum(delta.blamed for delta in deltas),
    )
    run = stage_changed(run, 0, tally=tally, models=quarantine.counted(at_work.models, deltas))
    for model in list(refuted(definition, run, 0)):
        run = quarantine.quarantined(definition, run, 0, model=model, now=0)
    return run


def test_a_bad_model_costs_about_five_devices_and_the_rest_goes_on() -> None:
    """The fleet of which quarantine cost 5.4 failures and fixed thresholds 90 to 180, in another set of seeds."""
    drawn = [rollout(seed) for seed in range(60)]
    bad = [failed["bad"] for failed, _, _ in drawn]
    assert all("bad" in kept_out for _, kept_out, _ in drawn)
    assert 4 <= sum(bad) / len(bad) <= 7
    assert sum(len(kept_out) - 1 for _, kept_out, _ in drawn) <= 1
    assert not any(stopped for _, _, stopped in drawn)


def test_newcomers_of_a_stage_that_knows_no_models_are_counted_by_none() -> None:
    assert quarantine.joined({}, {"good": 2}) == {}


def test_a_soak_in_which_every_model_is_quarantined_leaves_nobody_who_succeeded() -> None:
    gate = Gate(success_percent=50, soak_ms=60_000, on_breach=OnBreach.ALERT)
    world = world_of(["k1"] * 4 + ["k2"] * 4, gate=gate, in_flight=8)
    succeed(world, 0, *range(8))
    assert world.state(0) is StageState.SOAKING
    for index in range(8):
        world.device(0, index, Marked(attempt=1, mark=Mark.CRASHED))
    assert [barred(world.run).has(model) for model in ("k1", "k2")] == [True, True]
    world.now = Instant(world.now + 60_000)
    world.happen(Woken(at=world.now))
    assert (world.state(0), world.run.stages[0].reason) == (StageState.FAILED, "0 of 0 succeeded, 50 % needed")
