"""The checks of a stage, at work: which begin, which are asked, what is to be told of them, and whether all pass.

What answers come to is said by `controller.domain.gates.checks`. Here is no effect but questions: what a verdict does
to the stage and the run is for `controller.domain.settle`.
"""

from collections.abc import Container, Iterator, Mapping
from typing import Final

import msgspec

from controller.domain.gates import checks
from controller.domain.gates.checks import Check, CheckRun, Phase, Verdict
from controller.domain.model import StageRun
from controller.domain.pipeline import Stage
from controller.domain.states import StageState
from protocol.ids import StageName

FAILURE: Final = "check:"
"""What the pause reason of a check begins with that has failed."""
NO_DATA: Final = "no_data:"
"""What the pause reason of a check begins with that nobody answers."""


def failure_of(stage: StageName, check: str) -> str:
    """Return the pause reason of a check that has failed."""
    return f"{FAILURE}{stage}/{check}"


def no_data_of(stage: StageName, check: str) -> str:
    """Return the pause reason of a check of which nothing is known for too long."""
    return f"{NO_DATA}{stage}/{check}"


def open_checks(stage: Stage, at_work: StageRun) -> Iterator[Check]:
    """Yield the checks that are asked in the state in which a stage is."""
    for check in stage.gate.checks:
        is_early = at_work.state is StageState.ROLLING_OUT and check.at is Phase.ROLLOUT
        if at_work.state is StageState.SOAKING or is_early:
            yield check


def went_on(stage: Stage, at_work: StageRun, now: int) -> Mapping[str, CheckRun]:
    """Return the checks of an open stage: those begun that should be, and questions given up that nobody answered."""
    found = dict(at_work.checks)
    for check in open_checks(stage, at_work):
        found[check.name] = checks.lapsed(check, found.get(check.name) or checks.begin(now), now)
    return found if found != at_work.checks else at_work.checks


def askable(stage: Stage, at_work: StageRun, now: int) -> list[Check]:
    """Return the checks whose question is due."""
    return [c for c in open_checks(stage, at_work) if checks.is_askable(c, at_work.checks[c.name], now)]


def changed_verdicts(stage: Stage, at_work: StageRun, now: int) -> list[tuple[Check, Verdict]]:
    """Return the checks whose verdict is another one than was told; to wait is told by nothing."""
    found = []
    for check in open_checks(stage, at_work):
        at = at_work.checks[check.name]
        verdict = checks.verdict(check, at, now)
        if verdict is not (at.told or Verdict.WAIT):
            found.append((check, verdict))
    return found


def has_passed(stage: Stage, at_work: StageRun, now: int) -> bool:
    """Say whether every check passes that has an effect."""
    return all(_passes(check, at_work.checks.get(check.name), now) for check in stage.gate.checks if not check.dry_run)


def dues(stage: Stage, at_work: StageRun) -> Iterator[int]:
    """Yield the run times at which something of an open stage's checks is due."""
    for check in open_checks(stage, at_work):
        if check.name in at_work.checks:
            yield from checks.dues(check, at_work.checks[check.name])


def resumed(stage: Stage, at_work: StageRun, held: Container[str], now: int) -> Mapping[str, CheckRun]:
    """Return the checks of a stage when a person lets a run go on that was *held* for these reasons."""
    return {
        name: checks.resumed(
            at, now, has_failed=failure_of(stage.name, name) in held, is_silent=no_data_of(stage.name, name) in held
        )
        for name, at in at_work.checks.items()
    }


def with_check(at_work: StageRun, name: str, at: CheckRun) -> Mapping[str, CheckRun]:
    """Return the checks of a stage with another state of one."""
    return {**at_work.checks, name: at}


def with_told(at_work: StageRun, name: str, verdict: Verdict) -> Mapping[str, CheckRun]:
    """Return the checks of a stage with a verdict of one that is told now."""
    told = None if verdict is Verdict.WAIT else verdict
    return with_check(at_work, name, msgspec.structs.replace(at_work.checks[name], told=told))


def holds_of(stage: Stage) -> Iterator[str]:
    """Yield every pause reason that checks of a stage may have."""
    for check in stage.gate.checks:
        yield from (failure_of(stage.name, check.name), no_data_of(stage.name, check.name))


def find(stage: Stage, name: str) -> Check | None:
    """Return the check of a name, or None where the stage has none."""
    return next((check for check in stage.gate.checks if check.name == name), None)


def _passes(check: Check, at: CheckRun | None, now: int) -> bool:
    return at is not None and checks.verdict(check, at, now) is Verdict.PASS
