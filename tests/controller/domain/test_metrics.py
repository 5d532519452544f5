"""Numbers beside those of devices that are held back: what is counted, and what comes of a breach."""

from bisect import bisect_left
from functools import lru_cache
from math import exp, log
from statistics import mean
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from controller.domain import metrics
from controller.domain.control import ControlRun
from controller.domain.events import Folded, Note, Paused, Resumed, Skipped, Terminated
from controller.domain.gates import judgement, odds, sign
from controller.domain.gates.exact import run
from controller.domain.metrics import NOTHING_KNOWN, MetricRun, Pair, accepted, breached, counted, is_breached
from controller.domain.pipeline import METRICS_MAX, Control, Gate, Metric, OnBreach, Pace, Sequential, Worse
from controller.domain.settle import crashes_of, metric_of
from controller.domain.states import RunState, StageState
from controller.domain.validation import validate
from protocol.ids import StageName
from protocol.outputs import Outputs
from protocol.units import HOUR, MINUTE
from tests.controller.domain.kit import World, plan, stage
from tests.controller.domain.test_run import look, succeed

SCAN, FREE = Metric(name="scan_ms"), Metric(name="free_mb", worse=Worse.LOWER)
NUMBERS = st.dictionaries(st.sampled_from(["scan_ms", "free_mb", "other"]), st.integers(-3, 3).map(float))
PAIRS = st.lists(st.builds(Pair, updated=NUMBERS, control=NUMBERS), max_size=30)
ALPHAS = (0.0005, 0.0025, 0.01, 0.05, 0.3)
PAUSED_BY_SCAN = metric_of(StageName("a"), "scan_ms")


def pair(updated: float, control: float, name: str = "scan_ms") -> Pair:
    return Pair(updated={name: updated}, control={name: control})


WORSE, BETTER = pair(2, 1), pair(1, 2)


# --- what is counted ---


@given(PAIRS, st.data())
def test_counting_pair_by_pair_is_as_good_as_from_scratch(pairs: list[Pair], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(pairs)))
    known = counted(counted({}, pairs[:cut], [SCAN, FREE]), pairs[cut:], [SCAN, FREE])
    for metric, turn in ((SCAN, 1), (FREE, -1)):
        both = [one for one in pairs if metric.name in one.updated and metric.name in one.control]
        numbers = [(turn * one.updated[metric.name], turn * one.control[metric.name]) for one in both]
        evidence = sign.START
        for updated, control in numbers:
            evidence = sign.after_pair(evidence, treated=updated, control=control)
        found = known.get(metric.name, NOTHING_KNOWN)
        assert found.evidence == evidence
        assert found.pairs == len(both)
        assert found.worse == sum(updated > control for updated, control in numbers)
        assert found.equal == sum(updated == control for updated, control in numbers)
    assert "other" not in known
    assert msgspec.json.decode(msgspec.json.encode(known), type=dict[str, MetricRun]) == known


@given(PAIRS)
def test_metrics_do_not_disturb_one_another(pairs: list[Pair]) -> None:
    both = counted({}, pairs, [SCAN, FREE])
    assert both == {**counted({}, pairs, [SCAN]), **counted({}, pairs, [FREE])}
    assert counted({}, pairs, [FREE, SCAN]) == both


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_matter_once_all_are_counted(pairs: list[Pair], chance: Any) -> None:
    first = counted({}, pairs, [SCAN]).get("scan_ms", NOTHING_KNOWN)
    second = counted({}, chance.sample(pairs, len(pairs)), [SCAN]).get("scan_ms", NOTHING_KNOWN)
    assert (first.pairs, first.worse, first.equal) == (second.pairs, second.worse, second.equal)
    assert first.evidence.log == pytest.approx(second.evidence.log)


def test_a_metric_counts_only_where_both_of_a_pair_told_it() -> None:
    known = counted({}, [pair(3, 1), Pair(updated={"scan_ms": 3.0}, control={"free_mb": 1.0})], [SCAN, FREE])
    assert (known["scan_ms"].pairs, known["scan_ms"].worse) == (1, 1)
    assert "free_mb" not in known


def test_of_a_metric_whose_lower_number_is_worse_the_lower_one_counts() -> None:
    pairs = [pair(1, 2, "free_mb"), pair(-5, 0, "free_mb"), pair(9, 3, "free_mb"), pair(4, 4, "free_mb")]
    known = counted({}, pairs, [FREE])["free_mb"]
    assert (known.pairs, known.worse, known.equal) == (4, 2, 1)


