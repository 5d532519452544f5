"""Clock, graph, selector, counters, gates and definitions: tables of cases."""

import math
from graphlib import CycleError
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from controller.domain.clock import RunClock
from controller.domain.counters import Tally, folded
from controller.domain.gates.judgement import Excepted, alpha_of, failures_allowed, is_breached, is_success, read
from controller.domain.graph import find_cycle, in_order
from controller.domain.model import StageRun, create, run_changed, stage_changed
from controller.domain.pipeline import Denominator, FailureLimit, Gate, Pipeline, Sequential, Stage, Targets, Trigger
from controller.domain.query import Described, matches
from controller.domain.selector import Exclusion, exclusion, formula_of, is_left_out, position
from controller.domain.states import RUN_TRANSITIONS, STAGE_TRANSITIONS, STOPS, RunState, StageState
from controller.domain.target import Delta, TargetState
from controller.domain.validation import validate
from controller.domain.window import Window
from protocol.ids import DeviceId, StageName
from protocol.units import Instant
from tests.controller.domain.kit import plan, stage

instants = st.integers(0, 2**53 - 1).map(Instant)


# --- clock ------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10_000))))
def test_run_time_is_the_time_in_which_the_clock_ran(spans: list[tuple[bool, int]]) -> None:
    clock, now, ran = RunClock(), 0, 0
    for runs, span in spans:
        clock = clock.started(Instant(now)) if runs else clock.stopped(Instant(now))
        now += span
        ran += span if runs else 0
    assert clock.run_time(Instant(now)) == ran


@given(instants, st.integers(0, 10_000))
def test_a_deadline_comes_when_run_time_reaches_it(now: Instant, due: int) -> None:
    clock = RunClock(base=50).started(now)
    wall = clock.wall(due)
    assert wall is not None
    assert clock.run_time(wall) == max(50, due)


def test_a_clock_that_jumps_back_adds_nothing_and_a_gap_is_left_out() -> None:
    clock = RunClock().started(Instant(1_000))
    assert clock.run_time(Instant(500)) == 0
    assert clock.started(Instant(9_999)) == clock
    assert clock.skipped(300).run_time(Instant(1_500)) == 200
    assert RunClock().skipped(300) == RunClock()


# --- graph ------------------------------------------------------------------------------------------------------

names = st.sampled_from("abcdef").map(StageName)
graphs = st.dictionaries(names, st.lists(names, max_size=3).map(tuple), min_size=1).map(
    lambda needs: {name: tuple(need for need in wanted if need in needs) for name, wanted in needs.items()}
)


@given(graphs)
def test_a_graph_has_a_circle_or_an_order(needs: dict[StageName, tuple[StageName, ...]]) -> None:
    circle = find_cycle(needs)
    if circle:
        assert circle[0] == circle[-1] == min(circle)
        assert all(after in needs[before] for before, after in pairwise(circle))
        with pytest.raises(CycleError):
            in_order(needs)
        return
    order = in_order(needs)
    assert sorted(order) == sorted(needs)
    assert all(order.index(need) < order.index(name) for name, wanted in needs.items() for need in wanted)


def test_a_stage_that_needs_itself_is_a_circle() -> None:
    name = StageName("a")
    assert find_cycle({name: (name,)}) == ("a", "a")


def test_approvals_are_of_a_stage_that_somebody_promotes() -> None:
    manual = Stage(name=StageName("a"), trigger=Trigger.MANUAL, approvals=1)
    assert validate(Pipeline(name="p", stages=(manual,))) == ()
    [fault] = validate(Pipeline(name="p", stages=(Stage(name=StageName("a"), approvals=1),)))
    assert fault.place == "stages[0].trigger.approvals"


# --- selector ---------------------------------------------------------------------------------------------------

