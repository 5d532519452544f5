"""A replay finds what weighing every moment would."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from controller.domain.counters import Tally
from controller.domain.course import Moment, is_beginning, is_turn
from controller.domain.gates import judgement, odds
from controller.domain.gates.replay import judge, replay, with_gate
from controller.domain.pipeline import Denominator, FailureLimit, Gate, Pipeline, Sequential, Stage
from protocol.ids import StageName

SIZE = 400
PLAIN = Pipeline(name="weekly", stages=(Stage(name=StageName("eu")), Stage(name=StageName("us"))))
GATES = st.builds(
    Gate,
    sequential=st.none() | st.builds(Sequential, above=st.sampled_from([0.01, 1.0, 2.0, 10.0, 50.0])),
    failures=st.none()
    | st.builds(FailureLimit, count=st.integers(0, 30))
    | st.builds(
        FailureLimit,
        percent=st.sampled_from([0.0, 1.0, 10.0, 60.0]),
        of=st.sampled_from(Denominator),
        min_sample=st.sampled_from([1, 50]),
    ),
)


def tally_of(exposed: int, failed: int, rejected: int = 0) -> Tally:
    return Tally(
        queued=SIZE - exposed - rejected,
        in_progress=exposed - failed,
        failed=failed,
        rejected=rejected,
        started=exposed,
        exposed=exposed,
        resolved=failed,
        blamed=failed,
    )


@st.composite
def looks(draw: st.DrawFn) -> list[Tally]:
    """Return every look at a stage, of which few turn anything."""
    found = [tally_of(0, 0)]
    for _ in range(draw(st.integers(0, 40))):
        last = found[-1]
        exposed = min(SIZE - last.rejected, last.exposed + draw(st.integers(0, 12)))
        failed = min(exposed, last.blamed + draw(st.sampled_from([0, 0, 0, 1, 1, 3])))
        rejected = min(SIZE - exposed, last.rejected + draw(st.sampled_from([0, 0, 0, 5])))
        found.append(tally_of(exposed, failed, rejected))
    return found


def turns(seen: list[Tally]) -> list[Moment]:
    return [
        Moment(at=at, accepted=0, tally=now)
        for at, (before, now) in enumerate(pairwise([Tally(), *seen]))
        if is_beginning(before, now) or is_turn(before, now)
    ]


@given(GATES, looks())
def test_the_moments_that_are_kept_lose_no_stop_and_no_peak(gate: Gate, seen: list[Tally]) -> None:
    pipeline = with_gate(PLAIN, gate)
    found = judge(pipeline, 0, turns(seen))
    stops = [at for at, tally in enumerate(seen) if judgement.is_breached(pipeline, 0, tally, accepted=0)]
    assert (found.stop and found.stop.at) == (stops[0] if stops else None)
    if gate.sequential is not None:
        looked = seen[: stops[0] + 1] if stops else seen
        above = gate.sequential.above / 100
        most = max(odds.log_evidence(tally.blamed, tally.exposed, above=above) for tally in looked)
        assert found.peak is not None
        assert abs(found.peak.log_evidence - max(0, min(most, judgement.LOG_SHOWN_MAX))) < 1e-9


def at_last(seen: list[Tally]) -> Moment:
    return Moment(at=len(seen), accepted=0, tally=seen[-1])


@given(GATES, GATES, looks())
def test_who_is_spared_began_after_the_stop(own: Gate, other: Gate, seen: list[Tally]) -> None:
    replayed = replay(with_gate(PLAIN, own), with_gate(PLAIN, other), 0, turns(seen), at_last(seen))
    stop = replayed.other.stop
    assert replayed.spared == (0 if stop is None else seen[-1].exposed - stop.exposed)
    is_looser = replayed.own.stop is not None and stop is None
    assert replayed.exposed_more == (seen[-1].queued if is_looser else 0)
    assert str(replayed).startswith("does not stop" if stop is None else "stops on failure")


def test_a_gate_stands_in_one_stage_or_in_all() -> None:
    gate = Gate(sequential=None, success_percent=10)
    one, both = with_gate(PLAIN, gate, stage=StageName("us")), with_gate(PLAIN, gate)
    assert [stage.gate.sequential for stage in one.stages] == [Sequential(), None]
    assert [stage.gate.sequential for stage in both.stages] == [None, None]
    assert both.stages[0].gate.success_percent == PLAIN.stages[0].gate.success_percent
    assert judgement.alpha_of(one, 0) == 2 * judgement.alpha_of(PLAIN, 0)


def test_what_turns_nothing_is_not_kept() -> None:
    assert not is_turn(tally_of(5, 0), tally_of(9, 0, 3))
    assert not is_turn(tally_of(5, 1), tally_of(9, 1))
    assert is_turn(tally_of(5, 1), tally_of(5, 2))
    assert is_turn(tally_of(5, 1), tally_of(5, 1, 1))


@given(GATES, looks())
def test_a_record_that_lacks_its_beginning_says_from_which_failure_on_it_is_known(
    gate: Gate, seen: list[Tally]
) -> None:
    record = turns(seen)[1:]
    said = str(replay(PLAIN, with_gate(PLAIN, gate), 0, record, at_last(seen)))
    if record and record[0].tally.blamed > 1:
        first = record[0].tally
        assert said.startswith(f"not known before failure {first.blamed} of {first.exposed} started; since then: ")
    else:
        assert not said.startswith("not known")
    if seen[-1].blamed:
        assert str(replay(PLAIN, PLAIN, 0, [], at_last(seen))) == "not known: what its gate saw is not kept"