def test_a_breach_needs_evidence_and_more_worse_ones_than_were_accepted() -> None:
    nine, ten = (counted({}, [WORSE] * count, [SCAN])["scan_ms"] for count in (9, 10))
    assert (is_breached(nine, alpha=0.01), is_breached(ten, alpha=0.01)) == (False, True)
    gone_on = accepted(ten)
    assert not is_breached(gone_on, alpha=0.01)
    again = counted({"scan_ms": gone_on}, [BETTER, pair(1, 1)], [SCAN])["scan_ms"]
    assert not is_breached(again, alpha=0.5)
    assert is_breached(counted({"scan_ms": gone_on}, [WORSE], [SCAN])["scan_ms"], alpha=0.01)


def test_a_breach_keeps_what_was_known() -> None:
    known = breached(counted({}, [WORSE] * 10, [SCAN])["scan_ms"], alpha=0.01, now=77)
    assert known.breach is not None
    assert (known.breach.at, known.breach.pairs, known.breach.worse) == (77, 10, 10)
    assert known.breach.evidence == metrics.said(known, alpha=0.01)
    assert counted({"scan_ms": known}, [WORSE], [SCAN])["scan_ms"].breach == known.breach


def test_evidence_of_any_size_is_shown() -> None:
    known = counted({}, [WORSE] * 5_000, [SCAN])["scan_ms"]
    assert metrics.said(known, alpha=0.01).endswith("evidence over 1,000,000 of 100")


# --- a build that is no worse ---


def log_evidence(worse: int, better: int) -> float:
    """Return the evidence of so many pairs, by its definition."""
    likelihoods = [worse * log(2 * one / (1 + one)) + better * log(2 / (1 + one)) for one in sign.GRID]
    top = max(likelihoods)
    return top + log(mean(exp(one - top) for one in likelihoods))


def stops_on(pairs: int, *, alpha: float) -> int:
    """Return how many of so many pairs must be worse for a stop; one more than there are: none is enough."""
    levels = range(pairs + 1)
    return bisect_left(levels, odds.threshold(alpha), key=lambda worse: log_evidence(worse, pairs - worse))


@pytest.mark.parametrize("alpha", ALPHAS)
def test_a_build_that_is_no_worse_is_ever_stopped_with_a_probability_of_at_most_alpha(alpha: float) -> None:
    def boundary(pairs: int) -> int:
        return stops_on(pairs, alpha=alpha)

    edge = run(boundary, rate=0.5, devices=1_500)
    better = run(boundary, rate=0.45, devices=1_500)
    assert 0.3 * alpha < edge.stopped + edge.lost <= alpha
    assert better.stopped < edge.stopped
    assert run(boundary, rate=0.75, devices=400).stopped > 0.99


@pytest.mark.parametrize("alpha", ALPHAS)
def test_what_stops_is_what_the_definition_says(alpha: float) -> None:
    for better in (0, 3, 20):
        known = counted({}, [BETTER] * better, [SCAN])
        worse = 0
        while not is_breached(known.get("scan_ms", NOTHING_KNOWN), alpha=alpha):
            known, worse = counted(known, [WORSE], [SCAN]), worse + 1
        assert worse == next(n for n in range(1, 500) if stops_on(n + better, alpha=alpha) <= n)


@given(
    st.lists(st.tuples(st.integers(-2, 9), st.integers(-2, 9)), max_size=9),
    st.sampled_from([0.45, 0.3, 0.1, 0.05]),
)
def test_whatever_devices_tell_it_rarely_stops_a_build_if_each_may_as_well_have_been_the_other(
    numbers: list[tuple[int, int]], alpha: float
) -> None:
    """All ways to say which of each pair was updated are equally likely then: they are counted one by one."""
    pairs = tuple(numbers)

    @lru_cache(None)
    def share(place: int, known: MetricRun) -> float:
        """Return in which share of the ways to go on from a place it is stopped."""
        if is_breached(known, alpha=alpha):
            return 1.0
        if place == len(pairs):
            return 0.0
        one, other = pairs[place]
        ways = [counted({"scan_ms": known}, [pair(*way)], [SCAN])["scan_ms"] for way in ((one, other), (other, one))]
        return mean(share(place + 1, way) for way in ways)

    assert share(0, NOTHING_KNOWN) <= alpha


# --- a stage ---


