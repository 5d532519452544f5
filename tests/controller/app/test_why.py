"""Why a device is not updated, asked of a controller."""

from collections.abc import Iterator

import pytest

from controller.app import devices, freezes, jobs, runs, why
from controller.app.errors import NotFound
from controller.app.views import DeviceWhyView
from controller.domain.pipeline import Operation, Pace, Targets
from protocol.ids import StageName
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import Reason
from protocol.units import Instant
from tests.controller.app.rig import APP, Rig, stage

EU = Targets(labels={"region": "eu"})


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    rig.enrol("a", "b", region="eu")
    rig.enrol("c", region="us")
    rig.connect("a", "c")
    yield rig
    rig.close()


def codes(rig: Rig, run: str, device: str) -> list[str]:
    return [fact.code for fact in rig.do(why.of_run, run=run, device=device).facts]


def of_device(rig: Rig, device: str, app: str | None = None) -> DeviceWhyView:
    return rig.do(why.of_device, device=device, app=app)


def test_members_and_others_are_told_what_holds_them_up(rig: Rig) -> None:
    run = rig.start(
        stage("canary", targets=EU, pace=Pace(max_in_flight=1)), stage("rest", needs=(StageName("canary"),))
    )
    rig.report("a", AttemptState.INSTALLING)
    assert codes(rig, run, "a") == ["at_work"]
    assert codes(rig, run, "b") == ["offline", "slot"]
    assert codes(rig, run, "c") == ["not_open", "no_member"]
    assert rig.do(why.of_run, run=run, device="a").stage == "canary"
    assert rig.do(why.of_run, run=run, device="c").stage == ""
    rig.do(devices.block, device="b", reason="lost")
    assert codes(rig, run, "b")[0] == "blocked"


def test_another_run_that_has_the_device_is_named(rig: Rig) -> None:
    first = rig.start(stage())
    rig.do(jobs.create, name="other", pipeline="rollout", operation=Operation(app=APP, version="1.0.0"))
    second = rig.do(runs.start, job="other").id
    [fact] = rig.do(why.of_run, run=second, device="a").facts
    assert (fact.code, fact.text) == ("busy", f"it is at work in run {first}")
    assert codes(rig, second, "b") == ["offline", "behind"]
    assert codes(rig, first, "b") == ["offline"]
    rig.do(runs.pause, run=first, reason="lunch")
    assert codes(rig, second, "b") == ["offline"]


def test_a_device_is_told_of_every_active_run(rig: Rig) -> None:
    run = rig.start(stage())
    assert [one.run for one in of_device(rig, "a").runs] == [run]
    assert [one.run for one in of_device(rig, "a", "shop").runs] == [run]
    assert [fact.code for fact in of_device(rig, "a", "till").facts] == ["no_run"]


def test_with_no_active_run_the_last_that_had_the_device_answers(rig: Rig) -> None:
    assert [fact.code for fact in of_device(rig, "a").facts] == ["no_run"]
    run = rig.start(stage(targets=EU))
    rig.do(runs.terminate, run=run, reason="enough")
    rig.succeed("a")
    later = rig.start(stage(targets=Targets(labels={"region": "us"})))
    rig.succeed("c")
    assert rig.view(later).state == "succeeded"
    assert [one.run for one in of_device(rig, "a").runs] == [run]
    assert of_device(rig, "a").runs[0].facts[0].code == "ended"
    rig.enrol("d", region="asia")
    [answer] = of_device(rig, "d").runs
    assert (answer.run, [fact.code for fact in answer.facts]) == (later, ["run_ended", "no_member"])


def test_a_device_that_nobody_knows_is_told_so(rig: Rig) -> None:
    run = rig.start(stage())
    assert codes(rig, run, "nobody") == ["unknown"]
    assert [fact.code for fact in of_device(rig, "nobody").facts] == ["unknown"]
    with pytest.raises(NotFound):
        rig.do(why.of_run, run="r-none", device="a")


def test_a_retry_says_when_it_comes(rig: Rig) -> None:
    run = rig.start(stage())
    rig.report("a", AttemptState.FAILED, reason=Reason.INTERRUPTED, left=Left.OLD)
    [fact] = rig.do(why.of_run, run=run, device="a").facts
    assert fact.text == "attempt 2 of 3 waits for its time after interrupted"
    assert fact.until is not None
    assert fact.until > rig.clock.now()


def test_an_attempt_that_a_freeze_suspends_names_the_freeze(rig: Rig) -> None:
    run = rig.start(stage())
    ends_at = Instant(rig.clock.now() + 60_000)
    rig.do(freezes.add, name="sale", ends_at=ends_at, reason="sale week")
    [frozen, at_work] = rig.do(why.of_run, run=run, device="a").facts
    assert (frozen.code, frozen.text) == ("frozen", "the freeze sale suspends its attempt: sale week")
    assert (frozen.until, at_work.code) == (ends_at, "at_work")
    rig.report("a", AttemptState.INSTALLING)
    assert codes(rig, run, "a") == ["at_work"]
