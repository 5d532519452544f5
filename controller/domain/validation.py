"""What is wrong with a definition as a whole: every fault, with its place."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from controller.domain import condition as conditions
from controller.domain import graph, query
from controller.domain.gates.checks import CHECKS_MAX, Check
from controller.domain.gates.judgement import Test, tests_of
from controller.domain.gates.spending import Overspent, shares
from controller.domain.group import parse_path
from controller.domain.pipeline import (
    DRY_RUNS_MAX,
    METRICS_MAX,
    METRICS_SOAK_MS_MIN,
    NAMES_SHOWN_MAX,
    STAGES_MAX,
    FailureLimit,
    Gate,
    Growth,
    Metric,
    OnHealth,
    Pace,
    Pipeline,
    Stage,
    Targets,
    Trigger,
)
from controller.domain.wording import counted
from protocol.errors import InvalidName
from protocol.ids import StageName
from protocol.units import SECOND


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with a definition: its place (``stages[2].needs[0]``) and what was expected."""

    place: str
    message: str


def validate(pipeline: Pipeline) -> tuple[Fault, ...]:
    """Return every fault of a definition, in the order of their places; none means that it may run."""
    return tuple(_faults(pipeline))


def _faults(pipeline: Pipeline) -> Iterator[Fault]:
    if not 1 <= len(pipeline.stages) <= STAGES_MAX:
        yield Fault(place="stages", message=f"{len(pipeline.stages)} stages: expected 1 to {STAGES_MAX}")
    seen: set[StageName] = set()
    for index, stage in enumerate(pipeline.stages):
        if stage.name in seen:
            yield Fault(place=f"stages[{index}].name", message=f"stage {stage.name!r} is defined twice")
        seen.add(stage.name)
    for index, stage in enumerate(pipeline.stages):
        yield from _stage_faults(f"stages[{index}]", stage, seen)
    needs: dict[StageName, tuple[StageName, ...]] = {}
    for stage in pipeline.stages:
        needs[stage.name] = (*needs.get(stage.name, ()), *stage.needs)
    yield from _rollback_faults(pipeline)
    yield from alpha_faults(pipeline)
    if cycle := graph.find_cycle(needs):
        yield Fault(place="stages", message=f"stages need each other in a circle: {' → '.join(cycle)}")


def _stage_faults(place: str, stage: Stage, names: set[StageName]) -> Iterator[Fault]:
    for index, need in enumerate(stage.needs):
        if need not in names:
            message = f"no stage is named {need!r}; there are {_some(names)}"
            yield Fault(place=f"{place}.needs[{index}]", message=message)
    if stage.approvals and stage.trigger is not Trigger.MANUAL:
        message = f"{counted(stage.approvals, 'approval')} of a stage that nobody promotes: expected the type 'manual'"
        yield Fault(place=f"{place}.trigger.approvals", message=message)
    yield from _when_faults(f"{place}.when", stage)
    yield from gate_faults(f"{place}.gate", stage.gate)
    yield from _ramp_faults(f"{place}.pace", stage.pace, stage.gate)
    yield from _target_faults(f"{place}.targets", stage.targets)
    rate = stage.pace.per_minute
    if isinstance(rate, Growth) and rate.start > rate.max:
        message = f"expected no more than max, {rate.max}, found {rate.start}"
        yield Fault(place=f"{place}.pace.per_minute.start", message=message)
    yield from _query_faults(f"{place}.preconditions", stage.preconditions)
    for index, window in enumerate(stage.windows):
        if window.begin == window.end:
            message = "begins when it ends: expected such as 22:00 to 04:00, or 00:00 to 24:00"
            yield Fault(place=f"{place}.windows[{index}]", message=message)


def gate_faults(place: str, gate: Gate) -> Iterator[Fault]:
    """Yield what is wrong with a gate that stands at *place*."""
    at = f"{place}." if place else ""
    yield from _limit_faults(f"{at}failures", gate.failures)
    if gate.proof is not None and gate.straggler_after_ms is not None:
        message = "a proof waits for no stragglers: expected it without straggler_after"
        yield Fault(place=f"{at}straggler_after", message=message)
    if gate.silent_after_ms is not None and gate.silent_after_ms > gate.soak_ms:
        message = "nobody falls silent after the soak: expected a soak at least as long"
        yield Fault(place=f"{at}silent_after", message=message)
    if len(gate.dry_run) > DRY_RUNS_MAX:
        yield Fault(place=f"{at}dry_run", message=f"{len(gate.dry_run)} rules: expected at most {DRY_RUNS_MAX}")
    seen: set[str] = set()
    for index, rule in enumerate(gate.dry_run):
        yield from _limit_faults(f"{at}dry_run[{index}].failures", rule.failures)
        if rule.name in seen:
            yield Fault(place=f"{at}dry_run[{index}].name", message=f"rule {rule.name!r} is defined twice")
        seen.add(rule.name)
    yield from _check_faults(f"{at}checks", gate.checks)
    yield from _control_faults(f"{at}control", gate)


