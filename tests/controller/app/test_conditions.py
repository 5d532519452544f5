"""A stage with a condition opens or is skipped, and says by which numbers."""

import pytest

from controller.app import runs
from controller.domain.pipeline import FailureLimit, Gate, OnFailure, Targets, Trigger
from protocol.ids import StageName, device_id
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
