"""Another gate judges what a run did."""

import msgspec
import pytest

from controller.app import replays, runs
from controller.app.errors import InvalidDefinition, NotFound
from controller.app.ports import Priority
from controller.app.records import MomentRecord
from controller.app.replays import AFTERWARDS, CHECKS, COMPARISONS, PROOFS
from controller.app.repositories import Transaction
from controller.app.views import ReplayedView
from controller.documents import load_gate
from controller.domain.pipeline import DryRun, FailureLimit, Gate, OnBreach, Pace, Sequential
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import Reason
from protocol.units import DAY, Instant
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


# --- what a replay does not know ----------------------------------------------------------------------------------


def moments(tx: Transaction, run: str) -> list[MomentRecord]:
    record = tx.runs.by_uid(run)
    assert record is not None
    return tx.log.moments(record.id)


def late(rig: Rig, run: str, *, from_failure: int) -> None:
    """Forget what its gate saw of a run before a failure, as if that was when the controller began to keep it."""

    def work(tx: Transaction) -> None:
        kept = [one for one in moments(tx, run) if one.moment.tally.blamed >= from_failure]
        tx.log.forget_moments(ended_before=rig.clock.time)
        tx.log.add_moments(kept)

    rig.wait(rig.store.write(work, priority=Priority.OPERATOR))


def ended(rig: Rig, *, failures: int) -> str:
    run = rolled_out(rig, PAUSED, failures=failures)
    rig.do(runs.terminate, run=run, reason="enough")
    rig.sleep(60_000)
    return run


def test_a_record_that_begins_too_late_is_judged_from_there_on_and_says_so(rig: Rig) -> None:
    run = ended(rig, failures=3)
    late(rig, run, from_failure=3)
    found = replayed(rig, run, "failures: {more_than: 0}")
    assert (found.known, found.known_from) == (False, found.own.stop and found.own.stop.at)
    assert found.said == (
        "not known before failure 3 of 3 started; since then: stops on failure 3 of 3 started, where the run's own does"
    )


def test_a_record_that_begins_with_the_first_failure_is_whole(rig: Rig) -> None:
    run = ended(rig, failures=3)
    late(rig, run, from_failure=1)
    found = replayed(rig, run, "failures: {more_than: 1}")
    assert (found.known, found.known_from) == (True, None)


def test_of_a_run_without_a_record_nothing_is_known(rig: Rig) -> None:
    run = ended(rig, failures=3)
    late(rig, run, from_failure=9)
    found = replayed(rig, run, "failures: {more_than: 0}")
    assert (found.known, found.known_from, found.other.stop) == (False, None, None)
    assert found.said == "not known: what its gate saw is not kept"


def test_the_record_begins_when_the_stage_does(rig: Rig) -> None:
    """A transaction may bring several failures at once, the first ones too: they are known to be all there is."""
    run = rig.start(stage("all", gate=Gate(sequential=None, failures=FailureLimit(count=8))))
    kept = rig.wait(rig.store.read(lambda tx: moments(tx, run)))
    assert [(one.moment.tally.targets, one.moment.tally.blamed) for one in kept] == [(8, 0)]


def test_what_gates_saw_is_kept_for_a_time_after_the_end_of_a_run(rig: Rig) -> None:
    first = ended(rig, failures=1)
    for days, is_known in ((89, True), (2, False)):
        rig.clock.time = Instant(rig.clock.time + days * DAY)
        ended(rig, failures=0)
        assert replayed(rig, first, "failures: {more_than: 0}").known is is_known


@pytest.mark.parametrize(
    ("of_run", "file", "expected"),
    [
        ("success: 90%", "failures: {above: 1%}", ()),
        ("checks: [{name: e2e, webhook: {}}]", "failures: {above: 1%}", (CHECKS,)),
        ("success: 90%", "checks: [{name: e2e, webhook: {}}]", (CHECKS,)),
        ("proof: {below: 5%}", "failures: {above: 1%}", (PROOFS,)),
        ("success: 90%", "proof: {below: 5%}", (PROOFS,)),
        ("checks: [{name: e2e, webhook: {}}]", "proof: {below: 5%}", (CHECKS, PROOFS)),
        ("soak: 1h", "{soak: 2h, success: 80%}", ()),
        ("soak: 1h", "{soak: 1h, health: ignored}", (AFTERWARDS,)),
        ("{soak: 1h, health: ignored}", "success: 80%", ()),
        ("success: 80%", "soak: 1h", (AFTERWARDS,)),
        ("{soak: 1h, silent_after: 30m}", "soak: 1h", (AFTERWARDS,)),
        ("{soak: 1h, control: 5%}", "soak: 1h", (COMPARISONS,)),
        ("soak: 1h", "{soak: 1h, control: {metrics: [scan_ms]}}", (COMPARISONS,)),
    ],
)
def test_what_is_not_judged_is_said(rig: Rig, of_run: str, file: str, expected: tuple[str, ...]) -> None:
    run = rig.start(stage("all", gate=load_gate(of_run)))
    assert rig.do(replays.replay, run=run, gate=load_gate(file)).notes == expected


def test_of_one_stage_only_what_is_left_out_there_is_said(rig: Rig) -> None:
    checked = stage("b", "a", gate=load_gate("checks: [{name: e2e, webhook: {}}]"))
    run = rig.start(stage("a"), checked)
    notes = {name: rig.do(replays.replay, run=run, gate=Gate(), stage=name).notes for name in "ab"}
    assert notes == {"a": (), "b": (CHECKS,)}
