"""Who of the ready devices may begin: judged once per change, in dispatch order, within what one transaction may do."""

from typing import Any

import pytest

from controller.app import devices, groups, releasing, runs
from controller.domain.pipeline import Pace, PerSite, Stage
from controller.domain.window import MINUTES, Window
from protocol.lifecycle import AttemptState
from protocol.reasons import Reason, RejectCode
from protocol.units import DAY, HOUR, MINUTE
from tests.controller.app.rig import Rig, stage

NIGHT = Window(begin=22 * 60, end=4 * 60)
"""The rig begins at 08:00 UTC."""
TO_NIGHT_MS = 14 * HOUR


@pytest.fixture
def rig() -> Rig:
    return Rig()


def blocked(rig: Rig, run: str, device: str) -> tuple[str, int | None]:
    view = rig.target(run, device)
    return view.blocked, view.check_at


def sent(rig: Rig, *names: str) -> list[str]:
    """Return which devices were sent an install command."""
    return [name for name in names if any(c.op == "install" for _, c in rig.devices[name].commands)]


def reported(**facts: str) -> dict[str, Any]:
    return {"facts": facts}


def test_a_precondition_waits_for_the_fact_it_asks_for(rig: Rig) -> None:
    rig.enrol("a", "b", "c")
    rig.connect("a")
    rig.connect("b", **reported(battery="10"))
    rig.connect("c", **reported(battery="90"))
    run = rig.start(stage(preconditions="facts.battery >= 20"))
    assert sent(rig, "a", "b", "c") == ["c"]
    assert blocked(rig, run, "a") == blocked(rig, run, "b") == ("precondition", None)
    assert "has not reported battery" in rig.target(run, "a").waits_for
    assert rig.view(run).stages[0].blocked == {"precondition": 2}
    rig.hello("b", **reported(battery="20"))
    rig.hello("a")
    assert sent(rig, "a", "b", "c") == ["b", "c"]
    assert rig.view(run).stages[0].blocked == {"precondition": 1}


def test_labels_and_groups_that_change_are_judged_anew(rig: Rig) -> None:
    rig.enrol("a", "b")
    rig.connect("a", "b")
    rig.start(stage(preconditions='labels.ring == "1" || group("eu")'))
    assert sent(rig, "a", "b") == []
    rig.do(devices.set_labels, device="a", labels={"ring": "1"})
    assert sent(rig, "a", "b") == ["a"]
    rig.do(groups.create, path="eu")
    rig.do(groups.add_devices, path="eu", devices=["b"])
    assert sent(rig, "a", "b") == ["a", "b"]


def test_a_group_that_goes_lets_those_in_that_must_not_be_in_it(rig: Rig) -> None:
    rig.enrol("a")
    rig.do(groups.create, path="eu")
    rig.do(groups.add_devices, path="eu", devices=["a"])
    rig.connect("a")
    rig.start(stage(preconditions='!group("eu")'))
    assert sent(rig, "a") == []
    rig.do(groups.remove, path="eu", recursive=True)
    assert sent(rig, "a") == ["a"]


def test_a_window_opens_on_the_clock_of_each_device(rig: Rig) -> None:
    rig.enrol("utc", "fact")
    rig.enrol("label", timezone="Asia/Tokyo")
    rig.enrol("lost", timezone="Mars/Phobos")
    for name in ("utc", "label", "lost"):
        rig.connect(name)
    rig.connect("fact", **reported(timezone="Asia/Kolkata"))
    everyone = ("utc", "fact", "label", "lost")
    run = rig.start(stage(windows=(NIGHT,)))
    now = rig.clock.time
    assert sent(rig, *everyone) == []
    assert blocked(rig, run, "label") == ("window_closed", now + TO_NIGHT_MS - 9 * HOUR)
    assert blocked(rig, run, "lost") == ("window_closed", None)
    rig.sleep(TO_NIGHT_MS - 9 * HOUR - 1)
    assert sent(rig, *everyone) == []
    rig.sleep(1)
    assert sent(rig, *everyone) == ["label"]
    rig.sleep(4 * HOUR)
    assert sent(rig, *everyone) == ["fact", "label"]
    rig.sleep(5 * HOUR)
    assert sent(rig, *everyone) == ["utc", "fact", "label"]


