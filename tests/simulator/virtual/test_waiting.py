"""Whoever may begin in a healed world and does not is found; whoever something keeps is left alone."""

from collections.abc import Sequence
from typing import Final

import pytest
from msgspec.structs import replace

from controller.app.records import JobRecord
from controller.domain.freeze import Freeze
from controller.domain.model import StageRun, create
from controller.domain.pipeline import Pace
from controller.domain.states import RunState, StageState
from controller.domain.target import TargetState
from protocol.units import MINUTE
from simulator.virtual.picture import Picture
from simulator.virtual.waiting import LOOKS_MAX, Waiting
from tests.controller.store import samples

JOB: Final = JobRecord(name="shop", pipeline="weekly", operation=samples.operation(), created_at=samples.NOW)
AT_WORK: Final = StageRun(state=StageState.ROLLING_OUT, is_frozen=True)
FREEZE: Final = Freeze(name="sale", starts_at=samples.NOW, ends_at=samples.at(MINUTE), reason="sale week")
SLOW: Final = Pace(per_minute=1)


def found(
    *, after_ms: int, pauses: tuple[str, ...] = (), calendar: Sequence[Freeze] = (), pace: Pace | None = None
) -> list[str]:
    """Return what the first look too many finds so long after a device ended; another is there, idle and queued."""
    wanted = samples.plan(1)
    stage = replace(wanted.pipeline.stages[0], pace=pace or Pace())
    wanted = replace(wanted, pipeline=replace(wanted.pipeline, stages=(stage,)))
    state = replace(create(wanted, pause_reasons=pauses), state=RunState.RUNNING, stages=(AT_WORK,))
    run = replace(samples.run(JOB, stage_count=1), id=1, stage_ids=(1,), plan=wanted, run=state)
    rows = [samples.target(run, 0, 1), samples.target(run, 1, 2, state=TargetState.SUCCEEDED)]
    now, devices = samples.at(after_ms), {id_: samples.device(id_, id=id_) for id_ in (1, 2)}
    picture = Picture(true_now=lambda: now, wall_now=lambda: now, devices=devices, session=lambda _name: (1, 1))
    picture.targets, picture.runs, picture.present = {row.id: row for row in rows}, {1: run}, {1: 1}
    picture.calendar = {freeze.name: freeze for freeze in calendar}
    waiting = Waiting(picture)
    looks = [list(waiting.look([run])) for _ in range(LOOKS_MAX + 1)]
    assert not any(looks[:-1])
    return looks[-1]


def test_who_waits_for_nothing_is_found() -> None:
    complaints = ["acme:kiosk-0001 waits in stage 0 of run r1, and nothing keeps it"]
    assert found(after_ms=0) == complaints
    assert found(after_ms=MINUTE, calendar=[FREEZE]) == complaints
    assert found(after_ms=MINUTE, pace=SLOW) == complaints


@pytest.mark.parametrize("pipelines", [(), ("weekly",)])
def test_who_waits_for_the_end_of_a_freeze_is_left_alone(pipelines: tuple[str, ...]) -> None:
    assert found(after_ms=MINUTE - 1, calendar=[replace(FREEZE, pipelines=pipelines)]) == []


def test_a_freeze_of_another_pipeline_keeps_nobody() -> None:
    assert found(after_ms=MINUTE - 1, calendar=[replace(FREEZE, pipelines=("nightly",))]) != []


def test_who_waits_for_a_rate_or_a_person_is_left_alone() -> None:
    assert found(after_ms=MINUTE - 1, pace=SLOW) == []
    assert found(after_ms=0, pauses=("operator",)) == []
