"""Rules of failures on trial: judged beside the gate of a stage at every look, as if in its place, and never acting.

A rule keeps what it knew when it would have stopped the stage first (`Breach`), and the timeline tells it once; at the
end of the run it tells what all rules would have done.
"""

from collections.abc import Iterator

from controller.domain.course import Moment
from controller.domain.events import Note
from controller.domain.gates import judgement
from controller.domain.gates.replay import with_gate
from controller.domain.model import Breach, Run, StageRun, stage_changed
from controller.domain.pipeline import DryRun, Gate, Pipeline
from controller.domain.wording import counted

Looked = tuple[Run, tuple[Note, ...]]


def in_place(pipeline: Pipeline, index: int, rule: DryRun) -> Pipeline:
    """Return *pipeline* with a rule in place of the gate of a stage; alpha is divided as it would be then."""
    gate = Gate(sequential=rule.sequential, failures=rule.failures)
    return with_gate(pipeline, gate, stage=pipeline.stages[index].name)


def look(pipeline: Pipeline, run: Run, index: int, moment: Moment) -> Looked:
    """Return *run* with what the rules of a stage make of what its gate sees, and what is to be told."""
    notes: list[Note] = []
    for rule in pipeline.stages[index].gate.dry_run:
        at_work = run.stages[index]
        if rule.name in at_work.dry_runs:
            continue
        breach = _breach(in_place(pipeline, index, rule), index, moment)
        if breach is not None:
            run = stage_changed(run, index, dry_runs={**at_work.dry_runs, rule.name: breach})
            stage = pipeline.stages[index].name
            notes.append(Note(kind="dry_run", stage=stage, text=rule.name, evidence=breach.evidence))
    return run, tuple(notes)


def summary(pipeline: Pipeline, run: Run) -> Iterator[Note]:
    """Yield what each rule would have done, once the run is over."""
    for stage, at_work in zip(pipeline.stages, run.stages, strict=True):
        for rule in stage.gate.dry_run:
            yield Note(kind="dry_run_ended", stage=stage.name, text=f"rule {rule.name} {said(rule, at_work)}")


def said(rule: DryRun, at_work: StageRun) -> str:
    """Say what a rule would have done, as far as the stage has come.

    >>> from controller.domain.counters import Tally
    >>> breach = Breach(at=9, failed=4, exposed=20, evidence="")
    >>> at_work = StageRun(tally=Tally(succeeded=30, failed=4, exposed=34), dry_runs={"strict": breach})
    >>> said(DryRun(name="strict"), at_work)
    'would have stopped on failure 4 of 20 started; 14 devices began after that'
    """
    tried, real = at_work.dry_runs.get(rule.name), at_work.breach
    if tried is None:
        return "would not have stopped"
    stopped = f"would have stopped on failure {tried.failed} of {tried.exposed} started"
    if real is None or real.at < tried.at:
        return f"{stopped}; {counted(at_work.tally.exposed - tried.exposed, 'device')} began after that"
    return f"{stopped}, {counted(real.exposed - tried.exposed, 'device')} earlier than the gate"


def _breach(pipeline: Pipeline, index: int, moment: Moment) -> Breach | None:
    if not judgement.is_breached(pipeline, index, moment.tally, accepted=0, excepted=moment.excepted):
        return None
    reading = judgement.read(pipeline, index, moment.tally, moment.excepted)
    return Breach(at=moment.at, failed=reading.failed, exposed=reading.exposed, evidence=str(reading))