def gate(*rules: Metric, **changes: Any) -> Gate:
    return Gate(
        soak_ms=20_000, success_percent=50, control=Control(share_percent=50, metrics=rules or (SCAN,)), **changes
    )


def watched(rules: Gate, *, size: int = 60) -> World:
    """Return a stage that soaks: half of its devices are held back, the first ones, and all watch."""
    world = World(plan(stage("a", gate=rules, pace=Pace(max_in_flight=size))), [size], [["k1"] * size]).start()
    succeed(world, 0, *range(size))
    assert world.state(0) is StageState.SOAKING
    return world


def tell(world: World, *held: int, **updated: float) -> None:
    """Let the next device that is held back tell 10 of everything, and the next updated one what is given."""
    place = next(i for i, one in enumerate(world.devices[0]) if one.is_control and one.measured_at is None)
    numbers: Outputs = dict.fromkeys(updated, 10)
    world.measure(0, {place: numbers})
    half = len(world.devices[0]) // 2
    world.measure(0, {half + place: updated})


def tell_until(world: World, reason: str, **updated: float) -> int:
    """Let pairs tell until the run is held for a reason; return how many did."""
    for count in range(1, len(world.devices[0]) // 2 + 1):
        tell(world, **updated)
        if reason in world.run.pause_reasons:
            return count
    raise AssertionError("nothing held the run")


def group_of(world: World) -> ControlRun:
    found = world.run.stages[0].control
    assert found is not None
    return found


def test_updated_devices_whose_numbers_are_worse_fail_their_stage() -> None:
    world = watched(gate())
    while world.state(0) is StageState.SOAKING:
        tell(world, scan_ms=11)
    known = group_of(world).metrics["scan_ms"]
    assert known.breach is not None
    assert known.pairs == known.worse == known.breach.worse
    assert 10 <= known.pairs <= 13
    said = f"scan_ms: worse on {known.worse} of {known.worse} updated devices, each beside one held back; evidence "
    assert world.run.stages[0].reason.startswith(said)
    assert (world.run.state, world.run.stages[0].tally.blamed) == (RunState.FAILED, 0)
    assert (group_of(world).updated.measured, group_of(world).control.measured) == (known.pairs, known.pairs)


def test_numbers_that_differ_either_way_stop_nothing() -> None:
    world = watched(gate(SCAN, FREE))
    for value in (9, 11) * 12:
        tell(world, scan_ms=value, free_mb=value)
    tell(world, scan_ms=10, free_mb=10)
    assert [(one.pairs, one.worse, one.equal) for one in group_of(world).metrics.values()] == [(25, 12, 1)] * 2
    look(world, 20_000)
    assert world.state(0) is StageState.PASSED
    assert len(group_of(world).metrics) == 2


def test_who_finds_no_partner_is_compared_with_nobody() -> None:
    world = watched(gate(), size=4)
    world.measure(0, {2: {"scan_ms": 11}})
    world.measure(0, {0: {"scan_ms": 10}, 1: {"scan_ms": 10}})
    assert (group_of(world).metrics, group_of(world).updated.measured) == ({}, 1)
    world.measure(0, {2: {"scan_ms": 11}, 3: {"scan_ms": 11}})
    assert group_of(world).metrics["scan_ms"].pairs == 1
    assert [one.is_paired for one in world.devices[0]] == [True, False, False, True]


def test_a_breach_may_pause_and_resuming_accepts_it() -> None:
    world = watched(gate(on_breach=OnBreach.PAUSE))
    count = tell_until(world, PAUSED_BY_SCAN, scan_ms=11)
    assert [(note.kind, note.text) for note in world.notes if note.kind == "paused"] == [("paused", PAUSED_BY_SCAN)]
    first = group_of(world).metrics["scan_ms"].breach
    tell(world, scan_ms=11)
    assert group_of(world).metrics["scan_ms"].breach == first
    world.happen(Resumed(at=world.now))
    assert (world.run.is_paused, group_of(world).metrics["scan_ms"].accepted) == (False, count + 1)
    tell(world, scan_ms=10)
    assert not world.run.is_paused
    tell(world, scan_ms=11)
    assert world.run.pause_reasons == (PAUSED_BY_SCAN,)
    assert group_of(world).metrics["scan_ms"].breach != first


def test_resuming_accepts_what_held_the_run_alone() -> None:
    world = watched(gate(SCAN, FREE, on_breach=OnBreach.PAUSE))
    tell(world, free_mb=9)
    world.happen(Paused(at=world.now, reason="operator"))
    world.happen(Resumed(at=world.now))
    assert group_of(world).metrics["free_mb"].accepted == 0
    tell_until(world, PAUSED_BY_SCAN, scan_ms=11)
    world.happen(Resumed(at=world.now))
    assert (group_of(world).metrics["free_mb"].accepted, group_of(world).accepted) == (0, 0)


def test_two_metrics_that_breach_at_once_are_two_reasons_and_one_resumption_accepts_both() -> None:
    world = watched(gate(SCAN, FREE, on_breach=OnBreach.PAUSE))
    tell_until(world, PAUSED_BY_SCAN, scan_ms=11, free_mb=9)
    assert world.run.pause_reasons == (PAUSED_BY_SCAN, metric_of(StageName("a"), "free_mb"))
    world.happen(Resumed(at=world.now))
    assert not world.run.is_paused
    assert {one.accepted for one in group_of(world).metrics.values()} == {group_of(world).metrics["scan_ms"].worse}


def test_two_metrics_that_breach_at_once_fail_a_stage_once() -> None:
    world = watched(gate(SCAN, FREE))
    while world.state(0) is StageState.SOAKING:
        tell(world, scan_ms=11, free_mb=9)
    assert world.run.stages[0].reason.startswith("scan_ms: ")
    assert group_of(world).metrics["free_mb"].breach is None


def test_a_breach_while_the_run_is_paused_is_one_more_reason_to_hold_it() -> None:
    world = watched(gate(on_breach=OnBreach.PAUSE))
    world.happen(Paused(at=world.now, reason="operator"))
    tell_until(world, PAUSED_BY_SCAN, scan_ms=11)
    assert world.run.pause_reasons == ("operator", PAUSED_BY_SCAN)


def test_a_breach_may_only_be_told_once_of_each_metric() -> None:
    world = watched(gate(SCAN, FREE, on_breach=OnBreach.ALERT))
    for _ in range(20):
        tell(world, scan_ms=11, free_mb=9)
    told = [note for note in world.notes if note.kind == "metric"]
    assert [(note.stage, note.text) for note in told] == [("a", "scan_ms"), ("a", "free_mb")]
    assert all(note.evidence.startswith("worse on ") for note in told)
    look(world, 20_000)
    assert world.state(0) is StageState.PASSED


def test_skipping_a_stage_ends_the_hold() -> None:
    world = watched(gate(on_breach=OnBreach.PAUSE))
    tell_until(world, PAUSED_BY_SCAN, scan_ms=11)
    world.happen(Skipped(at=world.now, stage=0, reason="not this one"))
    assert (world.state(0), world.run.is_paused) == (StageState.SKIPPED, False)


def test_crashes_and_metrics_are_reasons_of_their_own() -> None:
    assert crashes_of(StageName("a")) != PAUSED_BY_SCAN


def test_after_the_end_numbers_count_and_change_nothing_else() -> None:
    world = watched(gate())
    world.happen(Terminated(at=world.now, reason="enough"))
    before = world.run
    assert before.state is RunState.TERMINATED
    for _ in range(20):
        tell(world, scan_ms=11)
    assert (group_of(world).metrics["scan_ms"].worse, group_of(world).metrics["scan_ms"].breach) == (20, None)
    assert [one.state for one in world.run.stages] == [one.state for one in before.stages]


def test_once_the_control_group_is_discharged_nothing_is_compared() -> None:
    world = watched(gate(), size=40)
    world.measure(0, {place: {"scan_ms": 10} for place in range(20)})
    look(world, 20_000)
    assert world.state(0) is StageState.PASSED
    world.measure(0, {place: {"scan_ms": 11} for place in range(40)})
    assert group_of(world).metrics == {}


def test_pairs_are_of_a_stage_that_compares() -> None:
    found = {0: (WORSE,)}
    plain = World(plan(stage("a")), [2]).start()
    with pytest.raises(AssertionError, match="in a stage that compares them"):
        plain.happen(Folded(at=plain.now, deltas={}, pairs=found))
    alone = World(plan(stage("a", gate=gate())), [1]).start()
    with pytest.raises(AssertionError, match="once the membership is known"):
        alone.happen(Folded(at=alone.now, deltas={}, pairs=found))


def test_devices_are_asked_late_in_their_soak_where_something_is_compared_and_those_held_back_more_often() -> None:
    assert (gate().measure_ms, gate().remeasure_ms) == (18_000, 5_000)
    hours = msgspec.structs.replace(gate(), soak_ms=int(2 * HOUR))
    assert (hours.measure_ms, hours.remeasure_ms) == (108 * MINUTE, 18 * MINUTE)
    for other in (msgspec.structs.replace(gate(), control=Control()), Gate(soak_ms=20_000)):
        assert (other.measure_ms, other.remeasure_ms) == (0, 0)


@pytest.mark.parametrize("share", [50, 10])
def test_a_stage_that_holds_back_too_few_says_for_which_metrics(share: int) -> None:
    rules = gate(SCAN, FREE)
    assert rules.control is not None
    rules = msgspec.structs.replace(rules, control=msgspec.structs.replace(rules.control, share_percent=share))
    world = World(plan(stage("a", gate=rules, pace=Pace(max_in_flight=60))), [60], [["k1"] * 60]).start()
    notes = [effect.text for effect in world.effects if isinstance(effect, Note) and effect.kind == "few_held_back"]
    few = [
        f"{name}: it takes 13 pairs at least to stop, and 6 devices are held back" for name in ("scan_ms", "free_mb")
    ]
    assert notes == ([] if share == 50 else few)


# --- what is wrong with a definition ---


@pytest.mark.parametrize(
    ("rules", "soak_ms", "place", "found"),
    [
        ((SCAN,), 9_999, "", "metrics need a soak of at least 10s: devices tell them late in it"),
        ((SCAN, FREE, Metric(name="scan_ms", worse=Worse.LOWER)), 10_000, "[2].name", "'scan_ms' is compared already"),
        ([Metric(name=f"m{n}") for n in range(METRICS_MAX + 1)], 10_000, "", "9 metrics: expected at most 8"),
    ],
)
def test_faults_of_metrics_have_their_places(rules: Any, soak_ms: int, place: str, found: str) -> None:
    broken = Gate(soak_ms=soak_ms, control=Control(metrics=tuple(rules)))
    [fault] = validate(plan(stage("a", gate=broken)).pipeline)
    assert fault.place == f"stages[0].gate.control.metrics{place}"
    assert found in fault.message


def test_a_group_without_a_soak_is_told_that_alone() -> None:
    [fault] = validate(plan(stage("a", gate=Gate(control=Control(metrics=(SCAN,))))).pipeline)
    assert "control needs a soak" in fault.message


# --- shares of alpha ---

OWN = st.none() | st.just(0.05)
SEQUENTIALS = st.none() | st.builds(Sequential, alpha_percent=OWN)
METRICS = st.integers(0, 3).flatmap(
    lambda count: st.tuples(*(st.builds(Metric, name=st.just(f"m{n}"), alpha_percent=OWN) for n in range(count)))
)
GATES = st.builds(
    Gate,
    soak_ms=st.just(60_000),
    sequential=SEQUENTIALS,
    control=st.none() | st.builds(Control, alpha_percent=OWN, metrics=METRICS),
)


@given(st.lists(GATES, min_size=1, max_size=4))
def test_the_tests_of_a_run_share_its_alpha(gates: list[Gate]) -> None:
    pipeline = plan(*(stage(f"s{n}", gate=one) for n, one in enumerate(gates)), alpha_percent=5).pipeline
    shares: list[tuple[float, float | None]] = []
    for index, one in enumerate(gates):
        if one.sequential is not None:
            shares.append((judgement.alpha_of(pipeline, index), one.sequential.alpha_percent))
        if one.control is not None:
            shares.append((judgement.control_alpha_of(pipeline, index), one.control.alpha_percent))
        shares += [
            (judgement.metric_alpha_of(pipeline, index, metric.name), metric.alpha_percent) for metric in one.metrics
        ]
    assert all(share == pytest.approx(own / 100) for share, own in shares if own is not None)
    assert len({round(share, 12) for share, own in shares if own is None}) <= 1
    is_shared = any(own is None for _, own in shares)
    total = sum(share for share, _ in shares)
    assert total == pytest.approx(0.05) if is_shared else total <= 0.05


def test_a_metric_with_more_than_there_is_has_its_place() -> None:
    greedy = gate(Metric(name="scan_ms", alpha_percent=2))
    assert [fault.place for fault in validate(plan(stage("a", gate=greedy)).pipeline)] == ["alpha"]