EU = {"region": "eu"}
SELECTIONS = [
    (Targets(), {}, None),
    (Targets(labels=EU), EU, None),
    (Targets(labels=EU), {"region": "us"}, Exclusion.LABELS),
    (Targets(labels=EU), {}, Exclusion.LABELS),
    (Targets(devices=(DeviceId("d1"),)), {}, None),
    (Targets(devices=(DeviceId("d2"),)), {}, Exclusion.NOT_LISTED),
    (Targets(exclude=(DeviceId("d1"),)), {}, Exclusion.EXCLUDED),
    (Targets(percent=0), {}, Exclusion.PERCENT),
    (Targets(labels=EU, devices=(DeviceId("d1"),)), {"region": "us"}, Exclusion.LABELS),
    (Targets(query='labels.region == "eu"'), {"region": "eu"}, None),
    (Targets(query='labels.region == "eu"'), {}, Exclusion.QUERY),
    (Targets(groups=("us",)), {}, None),
    (Targets(groups=("apac", "us/nyc")), {}, None),
    (Targets(groups=("eu",)), {}, Exclusion.GROUPS),
    (Targets(groups=("us/ny",), query="true"), {}, Exclusion.GROUPS),
    (Targets(labels=EU, groups=("eu",), query="false"), {"region": "eu"}, Exclusion.GROUPS),
]


@pytest.mark.parametrize(("targets", "labels", "expected"), SELECTIONS)
def test_selection(targets: Targets, labels: dict[str, str], expected: Exclusion | None) -> None:
    described = Described(device="d1", labels=labels, groups=frozenset({"europe", "us/nyc"}))
    assert exclusion(targets, described, salt="s") is expected
    found = None if matches(formula_of(targets), described) else expected
    is_late = expected in {None, Exclusion.EXCLUDED, Exclusion.PERCENT}
    assert is_late or found is expected, "what the database looks up is the same"
    assert is_left_out(targets, DeviceId("d1"), salt="s") is (expected in {Exclusion.EXCLUDED, Exclusion.PERCENT})


@given(st.text(max_size=8), st.text(min_size=1, max_size=8).map(DeviceId), st.floats(0, 100), st.floats(0, 100))
def test_a_larger_share_contains_a_smaller_one(salt: str, device: DeviceId, one: float, other: float) -> None:
    low, high = sorted((one, other))
    is_in = exclusion(Targets(percent=low), Described(device=device), salt=salt) is None
    assert not is_in or exclusion(Targets(percent=high), Described(device=device), salt=salt) is None
    assert exclusion(Targets(percent=100), Described(device=device), salt=salt) is None
    assert 0 <= position(device, salt=salt) < 2**63


def test_a_share_is_about_its_part_of_the_fleet() -> None:
    chosen = [not is_left_out(Targets(percent=20), DeviceId(f"d{n}"), salt="s") for n in range(10_000)]
    assert 1_900 < sum(chosen) < 2_100


# --- counters ---------------------------------------------------------------------------------------------------

TALLY = Tally(
    queued=1, in_progress=2, succeeded=3, failed=4, rejected=5, timed_out=6, cancelled=7, removed=8, started=9
)


def test_denominators() -> None:
    assert TALLY.targets == 36
    assert {kind.value: TALLY.of(kind) for kind in Denominator} == {
        "targets": 16,
        "sent": 15,
        "started": 9,
        "finished": 13,
    }
    assert not TALLY.is_settled
    assert Tally(succeeded=3, failed=1).is_settled
    assert not Tally(in_progress=1).is_settled


@given(st.lists(st.sampled_from(TargetState), max_size=20))
def test_counters_are_conserved(path: list[TargetState]) -> None:
    places = [TargetState.QUEUED, *path]
    deltas = [Delta(before=a, after=b, started=1) for a, b in pairwise(places)]
    tally = folded(Tally(queued=3), deltas)
    assert (tally.targets, tally.started) == (3, len(path))
    assert getattr(tally, places[-1].value) >= 1


def test_a_counter_never_falls_below_zero() -> None:
    with pytest.raises(AssertionError, match="below zero"):
        folded(Tally(), [Delta(before=TargetState.QUEUED, after=TargetState.FAILED)])


# --- gates ------------------------------------------------------------------------------------------------------


def gated(gate: Gate, *others: Gate, alpha: float = 1.0) -> Pipeline:
    """Return a pipeline of stages with these gates; the first is looked at."""
    stages = tuple(stage(f"s{index}", gate=one) for index, one in enumerate((gate, *others)))
    return Pipeline(name="weekly", stages=stages, alpha_percent=alpha)


def limited(**limit: Any) -> Pipeline:
    return gated(Gate(sequential=None, failures=FailureLimit(**limit)))


