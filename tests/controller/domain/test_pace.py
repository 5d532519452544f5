"""A stage with a rate: what it promises, whatever happens, and how near to the rate it comes."""

from collections.abc import Sequence
from itertools import accumulate

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from controller.domain import pace
from controller.domain import run as runs
from controller.domain.events import (
    Event,
    Folded,
    Frozen,
    Issued,
    Paused,
    Recovered,
    Release,
    Resumed,
    Started,
    Terminated,
    Woken,
)
from controller.domain.model import Run, create
from controller.domain.pipeline import FailureLimit, Gate, Growth, Pace
from controller.domain.target import Delta, TargetState
from controller.domain.validation import validate
from protocol.units import DAY, HOUR, MINUTE, SECOND, Instant
from tests.controller.domain.kit import START, at, plan, stage

MANY = 10_000_000
GROWING = Growth(start=7, factor=1.5, every=5, max=40)
RELEASED = Delta(before=TargetState.QUEUED, after=TargetState.IN_PROGRESS)
SUCCEEDED = Delta(before=TargetState.IN_PROGRESS, after=TargetState.SUCCEEDED)


class Line:
    """A stage before which any number of devices queue; all that go are counted with their run time."""

    def __init__(self, rate: int | Growth | None, *, targets: int = MANY, max_in_flight: int = MANY) -> None:
        pacing = Pace(max_in_flight=max_in_flight, per_minute=rate)
        gate = Gate(success_percent=0, failures=FailureLimit(count=MANY))
        self.plan = plan(stage("a", pace=pacing, gate=gate), timeout_ms=400 * DAY)
        self.run = create(self.plan)
        self.now = START
        self.gone: list[tuple[int, int, int]] = []
        """(run time, how many went, the rate then)"""
        self.ready = MANY
        self.happen(Started(at=self.now))
        self.happen(Frozen(at=self.now, stage=0, targets=targets))

    @property
    def run_time(self) -> int:
        return self.run.clock.run_time(self.now)

    def happen(self, event: Event) -> None:
        self.run, effects = runs.step(self.plan, self.run, event)
        counts = [min(effect.count, self.ready) for effect in effects if isinstance(effect, Release)]
        if counts:
            self.go(counts[0])

    def go(self, count: int) -> None:
        rate = pace.per_minute(self.plan.pipeline.stages[0].pace, succeeded=self.run.stages[0].tally.succeeded)
        self.gone += [(self.run_time, count, rate or MANY)] if count else []
        issued = Issued(at=self.now, deltas={0: (RELEASED,) * count})
        self.run, _ = runs.step(self.plan, self.run, issued)

    def look_after(self, span_ms: int) -> None:
        self.now = Instant(self.now + span_ms)
        self.happen(Woken(at=self.now))

    def succeed(self, count: int) -> None:
        some = min(count, self.run.stages[0].tally.in_progress)
        self.happen(Folded(at=self.now, deltas={0: (SUCCEEDED,) * some}))

    def restart(self) -> None:
        self.run = msgspec.json.decode(msgspec.json.encode(self.run), type=Run)

    def follow_deadlines(self, span_ms: int) -> None:
        """Look when the run wants to be looked at, and at no other time, for so long."""
        end = Instant(self.now + span_ms)
        while (wake := runs.next_deadline(self.plan, self.run)) is not None and wake <= end:
            assert wake > self.now, "the run would be woken again and again"
            self.now = wake
            self.happen(Woken(at=wake))
        self.now = end


def require_kept(gone: Sequence[tuple[int, int, int]]) -> None:
    """Count every 60 s that end with a release; only those can have the most of all."""
    sums = [0, *accumulate(count for _, count, _ in gone)]
    first = 0
    for last, (now, _, rate) in enumerate(gone):
        while gone[first][0] <= now - MINUTE:
            first += 1
        went = sums[last + 1] - sums[first]
        assert went <= rate, f"{went} devices went in the 60 s up to {now}, at most {rate} may"


spans = st.one_of(
    st.integers(0, 3 * SECOND),
    st.sampled_from([1, 999, SECOND, 8_571, 8_572, MINUTE - 1, MINUTE, MINUTE + 1, HOUR, DAY]),
)
rates = st.one_of(
    st.sampled_from([1, 2, 7, 59, 60, 61, 119, 120, 121, 1_000]),
    st.just(GROWING),
    st.builds(
        Growth, start=st.integers(1, 50), factor=st.floats(1.01, 9), every=st.integers(1, 9), max=st.integers(50, 500)
    ),
)
acts = st.lists(
    st.tuples(st.sampled_from(["look", "look", "pause", "resume", "succeed", "restart", "gap", "ready"]), spans),
    max_size=60,
)


