"""A stage with a condition opens or is skipped, and says by which numbers."""

import msgspec
import pytest

from controller.app import runs
from controller.app.ports import Disposition
from controller.app.views import SummaryView
from controller.domain.pipeline import FailureLimit, Gate, OnFailure, Targets, Trigger
from protocol.envelope import parse, seal
from protocol.ids import StageName, device_id
from protocol.lifecycle import AttemptState, Left
from protocol.messages import PayloadType
from protocol.topics import UplinkKind
from tests.controller.app.rig import Rig, stage

FIRST, SECOND, C = StageName("first"), StageName("second"), device_id("c")
LENIENT = Gate(success_percent=50, failures=FailureLimit(count=5))


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", "b", "c")
    rig.connect("a", "b", "c")
    return rig


def start(rig: Rig, when: str, trigger: Trigger = Trigger.AUTOMATIC) -> str:
    first = stage("first", targets=Targets(exclude=(C,)), gate=LENIENT, on_failure=OnFailure.CONTINUE)
    third = stage("third", needs=(SECOND,), allow_empty=True)
    return rig.start(first, stage("second", needs=(FIRST,), when=when, trigger=trigger), third)


def state(rig: Rig, run: str, index: int) -> tuple[str, str]:
    view = rig.view(run).stages[index]
    return view.state, view.reason


def test_a_stage_whose_condition_holds_opens(rig: Rig) -> None:
    run = start(rig, 'share("first", state == "succeeded") >= 95%')
    rig.succeed("a", "b")
    assert state(rig, run, 1)[0] == "rolling_out"


def test_a_stage_whose_condition_does_not_hold_is_skipped_and_what_needs_it_goes_on(rig: Rig) -> None:
    run = start(rig, 'share("first", state == "succeeded") >= 95%')
    rig.succeed("a")
    rig.fail("b")
    assert state(rig, run, 1) == ("skipped", 'condition: share("first", succeeded) is 50 %')
    assert state(rig, run, 2)[0] == "rolling_out"
    assert rig.last_install("c")[1].run == run
    kinds = [(e.kind, e.data.get("stage")) for e in rig.do(runs.events, run=run)]
    assert ("skipped", "second") in kinds
    assert ("opened", "second") not in kinds


def test_a_condition_is_judged_when_the_stage_is_promoted(rig: Rig) -> None:
    run = start(rig, 'count("first", state == "failed") == 0', Trigger.MANUAL)
    rig.succeed("a")
    rig.fail("b")
    assert state(rig, run, 1)[0] == "awaiting_promotion"
    rig.do(runs.promote, run=run, stage="second")
    assert state(rig, run, 1) == ("skipped", 'condition: count("first", failed) is 1')


def tell(rig: Rig, name: str, **outputs: float | str) -> None:
    rig.report(name, AttemptState.ACCEPTED)
    rig.report(name, AttemptState.SUCCEEDED, left=Left.NEW, outputs=outputs)


def test_a_condition_is_judged_by_what_devices_told(rig: Rig) -> None:
    run = start(rig, 'avg("first", "boot_ms") < 900 && count("first", state == "failed") == 0')
    tell(rig, "a", boot_ms=700, kernel="6.1")
    tell(rig, "b", boot_ms=1_000.5)
    assert state(rig, run, 1)[0] == "rolling_out"
    first = rig.view(run).stages[0]
    assert first.outputs == {"boot_ms": SummaryView(count=2, min=700, max=1_000.5, avg=850.25)}
    told = {target.device: target.outputs for target in rig.do(runs.targets, run=run).items}
    assert told == {"a": {"boot_ms": 700, "kernel": "6.1"}, "b": {"boot_ms": 1_000.5}, "c": {}}


def test_a_condition_does_not_hold_while_nobody_has_told_what_it_asks_for(rig: Rig) -> None:
    run = start(rig, '!(avg("first", "boot_ms") >= 900)')
    tell(rig, "a", boot_ms="fast")
    tell(rig, "b")
    why = 'condition: avg("first", "boot_ms") is not known: no device has told it'
    assert state(rig, run, 1) == ("skipped", why)


def test_what_devices_told_outlives_a_restart_of_the_controller(rig: Rig) -> None:
    run = start(rig, 'max("first", "boot_ms") < 900')
    tell(rig, "a", boot_ms=901)
    rig.controller = rig.new_controller()
    rig.inbox.open(rig.controller)
    tell(rig, "b", boot_ms=700)
    assert state(rig, run, 1) == ("skipped", 'condition: max("first", "boot_ms") is 901')


def test_a_report_with_more_than_may_be_told_is_no_report(rig: Rig) -> None:
    run = start(rig, 'max("first", "boot_ms") < 900')
    payload = parse(rig.signed_report("a", AttemptState.SUCCEEDED, left=Left.NEW)).payload
    fields = msgspec.json.decode(payload)
    raw = msgspec.json.encode({**fields, "outputs": {f"n{n}": "x" * 200 for n in range(32)}})
    report = seal(raw, PayloadType.REPORT, rig.devices["a"].key)
    assert rig.say("a", UplinkKind.REPORT, report) is Disposition.MALFORMED
    assert rig.view(run).stages[0].counters.in_progress == 2