ALLOWED = [
    (limited(count=3), Tally(queued=100), 3),
    (limited(count=0), Tally(started=100), 0),
    (limited(percent=5, min_sample=20), Tally(queued=100), 1),
    (limited(percent=5, min_sample=20), Tally(queued=60, succeeded=40, started=40), 2),
    (limited(percent=5, min_sample=20), Tally(queued=10), 0),
    (limited(percent=100), Tally(queued=10, started=4), 4),
    (limited(percent=0), Tally(started=1_000), 0),
    (limited(percent=0.1, of=Denominator.TARGETS), Tally(queued=3_000), 3),
    (limited(percent=29, of=Denominator.TARGETS), Tally(queued=100), 29),
    (limited(percent=50, of=Denominator.FINISHED), Tally(succeeded=2, failed=2, queued=9), 2),
    (gated(Gate()), Tally(exposed=2), 1),
    (gated(Gate()), Tally(exposed=49), 5),
    (gated(Gate()), Tally(exposed=396), 19),
    (gated(Gate(failures=FailureLimit(count=4))), Tally(exposed=49), 4),
    (gated(Gate(failures=FailureLimit(count=9))), Tally(exposed=49), 5),
    (gated(Gate(sequential=None)), Tally(exposed=49), None),
]


@pytest.mark.parametrize(("pipeline", "tally", "expected"), ALLOWED)
def test_failures_allowed(pipeline: Pipeline, tally: Tally, expected: int | None) -> None:
    assert failures_allowed(pipeline, 0, tally) == expected


def test_a_breach_is_one_failure_more_than_allowed_or_accepted() -> None:
    limit = limited(count=2)
    assert not is_breached(limit, 0, Tally(blamed=2), accepted=0)
    assert is_breached(limit, 0, Tally(blamed=3), accepted=0)
    assert not is_breached(limit, 0, Tally(blamed=3), accepted=3)
    assert is_breached(limit, 0, Tally(blamed=4), accepted=3)


