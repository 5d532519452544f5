"""Runs judged again by another gate, from what their own gates saw."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from controller.app import runs
from controller.app.access import Actor, Permission
from controller.app.controller import Controller
from controller.app.errors import InvalidDefinition
from controller.app.records import MomentRecord, RunRecord
from controller.app.repositories import Transaction
from controller.app.views import BreachView, EvidenceView, ReplayedView, ReplayView, VerdictView
from controller.domain import quarantine
from controller.domain.course import seen as as_seen
from controller.domain.gates.replay import Judged, with_gate
from controller.domain.gates.replay import replay as replayed
from controller.domain.pipeline import Gate, OnHealth, Pipeline
from controller.domain.validation import alpha_faults
from protocol.ids import StageName

CHECKS: Final = "checks are not judged: none is asked again, and where one stopped a stage is not shown"
PROOFS: Final = "proofs are not judged: they stop no stage, and when one would have let a stage pass is not told"
COMPARISONS: Final = (
    "control groups are not judged: nothing is compared anew, and where that stopped a stage is not shown"
)
AFTERWARDS: Final = "what came after a success is not judged anew: crashes and silence count where they did in the run"


async def replay(controller: Controller, actor: Actor, *, run: str, gate: Gate, stage: str | None = None) -> ReplayView:
    """Return what *gate* would have made of a run, in all its stages or in one; the other stages keep theirs.

    Raises:
        NotFound: when there is no such run or stage.
        InvalidDefinition: when the gates together may be wrong more often than the pipeline allows.
    """
    actor.require(Permission.READ)

    def work(tx: Transaction) -> ReplayView:
        record = runs.find(tx, run)
        indexes = range(len(record.run.stages)) if stage is None else (runs.stage_index(record, stage),)
        other = _checked(with_gate(record.plan.pipeline, gate, stage=None if stage is None else StageName(stage)))
        seen: defaultdict[int, list[MomentRecord]] = defaultdict(list)
        for moment in tx.log.moments(record.id):
            seen[moment.stage].append(moment)
        gates = [gate, *(record.plan.pipeline.stages[index].gate for index in indexes)]
        stages = tuple(_stage(record, other, index, seen[index]) for index in indexes)
        return ReplayView(run=run, stages=stages, notes=tuple(_notes(gates)))

    return await controller.read(work)


def _notes(gates: Sequence[Gate]) -> Iterator[str]:
    """Say what of these gates is not judged."""
    if any(gate.checks for gate in gates):
        yield CHECKS
    if any(gate.proof for gate in gates):
        yield PROOFS
    if any(gate.control for gate in gates):
        yield COMPARISONS
    if len({_minded_after_success(gate) for gate in gates}) > 1:
        yield AFTERWARDS


def _minded_after_success(gate: Gate) -> tuple[bool, int | None]:
    return gate.soak_ms > 0 and gate.health is OnHealth.COUNTED, gate.silent_after_ms


def _checked(pipeline: Pipeline) -> Pipeline:
    faults = tuple(alpha_faults(pipeline))
    if faults:
        raise InvalidDefinition("the gate does not fit into the pipeline of the run", faults)
    return pipeline


def _stage(record: RunRecord, other: Pipeline, index: int, seen: Sequence[MomentRecord]) -> ReplayedView:
    at_work, out = record.run.stages[index], quarantine.barred(record.run)
    excepted = quarantine.excepted(record.plan.pipeline.stages[index], at_work, out)
    now = as_seen(at_work.tally, excepted, at=0, accepted=at_work.accepted)
    found = replayed(record.plan.pipeline, other, index, [one.moment for one in seen], now)
    evidence = found.reading.evidence
    return ReplayedView(
        stage=found.stage,
        said=str(found),
        known=not found.unseen,
        known_from=seen[0].at if found.unseen and seen else None,
        own=_verdict(found.own, seen),
        other=_verdict(found.other, seen),
        spared=found.spared,
        exposed_more=found.exposed_more,
        now=str(found.reading),
        evidence_now=None if evidence is None else EvidenceView(**msgspec.structs.asdict(evidence)),
    )


def _verdict(judged: Judged, seen: Sequence[MomentRecord]) -> VerdictView:
    stop, peak = judged.stop, judged.peak
    return VerdictView(
        stop=None
        if stop is None
        else BreachView(at=seen[stop.number].at, failed=stop.failed, exposed=stop.exposed, said=stop.said),
        evidence=None if peak is None else math.exp(peak.log_evidence),
        evidence_failed=0 if peak is None else peak.failed,
        evidence_exposed=0 if peak is None else peak.exposed,
    )
