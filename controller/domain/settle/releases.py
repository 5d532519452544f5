"""How many queued devices of a stage may begin, and how long they may be queued."""

from collections.abc import Iterator
from typing import Final

from controller.domain import pace
from controller.domain.events import Release
from controller.domain.model import Plan, Run, StageRun
from controller.domain.pipeline import Stage
from controller.domain.states import RunState, StageState

OPEN: Final = frozenset({StageState.ROLLING_OUT, StageState.SOAKING, StageState.PASSED})
"""In these its devices may be at work: one that has passed may have a tail."""


def releases(plan: Plan, run: Run) -> Iterator[Release]:
    """Yield how many devices of each stage may begin now."""
    if run.state is not RunState.RUNNING or run.is_paused or run.freeze is not None:
        return
    for index, (stage, at_work) in enumerate(zip(plan.pipeline.stages, run.stages, strict=True)):
        count = room(stage, at_work)
        if count:
            yield Release(stage=index, count=count)
        watched = control_room(stage, at_work)
        if watched:
            yield Release(stage=index, count=watched, is_control=True)


def room(stage: Stage, at_work: StageRun) -> int:
    """Return how many queued devices of a stage may start, as long as nothing holds its run."""
    if at_work.paced_until is not None:
        return 0
    rate = pace.per_minute(stage.pace, succeeded=at_work.tally.succeeded)
    free = slots(stage, at_work)
    return free if rate is None else min(free, pace.group_max(rate))


def slots(stage: Stage, at_work: StageRun) -> int:
    """Return how many queued devices of a stage could start by its limit of devices at work."""
    is_open = at_work.state in {StageState.ROLLING_OUT, StageState.PASSED}
    if not is_open or not at_work.is_frozen or at_work.is_recalled:
        return 0
    free = min(stage.pace.max_in_flight - at_work.tally.in_progress, at_work.tally.queued)
    return max(0, free if at_work.ramp is None else min(free, at_work.ramp.left))


def control_room(stage: Stage, at_work: StageRun) -> int:
    """Return how many control devices of a stage may begin to be watched, beside those that are updated."""
    is_open = at_work.state in {StageState.ROLLING_OUT, StageState.SOAKING}
    if not is_open or at_work.control is None or at_work.is_recalled:
        return 0
    tally = at_work.control.tally
    return max(0, min(stage.pace.max_in_flight - tally.in_progress, tally.queued))


def queue_limit(stage: Stage, at_work: StageRun) -> int | None:
    """Return how long after the stage's opening its queued devices go without, or None where nothing says so."""
    is_open = at_work.state in OPEN
    return stage.timeouts.queued_ms if is_open and not at_work.is_recalled and at_work.queued else None