def test_the_pipeline_names_the_clock_of_devices_that_name_none(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    run = rig.start(stage(windows=(NIGHT,)), timezone="Asia/Tokyo")
    assert blocked(rig, run, "a") == ("window_closed", rig.clock.time + 5 * HOUR)


def test_a_paused_run_looks_at_no_window_and_goes_on_where_it_is(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    run = rig.start(stage(windows=(NIGHT,)))
    rig.do(runs.pause, run=run, reason="lunch")
    rig.sleep(TO_NIGHT_MS + HOUR)
    assert sent(rig, "a") == []
    rig.do(runs.resume, run=run)
    rig.sleep(MINUTE)
    assert sent(rig, "a") == ["a"]


def test_a_resume_after_the_window_sends_nothing_and_the_device_waits_again(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    run = rig.start(stage(windows=(Window(begin=8 * 60, end=9 * 60),)))
    assert sent(rig, "a") == ["a"]
    rig.do(runs.pause, run=run, reason="lunch")
    rig.sleep(HOUR)
    rig.do(runs.resume, run=run)
    assert rig.last("a")[1].op == "cancel"
    rig.report("a", AttemptState.CANCELLED, command=rig.last("a"), attempt=0)
    assert blocked(rig, run, "a") == ("window_closed", rig.clock.time + DAY - HOUR)
    rig.sleep(DAY - HOUR)
    assert [command.op for _, command in rig.devices["a"].commands[-2:]] == ["go", "install"]
    rig.succeed("a")
    assert rig.view(run).state == "succeeded"


def site(store: str, max_: int = 1, **pace: Any) -> Stage:
    return stage(pace=Pace(per_site=PerSite(label=store, max=max_), **pace))


def test_a_site_takes_no_more_than_it_may_and_goes_on_with_the_next(rig: Rig) -> None:
    rig.enrol("n1", "n2", "n3", store="north")
    rig.enrol("s1", store="south")
    rig.enrol("x1", "x2")
    everyone = ("n1", "n2", "n3", "s1", "x1", "x2")
    rig.connect(*everyone)
    run = rig.start(site("store"))
    assert rig.counters(run) == {"in_progress": 4, "queued": 2}
    assert rig.view(run).stages[0].blocked == {"site_full": 2}
    [first] = [name for name in sent(rig, *everyone) if name.startswith("n")]
    rig.succeed(first)
    begun = [name for name in sent(rig, *everyone) if name.startswith("n")]
    assert len(begun) == 2
    rig.fail(*(name for name in begun if name != first), reason=Reason.INTERRUPTED)
    assert len([name for name in sent(rig, *everyone) if name.startswith("n")]) == 3
    assert rig.view(run).stages[0].blocked == {}


def test_a_site_whose_device_falls_silent_has_room_again(rig: Rig) -> None:
    rig.enrol("n1", "n2", store="north")
    rig.connect("n1", "n2")
    run = rig.start(site("store"))
    assert rig.counters(run) == {"in_progress": 1, "queued": 1}
    [silent] = sent(rig, "n1", "n2")
    rig.lose(silent)
    rig.sleep(11 * MINUTE)
    assert len(sent(rig, "n1", "n2")) == 2


def test_a_crowd_that_is_refused_is_passed_over_within_what_one_transaction_may_do(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releasing, "REFUSED_MAX", 4)
    monkeypatch.setattr(releasing, "REFUSED_PAGE", 3)
    names = [f"d{number}" for number in range(20)]
    rig.enrol(*names)
    for number, name in enumerate(names):
        rig.connect(name, **reported(battery="90" if number in {7, 13} else "1"))
    run = rig.start(stage(preconditions="facts.battery >= 20", pace=Pace(max_in_flight=1)))
    rig.sleep(1_000)
    begun = sent(rig, *names)
    assert len(begun) == 1
    assert set(begun) < {"d7", "d13"}
    rig.succeed(*begun)
    rig.sleep(1_000)
    assert set(sent(rig, *names)) == {"d7", "d13"}
    rig.succeed(*({"d7", "d13"} - set(begun)))
    rig.sleep(1_000)
    assert rig.view(run).stages[0].blocked == {"precondition": 18}


def test_what_the_operation_needs_must_be_in_the_hello(rig: Rig) -> None:
    rig.enrol("old", "new")
    rig.connect("old")
    rig.connect("new", capabilities=("delta",))
    run = rig.start_with(stage(), requires=("delta",))
    assert sent(rig, "old", "new") == ["new"]
    assert blocked(rig, run, "old") == ("not_capable", None)
    rig.hello("old", capabilities=("delta", "install"))
    assert sent(rig, "old", "new") == ["old", "new"]


def test_a_command_that_is_refused_outside_the_window_is_not_made_anew(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    rig.start(stage(windows=(Window(begin=8 * 60, end=8 * 60 + 1),)))
    rig.sleep(MINUTE)
    rig.refuse("a", RejectCode.EXPIRED)
    assert rig.last("a")[1].op == "cancel"


def test_a_day_long_window_is_always_open(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    rig.start(stage(windows=(Window(begin=0, end=MINUTES),)))
    assert sent(rig, "a") == ["a"]
