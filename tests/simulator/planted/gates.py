"""Bugs in how builds are judged: what a test counts, what a breach leads to, and how ramps grow."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from controller.app.runs import control
from controller.domain import quarantine, ramping, waves
from controller.domain import run as runs
from controller.domain.counters import Tally
from controller.domain.gates import judgement
from controller.domain.gates.judgement import NOBODY
from controller.domain.model import Breach, Plan, RampRun, Run, StageRun, stage_changed
from controller.domain.pipeline import OnBreach, Pipeline, Proof, Stage
from controller.domain.settle import breach_of, evidence, whole
from controller.domain.target import Target, machine, model
from protocol.reasons import Blame, Reason
from simulator.virtual.laws.blame import BlameIsDeserved
from simulator.virtual.laws.breaches import BreachesAreKept, NobodyBeginsBeyond
from simulator.virtual.laws.counters import CountersAddUp
from simulator.virtual.laws.proofs import ProofsAreThere
from simulator.virtual.laws.ramps import RampsHold
from tests.simulator.planted.planted import planted, wrap

replace = msgspec.structs.replace

# --- what is counted --------------------------------------------------------------------------------------------


@planted("A test takes the devices that are done for those that have begun.", BreachesAreKept)
def test_counts_who_is_done(patch: pytest.MonkeyPatch) -> None:
    def around(is_breached: Any) -> Any:
        def hasty(pipeline: Pipeline, index: int, tally: Any, **given: Any) -> Any:
            done = max(tally.blamed, tally.succeeded + tally.failed + tally.timed_out)
            return is_breached(pipeline, index, replace(tally, exposed=done), **{**given, "excepted": NOBODY})

        return hasty

    wrap(patch, judgement, "is_breached", around)


@planted("Each stage spends the whole alpha of its pipeline.", BreachesAreKept)
def alpha_is_not_shared(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, judgement, "alpha_of", lambda _: lambda pipeline, _index: pipeline.alpha_percent / 100)


@planted("A failure of the build is tried again, and the retry takes it back.", CountersAddUp)
def retry_takes_a_failure_back(patch: pytest.MonkeyPatch) -> None:
    def around(released: Any) -> Any:
        return lambda target, *rest: released(replace(target, is_blamed=False), *rest)

    wrap(patch, machine, "is_retried", lambda _: lambda _reason: True)
    wrap(patch, machine, "_released", around)


@planted("A device that fell silent counts as one of which it is known how it went.", CountersAddUp)
def silence_is_taken_for_an_outcome(patch: pytest.MonkeyPatch) -> None:
    def resolved(target: Target) -> bool:
        return model.is_exposed(target) and (target.is_blamed or target.state.is_terminal)

    wrap(patch, model, "is_resolved", lambda _: resolved)


@planted("A download that fails is blamed on the build.", BlameIsDeserved)
def outage_is_blamed_on_the_build(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, machine, "BLAME", lambda blame: {**blame, Reason.DOWNLOAD_FAILED: Blame.BUILD})


# --- breaches ---------------------------------------------------------------------------------------------------


@planted("A breach pauses the run, and its devices are released all the same.", NobodyBeginsBeyond, first_seed=60)
def breach_holds_nobody(patch: pytest.MonkeyPatch) -> None:
    def around(releases: Any) -> Any:
        def careless(plan: Plan, now: Run) -> Iterator[Any]:
            reasons = tuple(reason for reason in now.pause_reasons if not reason.startswith("breach:"))
            return iter(releases(plan, replace(now, pause_reasons=reasons)))

        return careless

    wrap(patch, whole, "releases", around)


def _after_a_breach(patch: pytest.MonkeyPatch, more: Any) -> None:
    """Let *more* be done with a decision and a stage once a breach of its gate was carried out."""

    def around(breach: Any) -> Any:
        def carried_out(self: Any, index: int, **how: Any) -> None:
            breach(self, index, **how)
            more(self, index)

        return carried_out

    wrap(patch, evidence, "breach", around)


@planted("What a gate knew at its breach is overwritten by what it knows later.", BreachesAreKept)
def breach_is_overwritten(patch: pytest.MonkeyPatch) -> None:
    def again(decision: Any, index: int) -> None:
        tally = decision.run.stages[index].tally
        known = Breach(at=decision.now, failed=tally.blamed, exposed=tally.exposed, evidence="later")
        decision.run = stage_changed(decision.run, index, breach=known)

    _after_a_breach(patch, again)


@planted("A gate that should only tell of its breach pauses the run.", BreachesAreKept, first_seed=50)
def alert_pauses(patch: pytest.MonkeyPatch) -> None:
    def pause(decision: Any, index: int) -> None:
        stage = decision.plan.pipeline.stages[index]
        if stage.gate.on_breach is OnBreach.ALERT:
            decision.pause(breach_of(stage.name), evidence="")

    _after_a_breach(patch, pause)


@planted("An alert is told whenever somebody looks.", BreachesAreKept)
def alert_is_told_again(patch: pytest.MonkeyPatch) -> None:
    def is_breached(self: Any, index: int) -> bool:
        at_work = self.run.stages[index]
        return judgement.is_breached(self.plan.pipeline, index, at_work.tally, accepted=at_work.accepted)

    wrap(patch, evidence, "is_breached", lambda _: is_breached)


# --- proofs -----------------------------------------------------------------------------------------------------


@planted("Who is at work speaks for a build as if it had succeeded.", ProofsAreThere)
def silence_proves_a_build(patch: pytest.MonkeyPatch) -> None:
    def around(shown: Any) -> Any:
        def trusting(proof: Proof, known: waves.Waves, rest: Tally) -> Any:
            return shown(proof, tuple(waves.Wave(wave.begun, wave.begun) for wave in known), rest)

        return trusting

    wrap(patch, waves, "shown", around)


# --- ramps ------------------------------------------------------------------------------------------------------


@planted("A ramp counts only the devices of which it is known how it went.", RampsHold)
def ramp_counts_who_is_known(patch: pytest.MonkeyPatch) -> None:
    def since(at: RampRun, at_work: StageRun) -> tuple[int, int]:
        tally = at_work.tally
        exposed = max(0, tally.resolved - at.accepted_exposed)
        return exposed, min(exposed, max(0, tally.blamed - at.accepted_failed))

    wrap(patch, ramping, "_since", lambda _: since)


@planted(
    "Who waits for another try when a hold is lifted is accepted as failed, and forgiven later.",
    RampsHold,
    first_seed=50,
)
def accepted_devices_make_up_for_others(patch: pytest.MonkeyPatch) -> None:
    def around(accepted: Any) -> Any:
        return lambda stage, at: accepted(stage, replace(at, tally=replace(at.tally, waiting=0)))

    wrap(patch, ramping, "accepted", around)


@planted("A round begins when all devices of the last one have begun.", RampsHold)
def round_begins_too_soon(patch: pytest.MonkeyPatch) -> None:
    def is_done(at_work: StageRun) -> bool:
        return at_work.ramp is not None and at_work.ramp.left == 0 and at_work.tally.queued > 0

    wrap(patch, ramping, "is_done", lambda _: is_done)


@planted("A round does not soak.", RampsHold)
def round_does_not_soak(patch: pytest.MonkeyPatch) -> None:
    def due(_stage: Stage, at_work: StageRun) -> int:
        assert at_work.ramp is not None
        assert at_work.ramp.done_at is not None
        return at_work.ramp.done_at

    wrap(patch, ramping, "due", lambda _: due)


@planted("Of the commands of one transaction a ramp counts all but one.", RampsHold)
def ramp_forgets_a_command(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, ramping, "issued", lambda issued: lambda ramp, *, count: issued(ramp, count=max(0, count - 1)))


@planted("Whoever goes on after any pause accepts all failures so far.", BreachesAreKept)
def any_resumption_accepts_failures(patch: pytest.MonkeyPatch) -> None:
    def around(resume: Any) -> Any:
        def generous(plan: Plan, run: Run, event: Any) -> Any:
            for index in range(len(run.stages)):
                run = quarantine.accepted(run, index)
            return resume(plan, run, event)

        return generous

    wrap(patch, runs, "_resume", around)


@planted("A ramp that holds its run goes on by a plain resumption.", RampsHold)
def hold_is_lifted_by_a_plain_resumption(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, control, "RAMP", lambda _: "no such reason:")