@given(
    st.integers(1, 5_000).flatmap(lambda exposed: st.tuples(st.just(exposed), st.integers(0, exposed))),
    st.sampled_from(
        [
            Gate(),
            Gate(failures=FailureLimit(count=40)),
            Gate(sequential=None, failures=FailureLimit(percent=5)),
            Gate(sequential=Sequential(above=0.5)),
        ]
    ),
    st.just(0) | st.integers(0, 300),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_a_gate_breaches_on_the_failure_that_it_names(
    counts: tuple[int, int], gate: Gate, accepted: int, left_out: tuple[int, int]
) -> None:
    (exposed, blamed), (out_blamed, out_accepted) = counts, (max(left_out), min(*left_out, accepted))
    out = Tally(exposed=9, started=9, blamed=out_blamed)
    excepted = Excepted(tallies=(out,), accepted=out_accepted, share=0.5)
    pipeline = gated(gate, Gate())
    tally = Tally(exposed=exposed + 9, started=exposed + 9, succeeded=exposed + 9, blamed=blamed + out_blamed)
    allowed = failures_allowed(pipeline, 0, tally, excepted, accepted=accepted)
    assert allowed is not None
    assert read(pipeline, 0, tally, excepted, accepted=accepted).stops_on == max(0, allowed + 1)
    is_stopped = is_breached(pipeline, 0, tally, accepted=accepted, excepted=excepted)
    assert is_stopped is (blamed > allowed)


def test_the_stages_of_a_pipeline_share_its_alpha() -> None:
    half = Gate(sequential=Sequential(alpha_percent=0.5))
    assert alpha_of(gated(Gate()), 0) == pytest.approx(0.01)
    assert [alpha_of(gated(Gate(), Gate(sequential=None), half, Gate()), at) for at in (0, 2, 3)] == pytest.approx(
        [0.0025, 0.005, 0.0025]
    )
    assert failures_allowed(gated(Gate(), *[Gate()] * 9), 0, Tally(exposed=2)) == 2


@pytest.mark.parametrize(
    ("percent", "tally", "expected"),
    [
        (90, Tally(succeeded=9, failed=1), True),
        (90, Tally(succeeded=8, failed=1), False),
        (100, Tally(succeeded=1, rejected=9), True),
        (0, Tally(failed=1), True),
        (0, Tally(rejected=1), False),
    ],
)
def test_success_is_a_share_of_those_that_count(percent: float, tally: Tally, expected: bool) -> None:
    assert is_success(Gate(success_percent=percent), tally) is expected


def test_a_gate_reads_itself_out() -> None:
    tally = Tally(started=5, exposed=5, blamed=1)
    assert str(read(limited(count=1), 0, tally)) == "1 of 5 started failed; stops on failure 2"
    assert str(read(gated(Gate()), 0, tally)) == "1 of 5 started failed; stops on failure 3 (evidence 2.4 of 100)"
    assert str(read(gated(Gate(sequential=None)), 0, tally)) == "1 of 5 started failed"


def test_a_gate_shows_where_the_share_of_failures_lies() -> None:
    evidence = read(gated(Gate()), 0, Tally(exposed=50, blamed=6)).evidence
    assert evidence is not None
    assert evidence.low < 6 / 50 < evidence.high
    assert (evidence.threshold, evidence.above_percent, evidence.alpha_percent) == (100, 2, 1)
    everything = read(gated(Gate()), 0, Tally(exposed=100_000, blamed=100_000)).evidence
    assert everything is not None
    assert everything.value < math.inf


# --- tables and definitions -------------------------------------------------------------------------------------


def test_tables_are_total_and_verdicts_are_ends() -> None:
    assert set(RUN_TRANSITIONS) == set(RunState)
    assert set(STAGE_TRANSITIONS) == set(StageState)
    assert {state for state in StageState if state.is_verdict} == STOPS | {StageState.PASSED, StageState.SKIPPED}
    assert [state.is_terminal for state in RunState] == [False, False, False, True, True, True, True]


def test_a_state_outside_its_table_is_refused() -> None:
    run = create(plan(stage("a")))
    with pytest.raises(AssertionError, match="not in the table"):
        run_changed(run, state=RunState.SUCCEEDED)
    with pytest.raises(AssertionError, match="not in the table"):
        stage_changed(run, 0, state=StageState.PASSED)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("awaiting_promotion",), True),
        (("awaiting_promotion", "blocked", "passed"), True),
        (("awaiting_promotion", "rolling_out"), False),
        (("blocked",), False),
        (("passed",), False),
    ],
)
def test_a_run_waits_when_everything_open_awaits_a_person(states: tuple[str, ...], expected: bool) -> None:
    run = create(plan(stage("a")))
    stages = tuple(StageRun(state=StageState(state)) for state in states)
    assert run_changed(run, stages=stages).is_waiting is expected


ONE = FailureLimit(count=1)
FAULTS = [
    ((), ["stages"]),
    (tuple(stage(f"s{n}") for n in range(257)), ["stages"]),
    ((stage("a"), stage("a")), ["stages[1].name"]),
    ((stage("a", "x"),), ["stages[0].needs[0]"]),
    ((stage("a", "b"), stage("b", "a")), ["stages"]),
    ((stage("a", gate=Gate(failures=FailureLimit())),), ["stages[0].gate.failures"]),
    ((stage("a", gate=Gate(failures=FailureLimit(count=1, percent=1))),), ["stages[0].gate.failures"]),
    (
        (stage("a", targets=Targets(devices=(DeviceId("d"),), exclude=(DeviceId("e"), DeviceId("d")))),),
        ["stages[0].targets.exclude[1]"],
    ),
    ((stage("a", gate=Gate(failures=ONE)), stage("b", "a")), []),
]


@pytest.mark.parametrize(("stages", "places"), FAULTS)
def test_every_fault_of_a_definition_has_its_place(stages: Any, places: list[str]) -> None:
    assert [fault.place for fault in validate(Pipeline(name="p", stages=stages))] == places


ADMISSION_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"preconditions": "facts.battery >= 20"}, ""),
    ({"preconditions": "fakts.battery >= 20"}, "stages[0].preconditions"),
    ({"windows": (Window(begin=60, end=120), Window(begin=60, end=60))}, "stages[0].windows[1]"),
]


@pytest.mark.parametrize(("changes", "place"), ADMISSION_FAULTS)
def test_what_admission_asks_for_is_checked(changes: dict[str, Any], place: str) -> None:
    found = validate(Pipeline(name="weekly", stages=(stage("a", **changes),)))
    assert [fault.place for fault in found] == ([place] if place else [])
