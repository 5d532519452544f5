"""Numbers that a device tells while it watches: which count, and that they change nothing else."""

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from controller.domain.target import (
    Anomaly,
    CancelRequested,
    Delta,
    Discharged,
    DueReached,
    Event,
    Marked,
    Measured,
    Policy,
    Released,
    Removed,
    Reported,
    Target,
    TargetState,
    delta,
    paired,
    step,
)
from protocol.health import Mark
from protocol.ids import Digest
from protocol.lifecycle import AttemptState, Left
from protocol.outputs import Outputs
from protocol.reasons import Reason
from protocol.units import Instant

POLICY = Policy(watch_ms=1_000, metrics=("scan_ms", "free_mb"))
SUCCEEDED = TargetState.SUCCEEDED


def after(target: Target, *events: Event) -> Target:
    for event in events:
        target, _ = step(target, event, POLICY)
    return target


def told(attempt: int = 1, at: int = 50, **outputs: float | str) -> Measured:
    return Measured(attempt=attempt, outputs=outputs, told_at=Instant(at))


def sent(target: Target = Target(), *, is_compared: bool = True) -> Target:  # noqa: B008 - frozen
    return after(target, Released(at=0, command=Digest("a" * 64), is_compared=is_compared))


def success(attempt: int = 1) -> Reported:
    return Reported(at=5, attempt=attempt, state=AttemptState.SUCCEEDED, left=Left.NEW)


LOST = DueReached(at=10**9)
UPDATED = after(sent(), success())
HELD = after(sent(Target(is_control=True)), success())


@pytest.mark.parametrize("watching", [UPDATED, HELD])
def test_what_is_compared_is_kept_with_the_time_at_which_it_was_heard(watching: Target) -> None:
    known = after(watching, told(scan_ms=12, free_mb=0.5, other=3))
    assert (known.measures, known.measured_at) == ({"scan_ms": 12.0, "free_mb": 0.5}, 50)
    assert all(isinstance(value, float) for value in known.measures.values())
    assert msgspec.structs.replace(known, measures={}, measured_at=None) == watching


def test_of_an_updated_device_the_first_numbers_count_and_of_one_held_back_the_newest() -> None:
    first, second = told(scan_ms=12), told(at=60, scan_ms=90)
    assert after(UPDATED, first, second) == after(UPDATED, first)
    assert after(HELD, first, second) == after(HELD, second)


@pytest.mark.parametrize("watching", [UPDATED, HELD])
def test_who_is_in_a_pair_tells_in_vain(watching: Target) -> None:
    known = paired(after(watching, told(scan_ms=12)))
    assert known.is_paired
    assert step(known, told(at=60, scan_ms=90), POLICY) == (known, ())


@pytest.mark.parametrize("outputs", [{}, {"scan_ms": "fast"}, {"other": 5}])
def test_who_tells_no_number_that_is_compared_has_told_nothing(outputs: Outputs) -> None:
    nothing = Measured(attempt=1, outputs=outputs, told_at=Instant(50))
    assert step(UPDATED, nothing, POLICY) == (UPDATED, ())
    known = after(HELD, told(scan_ms=12))
    assert step(known, nothing, POLICY) == (known, ())


@pytest.mark.parametrize(
    ("target", "event", "policy", "kind"),
    [
        (UPDATED, told(scan_ms=1), Policy(watch_ms=1_000), "measure_unasked"),
        (UPDATED, told(attempt=0, scan_ms=1), POLICY, "measure_of_no_attempt"),
        (UPDATED, told(attempt=2, scan_ms=1), POLICY, "measure_of_no_attempt"),
        (Target(), told(scan_ms=1), POLICY, "measure_of_no_attempt"),
    ],
)
def test_numbers_that_nobody_can_have_asked_for_are_an_anomaly(
    target: Target, event: Measured, policy: Policy, kind: str
) -> None:
    assert step(target, event, policy) == (target, (Anomaly(kind=kind),))


def test_who_is_not_compared_tells_in_vain() -> None:
    apart = after(sent(is_compared=False), success())
    assert step(apart, told(scan_ms=12), POLICY) == (apart, ())


def test_numbers_may_overtake_the_success() -> None:
    early = after(sent(), told(scan_ms=12))
    assert (early.state, early.measures) == (TargetState.IN_PROGRESS, {"scan_ms": 12.0})
    assert after(early, success()) == after(UPDATED, told(scan_ms=12))


