"""Bugs in quarantines of models: by what they begin, what they keep out, and how they end."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from controller.app import joining, membership
from controller.domain import quarantine
from controller.domain import run as runs
from controller.domain.events import Recovered
from controller.domain.gates import judgement
from controller.domain.gates.judgement import Excepted
from controller.domain.model import Plan, Run, stage_changed
from controller.domain.quarantine import Barred
from simulator.memory.targets import MemoryTargets
from simulator.virtual.laws.breaches import BreachesAreKept, NobodyBeginsBeyond
from simulator.virtual.laws.counters import CountersAddUp
from simulator.virtual.laws.quarantine import QuarantinedStayOut, QuarantinesAreDeserved
from simulator.virtual.laws.retries import RetriesWhatFailed
from simulator.virtual.laws.stages import GatesHold
from tests.simulator.planted.planted import planted, wrap

replace = msgspec.structs.replace


def _forgotten(run: Run) -> Run:
    """Return a run that keeps no model out."""
    for index, stage in enumerate(run.stages):
        models = {name: replace(one, breach=None) for name, one in stage.models.items()}
        run = stage_changed(run, index, models=models)
    return run


# --- by what it begins ------------------------------------------------------------------------------------------


@planted("A model is tested by the failures of all.", QuarantinesAreDeserved)
def model_answers_for_others(patch: pytest.MonkeyPatch) -> None:
    def around(refuted: Any) -> Any:
        def careless(plan: Plan, run: Run, index: int) -> Iterator[str]:
            at_work = run.stages[index]
            models = {name: replace(one, tally=at_work.tally) for name, one in at_work.models.items()}
            return iter(refuted(plan, stage_changed(run, index, models=models), index))

        return careless

    wrap(patch, quarantine, "refuted", around)


@planted("What becomes of devices counts for the first model of a stage.", CountersAddUp)
def first_model_counts_for_all(patch: pytest.MonkeyPatch) -> None:
    def around(counted: Any) -> Any:
        return lambda models, deltas: counted(models, [replace(one, model=next(iter(models), None)) for one in deltas])

    wrap(patch, quarantine, "counted", around)


@planted("Each model of a stage spends what all its models have of alpha.", QuarantinesAreDeserved)
def models_do_not_share_alpha(patch: pytest.MonkeyPatch) -> None:
    wrap(
        patch,
        quarantine,
        "alpha_of",
        lambda _: lambda plan, _run, index: judgement.alpha_of(plan.pipeline, index) * quarantine.POOLED,
    )


@planted("A model is looked at when a stage is over, and not before.", QuarantinesAreDeserved)
def quarantine_comes_late(patch: pytest.MonkeyPatch) -> None:
    def around(refuted: Any) -> Any:
        def late(plan: Plan, run: Run, index: int) -> Iterator[str]:
            return iter(refuted(plan, run, index)) if run.stages[index].tally.is_settled else iter(())

        return late

    wrap(patch, quarantine, "refuted", around)


# --- what it keeps out ------------------------------------------------------------------------------------------


@planted("A quarantine is noted, and its devices are released all the same.", QuarantinedStayOut)
def quarantine_calls_nobody_off(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, quarantine, "waiting", lambda _: lambda *_given: iter(()))
    wrap(patch, quarantine, "kept_out", lambda _: lambda *_given: [])


@planted("Who comes back to the queue after a quarantine waits there for ever.", QuarantinedStayOut)
def quarantined_device_blocks_the_end(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, quarantine, "waiting", lambda _: lambda *_given: iter(()))


@planted("A stage that opens takes devices of quarantined models.", QuarantinedStayOut)
def quarantined_devices_join(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, membership, "barred", lambda _: lambda _run: Barred())


@planted(
    "A device of a quarantined model joins an open stage by what it comes to be.", QuarantinedStayOut, first_seed=50
)
def quarantined_newcomer_joins(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, joining, "barred", lambda _: lambda _run: Barred())


@planted("The test of all devices counts those of quarantined models.", BreachesAreKept, GatesHold, NobodyBeginsBeyond)
def gate_counts_whom_it_has_quarantined(patch: pytest.MonkeyPatch) -> None:
    def around(excepted: Any) -> Any:
        return lambda *given: Excepted(share=excepted(*given).share)

    wrap(patch, quarantine, "excepted", around)


@planted("The test of all devices has the whole alpha of a stage, beside those of its models.", BreachesAreKept)
def alpha_is_spent_twice(patch: pytest.MonkeyPatch) -> None:
    def around(excepted: Any) -> Any:
        return lambda *given: replace(excepted(*given), share=1.0)

    wrap(patch, quarantine, "excepted", around)


# --- how it ends ------------------------------------------------------------------------------------------------


@planted("A controller that was away has forgotten who is quarantined.", QuarantinesAreDeserved)
def quarantine_is_forgotten_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    def around(apply: Any) -> Any:
        def forgetful(plan: Plan, run: Run, event: Any) -> Any:
            return apply(plan, _forgotten(run) if isinstance(event, Recovered) else run, event)

        return forgetful

    wrap(patch, runs, "_apply", around)


@planted("Whoever resumes a run lets its quarantined models in.", QuarantinesAreDeserved)
def resumption_readmits(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, runs, "_resume", lambda resume: lambda plan, run, event: resume(plan, _forgotten(run), event))


@planted("A model is readmitted by itself when none of its devices is left at work.", QuarantinesAreDeserved)
def model_readmits_itself(patch: pytest.MonkeyPatch) -> None:
    def around(counted: Any) -> Any:
        def lenient(*given: Any) -> Any:
            after = counted(*given)
            return {name: one if one.tally.in_progress else replace(one, breach=None) for name, one in after.items()}

        return lenient

    wrap(patch, quarantine, "counted", around)


@planted(
    "A readmission accepts nothing, and the same failures quarantine the model again.",
    QuarantinesAreDeserved,
    first_seed=20,
)
def readmission_accepts_nothing(patch: pytest.MonkeyPatch) -> None:
    def around(readmitted: Any) -> Any:
        def strict(run: Run, model: str) -> Run:
            after: Run = readmitted(run, model)
            for index, stage in enumerate(after.stages):
                models = {name: replace(one, accepted=0) for name, one in stage.models.items()}
                after = stage_changed(after, index, models=models)
            return after

        return strict

    wrap(patch, quarantine, "readmitted", around)


# --- and who is tried again -------------------------------------------------------------------------------------


def _asked(patch: pytest.MonkeyPatch, *, with_cancelled: bool) -> None:
    def around(unsuccessful: Any) -> Any:
        return lambda self, ids, **_given: unsuccessful(self, ids, with_cancelled=with_cancelled)

    wrap(patch, MemoryTargets, "unsuccessful", around)


@planted("A retry takes those that were cancelled, though nobody has asked for them.", RetriesWhatFailed)
def retry_takes_the_cancelled(patch: pytest.MonkeyPatch) -> None:
    _asked(patch, with_cancelled=True)


@planted("A retry that is to take those that were cancelled leaves them out.", RetriesWhatFailed)
def retry_forgets_the_cancelled(patch: pytest.MonkeyPatch) -> None:
    _asked(patch, with_cancelled=False)
