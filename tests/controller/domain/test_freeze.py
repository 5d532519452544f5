"""A run in a freeze: nothing begins, what is at work finishes, and no time of the run is spent."""

from typing import Any

import pytest

from controller.domain import run as runs
from controller.domain.events import (
    CalendarChanged,
    Continue,
    Paused,
    Promoted,
    Recovered,
    Resumed,
    Suspend,
    Terminated,
    Woken,
)
from controller.domain.freeze import Freeze, in_force, next_change, next_start
from controller.domain.pipeline import FailureLimit, Gate, OnFailure, Pace, Stage, Timeouts, Trigger
from controller.domain.states import RunState, StageState
from protocol.units import HOUR, Instant
from tests.controller.domain.kit import World, at, plan, stage
from tests.controller.domain.test_run import fail, look, states, succeed

S = StageState
LENIENT = Gate(success_percent=0, failures=FailureLimit(count=99))
ONE = Pace(max_in_flight=1)


def span(start: int, end: int, name: str = "sale") -> Freeze:
    return Freeze(name=name, starts_at=at(start), ends_at=at(end), reason="sale week")


def begun(*stages: Stage, sizes: list[int], freezes: tuple[Freeze, ...] = (), **changes: Any) -> World:
    world = World(plan(*stages, **changes), sizes)
    world.run = runs.step(world.plan, world.run, CalendarChanged(at=world.now, freezes=freezes))[0]
    return world.start()


def change(world: World, *freezes: Freeze) -> None:
    world.happen(CalendarChanged(at=world.now, freezes=freezes))


def wakes(world: World) -> list[int | None]:
    """Return when the run wants to be looked at: by its own deadlines, and by the calendar."""
    times = (runs.next_deadline(world.plan, world.run), runs.next_freeze_change(world.run, world.now))
    return [None if time is None else time - at(0) for time in times]


def kinds(world: World) -> list[type]:
    return [type(effect) for effect in world.effects if isinstance(effect, Suspend | Continue)]


def test_nobody_is_released_in_a_freeze_and_everybody_after_it() -> None:
    world = begun(stage("a", pace=ONE), sizes=[3])
    look(world, 10)
    change(world, span(10, 500))
    succeed(world, 0, 0)

    assert (world.commands, wakes(world)) == (1, [None, 500])
    look(world, 499)
    assert world.commands == 1
    look(world, 500)
    assert world.commands == 2
    assert kinds(world) == [Suspend, Continue]
    assert [note.kind for note in world.notes] == ["started", "opened", "frozen", "thawed"]


def test_a_freeze_that_is_to_come_wakes_the_run() -> None:
    world = begun(stage("a", pace=ONE), sizes=[3], freezes=(span(100, 500),))
    assert (world.commands, wakes(world)[1]) == (1, 100)
    look(world, 100)
    assert world.run.freeze == span(100, 500)


def test_a_run_that_starts_in_a_freeze_waits_and_opens_no_stage() -> None:
    world = begun(stage("a"), sizes=[2], freezes=(span(0, 500),))
    assert (states(world), wakes(world)) == ([S.BLOCKED], [None, 500])
    look(world, 500)
    assert (states(world), world.commands) == ([S.ROLLING_OUT], 2)


def test_a_promotion_in_a_freeze_opens_the_stage_at_its_end() -> None:
    world = begun(stage("a", trigger=Trigger.MANUAL), sizes=[1])
    change(world, span(0, 500))
    world.happen(Promoted(at=world.now, stage=0))
    assert states(world) == [S.AWAITING_PROMOTION]
    look(world, 500)
    assert states(world) == [S.ROLLING_OUT]


def test_a_freeze_that_is_removed_lets_the_run_go_on_at_once() -> None:
    world = begun(stage("a"), sizes=[2], freezes=(span(0, 500),))
    look(world, 20)
    change(world)
    assert (world.commands, world.run.freeze, world.run.frozen_ms) == (2, None, 20)


def test_overlapping_freezes_are_one_that_ends_with_the_last() -> None:
    world = begun(stage("a"), sizes=[1], freezes=(span(0, 300, "one"), span(200, 500, "two")))
    look(world, 250)
    assert (world.run.freeze, wakes(world)[1]) == (span(200, 500, "two"), 300)
    look(world, 300)
    look(world, 500)
    assert (world.commands, kinds(world), world.run.frozen_ms) == (1, [Suspend, Continue], 500)


def test_a_freeze_that_follows_another_without_a_gap_lets_nobody_through() -> None:
    world = begun(stage("a"), sizes=[1], freezes=(span(0, 300, "one"), span(300, 500, "two")))
    look(world, 300)
    assert world.commands == 0


def test_time_in_a_freeze_counts_for_no_timeout() -> None:
    hurried = stage("a", gate=LENIENT, timeouts=Timeouts(stage_ms=1_000), pace=ONE)
    world = begun(hurried, sizes=[2], timeout_ms=1_500)
    look(world, 100)
    change(world, span(100, 9_000))
    look(world, 8_999)
    assert states(world) == [S.ROLLING_OUT]
    look(world, 9_000)
    assert wakes(world) == [9_900, None]
    look(world, 9_899)
    assert states(world) == [S.ROLLING_OUT]
    look(world, 9_900)
    assert states(world) != [S.ROLLING_OUT]