def test_numbers_of_an_earlier_attempt_say_nothing_of_the_newest() -> None:
    again = sent(after(sent(), LOST))
    assert again.attempt == 2
    assert step(again, told(attempt=1, scan_ms=12), POLICY) == (again, ())
    assert after(again, told(attempt=2, scan_ms=12)).measures == {"scan_ms": 12.0}


@pytest.mark.parametrize("is_control", [False, True])
def test_a_new_attempt_tells_anew_unless_its_device_is_in_a_pair(is_control: bool) -> None:
    lost = after(sent(Target(is_control=is_control)), told(scan_ms=12), LOST)
    assert (lost.state, lost.measures) == (TargetState.QUEUED, {"scan_ms": 12.0})
    again = sent(lost)
    assert (again.measures, again.measured_at, again.is_paired) == ({}, None, False)
    assert after(again, told(attempt=2, scan_ms=7)).measures == {"scan_ms": 7.0}
    kept = sent(paired(lost))
    assert (kept.measures, kept.measured_at, kept.is_paired) == ({"scan_ms": 12.0}, 50, True)
    assert after(kept, success(2), told(attempt=2, scan_ms=7)).measures == {"scan_ms": 12.0}


def test_a_device_counts_once_as_one_that_told_whatever_it_tells_and_however_often_it_begins() -> None:
    first, lost = after(UPDATED, told(scan_ms=12)), after(sent(), told(scan_ms=12), LOST)
    assert delta(UPDATED, first) == Delta(before=SUCCEEDED, after=SUCCEEDED, measured=1)
    assert delta(first, paired(first)) == Delta(before=SUCCEEDED, after=SUCCEEDED)
    known = after(HELD, told(scan_ms=12))
    assert delta(HELD, known) == Delta(before=SUCCEEDED, after=SUCCEEDED, is_control=True, measured=1)
    assert delta(known, after(known, told(at=60, scan_ms=3))).measured == 0
    assert (delta(lost, sent(lost)).measured, delta(lost, sent(paired(lost))).measured) == (-1, 0)


def test_a_discharged_device_is_as_new_and_what_it_tells_counts_nowhere() -> None:
    freed = after(paired(after(HELD, told(scan_ms=12))), Discharged())
    assert freed == Target(attempt=1, watches=1)
    assert step(freed, told(scan_ms=12), POLICY) == (freed, ())
    again = sent(freed, is_compared=False)
    done = after(again, success(2))
    for attempt in (1, 2):
        assert step(again, told(attempt, scan_ms=12), POLICY) == (again, ())
        assert step(done, told(attempt, scan_ms=12), POLICY) == (done, ())


def test_who_told_no_number_is_in_no_pair() -> None:
    with pytest.raises(AssertionError, match="in no pair"):
        paired(UPDATED)


EVENTS = st.one_of(
    st.builds(
        Measured,
        attempt=st.integers(0, 4),
        outputs=st.dictionaries(
            st.sampled_from(["scan_ms", "free_mb", "other"]), st.integers(-3, 3) | st.floats(-1, 1) | st.just("x")
        ),
        told_at=st.integers(0, 99),
    ),
    st.builds(
        Reported,
        at=st.integers(0, 99),
        attempt=st.integers(1, 4),
        state=st.sampled_from([AttemptState.ACCEPTED, AttemptState.FAILED, AttemptState.SUCCEEDED]),
        reason=st.just(Reason.NO_CONTACT),
    ),
    st.builds(Marked, attempt=st.integers(1, 4), mark=st.sampled_from(Mark)),
    st.builds(CancelRequested, at=st.just(1)),
    st.builds(Removed, at=st.just(1)),
    st.just(LOST),
    st.sampled_from(["pair", "release", "discharge"]),
)


@given(st.lists(EVENTS, max_size=25), st.booleans())
def test_whatever_happens_a_device_is_in_one_pair_and_tells_what_is_compared_alone(
    events: list[Any],
    is_control: bool,
) -> None:
    target, pairs = Target(is_control=is_control), 0
    for event in events:
        before = target
        if event == "release" and target.state is TargetState.QUEUED:
            target = sent(target, is_compared=not target.watches)
        elif event == "pair" and target.measured_at is not None and not target.is_paired:
            target, pairs = paired(target), pairs + 1
        elif event == "discharge" and target.is_control and target.state is not TargetState.IN_PROGRESS:
            target = after(target, Discharged())
        elif not isinstance(event, str):
            target = after(target, event)
        assert pairs <= 1
        assert target.is_paired >= before.is_paired or (before.is_control and not target.is_control)
        assert (target.measured_at is None) == (not target.measures)
        assert target.measures.keys() <= set(POLICY.metrics)