def _control_faults(place: str, gate: Gate) -> Iterator[Fault]:
    if gate.control is not None and gate.soak_ms == 0:
        yield Fault(place=place, message="control needs a soak: nothing is watched without one")
    if gate.control is not None and gate.health is OnHealth.IGNORED:
        yield Fault(place=place, message="control compares the health of devices: expected it without health: ignored")
    if gate.control is not None:
        yield from _metric_faults(f"{place}.metrics", gate.control.metrics, soak_ms=gate.soak_ms)


def _metric_faults(place: str, metrics: Sequence[Metric], *, soak_ms: int) -> Iterator[Fault]:
    if len(metrics) > METRICS_MAX:
        yield Fault(place=place, message=f"{len(metrics)} metrics: expected at most {METRICS_MAX}")
    if metrics and 0 < soak_ms < METRICS_SOAK_MS_MIN:
        least = METRICS_SOAK_MS_MIN // SECOND
        yield Fault(place=place, message=f"metrics need a soak of at least {least}s: devices tell them late in it")
    names = [metric.name for metric in metrics]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Fault(place=f"{place}[{index}].name", message=f"metric {name!r} is compared already")


def _check_faults(place: str, checks: Sequence[Check]) -> Iterator[Fault]:
    if len(checks) > CHECKS_MAX:
        yield Fault(place=place, message=f"{len(checks)} checks: expected at most {CHECKS_MAX}")
    names = [check.name for check in checks]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Fault(place=f"{place}[{index}].name", message=f"check {name!r} is defined twice")


def _limit_faults(place: str, limit: FailureLimit | None) -> Iterator[Fault]:
    if limit is not None and (limit.count is None) == (limit.percent is None):
        yield Fault(place=place, message="expected exactly one of 'count' and 'percent'")


def _rollback_faults(pipeline: Pipeline) -> Iterator[Fault]:
    """Yield what is wrong with the one stage of a run that takes devices back."""
    rules = pipeline.rollback
    yield from gate_faults("rollback.gate", rules.gate)
    if rules.gate.dry_run:
        yield Fault(place="rollback.gate.dry_run", message="rules are tried in stages, not in a rollback")
    if rules.gate.control is not None:
        message = "nobody is held back in a rollback: expected it in stages"
        yield Fault(place="rollback.gate.control", message=message)
    yield from _spending_faults("rollback.gate", pipeline, [rules.gate.sequential])
    if rules.pace is not None:
        yield from _ramp_faults("rollback.pace", rules.pace, rules.gate)


def _ramp_faults(place: str, pace: Pace, gate: Gate) -> Iterator[Fault]:
    if pace.ramp is not None and gate.sequential is None:
        message = "expected a gate that says what share of failures is tolerated, as failures: {above: 2%}"
        yield Fault(place=f"{place}.ramp", message=message)


def alpha_faults(pipeline: Pipeline) -> Iterator[Fault]:
    """Yield that the tests of the stages may be wrong more often than the pipeline allows them together.

    A rule on trial must fit in as well, in place of the test of its stage.
    """
    tests = tests_of(pipeline)
    yield from _spending_faults("alpha", pipeline, tests)
    for index, stage in enumerate(pipeline.stages):
        for number, rule in enumerate(stage.gate.dry_run):
            tried = [*tests[:index], rule.sequential, *tests[index + 1 :]]
            yield from _spending_faults(f"stages[{index}].gate.dry_run[{number}].failures", pipeline, tried)


def _spending_faults(place: str, pipeline: Pipeline, tests: Sequence[Test | None]) -> Iterator[Fault]:
    named = [test.alpha_percent and test.alpha_percent / 100 for test in tests if test is not None]
    try:
        shares(pipeline.alpha_percent / 100, named)
    except Overspent as fault:
        yield Fault(place=place, message=f"the gates of the stages name {fault}")


def _target_faults(place: str, targets: Targets) -> Iterator[Fault]:
    yield from _query_faults(f"{place}.query", targets.query)
    for index, group in enumerate(targets.groups):
        try:
            parse_path(group)
        except InvalidName as error:
            yield Fault(place=f"{place}.groups[{index}]", message=str(error))
    listed = set(targets.devices)
    for index, device in enumerate(targets.exclude):
        if device in listed:
            message = f"device {device!r} is both listed and excluded"
            yield Fault(place=f"{place}.exclude[{index}]", message=message)


def _query_faults(place: str, text: str) -> Iterator[Fault]:
    if text:
        try:
            query.parse(text)
        except query.InvalidQuery as error:
            yield Fault(place=place, message=f"query {error}")


def _when_faults(place: str, stage: Stage) -> Iterator[Fault]:
    """Yield what is wrong with a condition; it may ask about stages that have their verdict when it is judged."""
    if not stage.when:
        return
    try:
        asked = conditions.stages_of(conditions.parse(stage.when))
    except conditions.ConditionFault as fault:
        yield Fault(place=place, message=str(fault))
        return
    for name in asked:
        if name not in stage.needs:
            yield Fault(place=place, message=f"asks about {name!r}, which is none of the stage's needs")


def _some(names: Iterable[StageName]) -> str:
    first = sorted(names)[:NAMES_SHOWN_MAX]
    return ", ".join(first)
