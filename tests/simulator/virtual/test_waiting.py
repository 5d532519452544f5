"""Whoever may begin in a healed world and does not is found; whoever something keeps is left alone."""

from typing import Final

import pytest
from msgspec.structs import replace

from controller.app.records import JobRecord
from controller.domain.clock import RunClock
from controller.domain.freeze import Freeze
from controller.domain.model import Run, StageRun, create
from controller.domain.states import RunState, StageState
from protocol.units import MINUTE
from simulator.virtual.picture import Picture
from simulator.virtual.waiting import LOOKS_MAX, Waiting
from tests.controller.store import samples

JOB: Final = JobRecord(name="shop", pipeline="weekly", operation=samples.operation(), created_at=samples.NOW)
AT_WORK: Final = StageRun(state=StageState.ROLLING_OUT, is_frozen=True)
PACED: Final = replace(AT_WORK, paced_until=MINUTE)
FREEZE: Final = Freeze(name="sale", starts_at=samples.NOW, ends_at=samples.at(MINUTE), reason="sale week")
GOING: Final = replace(
    create(samples.plan(1)), state=RunState.RUNNING, stages=(AT_WORK,), clock=RunClock().started(samples.NOW)
)


def found(state: Run, *, after_ms: int) -> list[str]:
    """Return what is found at the first look too many, so long after the beginning; d1 is there and idle."""
    run = replace(samples.run(JOB, stage_count=1), id=1, stage_ids=(1,), run=state)
    row, now = samples.target(run, 0, 1), samples.at(after_ms)
    picture = Picture(true_now=lambda: now, wall_now=lambda: now, devices={1: samples.device(1, id=1)})
    picture.targets, picture.runs, picture.present = {row.id: row}, {1: run}, {1: 1}
    picture.session = lambda _name: (1, 1)
    waiting = Waiting(picture)
    looks = [list(waiting.look([run])) for _ in range(LOOKS_MAX + 1)]
    assert not any(looks[:-1])
    return looks[-1]


@pytest.mark.parametrize(
    "state",
    [GOING, replace(GOING, freezes=(FREEZE,)), replace(GOING, stages=(PACED,))],
    ids=["nothing", "a freeze that is over", "a rate that has let go"],
)
def test_who_waits_for_nothing_is_found(state: Run) -> None:
    assert found(state, after_ms=MINUTE) == ["acme:kiosk-0001 waits in stage 0 of run r1, and nothing keeps it"]


@pytest.mark.parametrize(
    "state",
    [
        replace(GOING, pause_reasons=("operator",)),
        replace(GOING, freezes=(FREEZE,), freeze=FREEZE),
        replace(GOING, stages=(PACED,)),
    ],
    ids=["a pause", "a freeze", "a rate"],
)
def test_who_is_kept_is_left_alone(state: Run) -> None:
    assert found(state, after_ms=MINUTE - 1) == []