def act(line: Line, name: str, span_ms: int) -> None:
    match name:
        case "look":
            line.look_after(span_ms)
        case "pause":
            line.happen(Paused(at=line.now, reason="operator:wait"))
        case "resume":
            line.happen(Resumed(at=line.now))
        case "succeed":
            line.succeed(span_ms % 20)
        case "restart":
            line.restart()
        case "gap":
            line.now = Instant(line.now + span_ms)
            line.happen(Recovered(at=line.now, gap_ms=span_ms))
        case _:
            line.ready = span_ms % 5


@given(rates, acts)
def test_in_any_minute_of_run_time_at_most_so_many_go(rate: int | Growth, done: list[tuple[str, int]]) -> None:
    line = Line(rate)
    for name, span_ms in done:
        act(line, name, span_ms)
    line.ready = MANY
    line.happen(Resumed(at=line.now))
    line.follow_deadlines(2 * MINUTE)
    require_kept(line.gone)


@pytest.mark.parametrize("rate", [1, 7, 60, 61, 90, 119, 1_000, 100_000])
def test_the_rate_is_used_but_for_the_price_of_being_exact(rate: int) -> None:
    line = Line(rate)
    line.follow_deadlines(10 * MINUTE)

    require_kept(line.gone)
    went = sum(count for _, count, _ in line.gone)
    price = pace.group_max(rate) - 1
    assert 10 * (rate - price) * 0.999 <= went <= 10 * rate + 1
    assert price * 60 < rate


def test_a_pause_is_followed_by_no_burst() -> None:
    line = Line(7)
    line.follow_deadlines(20 * SECOND)
    went = len(line.gone)
    line.happen(Paused(at=line.now, reason="operator:lunch"))
    line.now = Instant(line.now + DAY)
    line.happen(Resumed(at=line.now))
    line.follow_deadlines(20 * SECOND)

    assert (went, len(line.gone)) == (3, 5)
    require_kept(line.gone)


def test_a_stage_that_had_nobody_to_release_saves_nothing_up() -> None:
    line = Line(7)
    line.ready = 0
    line.look_after(HOUR)
    line.ready = MANY
    line.look_after(1)

    assert [count for _, count, _ in line.gone] == [1, 1]


def test_the_rate_grows_with_success_and_not_beyond_its_limit() -> None:
    growth = Growth(start=10, factor=2, every=100, max=1_000)
    rates = {count: pace.present(growth, succeeded=count) for count in (0, 99, 100, 350, 699, 700, 10**12)}
    assert rates == {0: 10, 99: 10, 100: 20, 350: 80, 699: 640, 700: 1_000, 10**12: 1_000}


def test_the_next_release_is_a_deadline_only_while_somebody_could_go() -> None:
    line = Line(60, max_in_flight=1)
    assert runs.next_deadline(line.plan, line.run) == at(7 * DAY)
    line.succeed(1)
    assert runs.next_deadline(line.plan, line.run) == at(SECOND)


def test_a_run_whose_ready_devices_are_gone_is_not_woken_by_its_rate() -> None:
    line = Line(60)
    line.ready = 0
    line.look_after(SECOND)
    assert runs.next_deadline(line.plan, line.run) == at(7 * DAY)


def test_a_stage_without_a_rate_is_not_slowed_down() -> None:
    line = Line(None, targets=500)
    assert [count for _, count, _ in line.gone] == [500]
    assert line.run.stages[0].paced_until is None


def test_a_run_that_is_called_back_waits_for_no_rate() -> None:
    line = Line(1, targets=5)
    line.run, _ = runs.step(line.plan, line.run, Terminated(at=line.now, reason="enough"))
    assert runs.next_deadline(line.plan, line.run) is None


def test_a_rate_that_begins_above_its_limit_is_a_fault() -> None:
    wrong = Growth(start=11, factor=2, every=1, max=10)
    faults = validate(plan(stage("a", pace=Pace(per_minute=wrong))).pipeline)
    assert [fault.place for fault in faults] == ["stages[0].pace.per_minute.start"]