def test_the_timeout_of_a_run_is_put_off_by_its_freezes() -> None:
    world = begun(stage("a"), sizes=[1], freezes=(span(0, 5_000),), timeout_ms=1_000)
    look(world, 5_000)
    look(world, 5_999)
    assert states(world) == [S.ROLLING_OUT]
    look(world, 6_000)
    assert world.run.stages[0].state is S.TIMED_OUT


def test_a_stage_that_opened_after_a_freeze_has_its_whole_time() -> None:
    world = begun(stage("a", timeouts=Timeouts(stage_ms=1_000)), sizes=[1], freezes=(span(0, 5_000),), timeout_ms=HOUR)
    look(world, 5_000)
    assert wakes(world) == [6_000, None]


def test_a_soak_goes_on_in_a_freeze_and_what_follows_waits() -> None:
    world = begun(stage("a", gate=Gate(soak_ms=50)), stage("b", "a"), sizes=[1, 1])
    succeed(world, 0, 0)
    change(world, span(0, 500))
    assert wakes(world) == [50, 500]
    look(world, 50)
    assert states(world) == [S.PASSED, S.BLOCKED]


def test_a_stage_whose_devices_end_in_a_freeze_ends_too() -> None:
    world = begun(stage("a"), stage("b", "a"), sizes=[1, 1])
    change(world, span(0, 500))
    succeed(world, 0, 0)
    assert states(world) == [S.PASSED, S.BLOCKED]


def test_a_straggler_is_not_left_behind_for_a_freeze() -> None:
    gate = Gate(success_percent=50, straggler_after_ms=100)
    world = begun(stage("a", gate=gate), sizes=[2])
    succeed(world, 0, 0)
    change(world, span(0, 5_000))
    look(world, 4_999)
    assert states(world) == [S.ROLLING_OUT]
    look(world, 5_000)
    assert wakes(world)[0] == 5_100


def test_a_run_that_fails_in_a_freeze_is_in_none_any_more() -> None:
    world = begun(stage("a", gate=Gate(failures=FailureLimit(count=0))), sizes=[2])
    change(world, span(0, 500))
    fail(world, 0, 0)
    assert (world.run.is_stopped, world.run.freeze, wakes(world)[1]) == (True, None, None)
    look(world, 600)
    assert kinds(world) == [Suspend]


def test_a_run_that_is_terminated_in_a_freeze_is_in_none_any_more() -> None:
    world = begun(stage("a"), sizes=[2])
    change(world, span(0, 500))
    world.happen(Terminated(at=world.now, reason="enough"))
    assert (world.run.freeze, kinds(world)) == (None, [Suspend])


def test_a_run_that_ends_in_a_freeze_has_ended() -> None:
    world = begun(stage("a", gate=LENIENT, on_failure=OnFailure.CONTINUE), sizes=[1])
    change(world, span(0, 500))
    succeed(world, 0, 0)
    assert (world.run.state, world.run.freeze) == (RunState.SUCCEEDED, None)


@pytest.mark.parametrize("resumed_at", [200, 600])
def test_a_resume_lifts_no_freeze_and_the_end_of_a_freeze_no_pause(resumed_at: int) -> None:
    world = begun(stage("a", pace=ONE), sizes=[2])
    change(world, span(0, 500))
    world.happen(Paused(at=world.now, reason="operator:lunch"))
    assert wakes(world) == [None, None]
    world.now = at(resumed_at)
    world.happen(Woken(at=world.now))
    succeed(world, 0, 0)
    assert world.commands == 1
    world.happen(Resumed(at=world.now))
    assert world.commands == (1 if resumed_at < 500 else 2)
    look(world, 700)
    assert (world.commands, kinds(world)[:1]) == (2, [Suspend])


def test_a_clock_that_is_put_back_into_a_freeze_is_in_it_again() -> None:
    world = begun(stage("a", pace=ONE), sizes=[3], freezes=(span(0, 500),))
    look(world, 500)
    world.now = at(300)
    world.happen(Recovered(at=world.now, gap_ms=-200))
    succeed(world, 0, 0)
    assert (world.commands, wakes(world)) == (1, [None, 500])


def test_the_calendar_says_what_holds_and_what_comes_next() -> None:
    calendar = [span(10, 20, "a"), span(15, 30, "b"), span(40, 50, "c")]
    assert [in_force(calendar, at(time)) for time in (9, 10, 15, 29, 30)] == [
        None,
        calendar[0],
        calendar[1],
        calendar[1],
        None,
    ]
    assert [next_start(calendar, at(time)) for time in (0, 10, 40)] == [at(10), at(15), None]
    assert [next_change(calendar, at(time)) for time in (0, 20, 30, 50)] == [at(10), at(30), at(40), None]


def test_a_freeze_concerns_the_pipelines_that_it_names_or_all() -> None:
    some = Freeze(name="a", starts_at=Instant(0), ends_at=Instant(1), reason="r", pipelines=("shop",))
    assert (some.concerns("shop"), some.concerns("till"), span(0, 1).concerns("till")) == (True, False, True)
