"""Another gate judges what a run did."""

import msgspec
import pytest

from controller.app import replays, runs
from controller.app.errors import InvalidDefinition, NotFound
from controller.app.views import ReplayedView
from controller.documents import load_gate
from controller.domain.pipeline import DryRun, FailureLimit, Gate, OnBreach, Pace, Sequential
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import Reason
from tests.controller.app.rig import Rig
from tests.controller.domain.kit import stage

NAMES = tuple(f"kiosk-{number}" for number in range(8))
PAUSED = Gate(sequential=None, failures=FailureLimit(count=2), on_breach=OnBreach.PAUSE)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol(*NAMES)
    rig.connect(*NAMES)
    return rig


def fail(rig: Rig) -> None:
    """Let the next device that has a command fail by the build's fault."""
    name = next(name for name in NAMES if rig.devices[name].commands and name not in rig_failed(rig))
    rig.report(name, AttemptState.FAILED, reason=Reason.VERIFY_FAILED, left=Left.OLD)


def rig_failed(rig: Rig) -> set[str]:
    return {name for name in NAMES if rig.devices[name].report_seq}


def rolled_out(rig: Rig, gate: Gate, *, failures: int) -> str:
    """Return a run of one device at a time, in which the first ones failed."""
    run = rig.start(stage("all", pace=Pace(max_in_flight=1), gate=gate))
    for _ in range(failures):
        fail(rig)
        rig.sleep(1_000)
    return run


def replayed(rig: Rig, run: str, gate: str) -> ReplayedView:
    [found] = rig.do(replays.replay, run=run, gate=load_gate(gate)).stages
    return found


def test_the_gate_of_the_run_stops_where_it_did(rig: Rig) -> None:
    run = rolled_out(rig, PAUSED, failures=3)
    breach = rig.view(run).stages[0].gate.breach
    found = replayed(rig, run, "failures: {more_than: 2}")
    assert breach is not None
    assert (found.own.stop, found.other.stop) == (breach, breach)
    assert found.said == "stops on failure 3 of 3 started, where the run's own does"


def test_a_stricter_gate_stops_earlier_and_spares_devices(rig: Rig) -> None:
    run = rolled_out(rig, PAUSED, failures=3)
    found = replayed(rig, run, "failures: {more_than: 0}")
    assert found.other.stop is not None
    assert (found.other.stop.failed, found.other.stop.exposed, found.spared) == (1, 1, 2)
    assert found.said == "stops on failure 1 of 1 started, 2 devices earlier than the run's own"


def test_a_looser_gate_lets_at_most_the_rest_begin(rig: Rig) -> None:
    run = rolled_out(rig, PAUSED, failures=3)
    found = replayed(rig, run, "failures: ignored")
    assert (found.other.stop, found.spared, found.exposed_more) == (None, 0, 5)
    assert "the run's own did on failure 3 of 3" in found.said


def test_a_test_tells_its_most_evidence_and_where_it_stands(rig: Rig) -> None:
    run = rolled_out(rig, PAUSED, failures=3)
    found = replayed(rig, run, "failures: {above: 40%}")
    assert found.other.evidence is not None
    assert found.evidence_now is not None
    assert found.other.evidence == pytest.approx(found.evidence_now.value)
    assert (found.other.evidence_failed, found.other.evidence_exposed) == (3, 3)


def test_a_run_that_has_ended_is_judged_the_same(rig: Rig) -> None:
    run = rolled_out(rig, PAUSED, failures=3)
    before = replayed(rig, run, "failures: {more_than: 1}").other
    rig.do(runs.terminate, run=run, reason="enough")
    rig.sleep(60_000)
    assert replayed(rig, run, "failures: {more_than: 1}").other == before


def test_a_run_without_failures_stops_nowhere(rig: Rig) -> None:
    run = rig.start(stage("all"))
    found = replayed(rig, run, "failures: {above: 1%}")
    assert (found.known, found.said) == (True, "does not stop; nor did the run's own")


def test_a_gate_that_overspends_alpha_is_refused(rig: Rig) -> None:
    run = rig.start(stage("all", gate=Gate(sequential=Sequential())))
    with pytest.raises(InvalidDefinition):
        replayed(rig, run, "failures: {above: 1%, alpha: 5%}")


def test_what_is_not_there_is_not_found(rig: Rig) -> None:
    run = rig.start(stage("all"))
    with pytest.raises(NotFound):
        rig.do(replays.replay, run="none", gate=Gate())
    with pytest.raises(NotFound):
        rig.do(replays.replay, run=run, gate=Gate(), stage="none")


def test_a_rule_on_trial_is_shown_and_a_replay_finds_what_it_kept(rig: Rig) -> None:
    rule = DryRun(name="strict", sequential=None, failures=FailureLimit(count=0))
    run = rolled_out(rig, msgspec.structs.replace(PAUSED, dry_run=(rule,)), failures=3)
    [shown] = rig.view(run).stages[0].gate.dry_runs
    assert shown.breach == replayed(rig, run, "failures: {more_than: 0}").other.stop
    assert shown.said == "would have stopped on failure 1 of 1 started, 2 devices earlier than the gate"
    kinds = [event.kind for event in rig.do(runs.events, run=run, after=0, limit=99)]
    assert kinds.count("dry_run") == 1
