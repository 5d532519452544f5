"""Quarantining a model in a run: rows, commands, timelines and audit, and what devices and people are told."""

from typing import Any

import pytest

from controller.app import devices, reruns, runs, system, why
from controller.app.access import Actor, Role
from controller.app.errors import Conflict, InvalidRequest, NotAllowed, NotFound
from controller.app.views import RunView
from controller.domain.pipeline import Gate, OnModel, Pace, Stage, Targets, Trigger
from protocol.ids import device_id
from protocol.lifecycle import AttemptState
from protocol.messages import Op
from protocol.reasons import Reason
from tests.controller.app.rig import Rig, stage

GOOD = [f"good-{number:02}" for number in range(12)]
BAD = [f"bad-{number}" for number in range(6)]
LENIENT = Gate(success_percent=0)
CANARY = Targets(labels={"ring": "canary"})
ALPHA: dict[str, Any] = {"alpha_percent": 5.0}
"""With so much alpha two failures of two devices are enough."""


@pytest.fixture
def rig() -> Rig:
    """Return devices of two models: two bad ones and all good ones are the canary."""
    rig = Rig()
    rig.enrol(*GOOD, ring="canary")
    rig.enrol(*BAD[:2], model="kiosk-3", ring="canary")
    rig.enrol(*BAD[2:], model="kiosk-3", ring="rest")
    rig.connect(*GOOD, *BAD)
    return rig


def wide(name: str = "all", **changes: Any) -> Stage:
    return stage(name, **{"gate": LENIENT, "pace": Pace(max_in_flight=99), **changes})


def two_stages(rig: Rig) -> str:
    """Start a canary and the rest, which somebody promotes, and let the bad model fail in the canary."""
    run = rig.start(wide("canary", targets=CANARY), wide("rest", needs=("canary",), trigger=Trigger.MANUAL), **ALPHA)
    rig.succeed(*GOOD)
    rig.fail(*BAD[:2])
    return run


def entries(rig: Rig, run: str, kind: str) -> list[dict[str, Any]]:
    return [dict(event.data) for event in rig.do(runs.events, run=run) if event.kind == kind]


def gate_of(view: RunView, stage: int = 0) -> dict[str, tuple[int, int, int, int | None, bool]]:
    return {
        one.model: (one.targets, one.exposed, one.failed, one.stops_on, one.is_quarantined)
        for one in view.stages[stage].gate.models
    }


def test_the_models_of_a_stage_are_read_out_with_the_closest(rig: Rig) -> None:
    run = rig.start(wide(), **ALPHA)
    rig.succeed(*GOOD)
    rig.fail(BAD[0])
    view = rig.view(run)
    assert gate_of(view) == {"k1": (12, 12, 0, 4, False), "kiosk-3": (6, 1, 1, 2, False)}
    assert view.stages[0].gate.closest == "kiosk-3"
    assert rig.target(run, BAD[0]).model == "kiosk-3"


def test_a_bad_model_is_kept_out_and_the_run_succeeds_without_it(rig: Rig) -> None:
    slow = Pace(max_in_flight=1)
    run = rig.start(wide("good", targets=Targets(query='model == "k1"'), gate=Gate(models=OnModel.IGNORED)), **ALPHA)
    rig.succeed(*GOOD)
    assert rig.view(run).state == "succeeded"
    run = rig.start(wide(pace=slow, gate=Gate(success_percent=100)), **ALPHA)
    while rig.view(run).state == "running":
        at_work = [t.device for t in rig.do(runs.targets, run=run, state="in_progress").items]
        for device in at_work:
            (rig.fail if device.startswith("bad") else rig.succeed)(device)
    view = rig.view(run)
    [quarantined] = entries(rig, run, "quarantined")
    assert (view.state, view.stages[0].state) == ("succeeded", "passed")
    assert quarantined["text"] == "model kiosk-3"
    assert quarantined["evidence"].startswith("2 of 2 started failed; stops on failure 2")
    assert rig.counters(run) == {"succeeded": 12, "failed": 2, "cancelled": 4}
    assert view.stages[0].gate.models[1].breach is not None
    assert (view.stages[0].gate.failed, view.stages[0].gate.exposed) == (0, 12)


def test_whoever_has_not_accepted_is_called_back_and_whoever_has_goes_on(rig: Rig) -> None:
    run = rig.start(wide(), **ALPHA)
    rig.succeed(*GOOD)
    rig.report(BAD[2], AttemptState.DOWNLOADING)
    rig.fail(*BAD[:2])
    assert [rig.last(name)[1].op for name in BAD[2:]] == [Op.INSTALL.value, *[Op.CANCEL.value] * 3]
    for name in BAD[3:]:
        rig.report(name, AttemptState.CANCELLED, reason=Reason.CANCELLED)
    rig.report(BAD[2], AttemptState.SUCCEEDED)
    assert rig.counters(run) == {"succeeded": 13, "failed": 2, "cancelled": 3}
    assert rig.target(run, BAD[3]).reason == "model_quarantined"
    assert rig.view(run).state == "succeeded"


def test_whoever_never_answers_the_recall_ends_with_it(rig: Rig) -> None:
    run = rig.start(wide(), **ALPHA)
    rig.succeed(*GOOD)
    rig.lose(*BAD[2:])
    rig.fail(*BAD[:2])
    rig.sleep(60_000)
    assert rig.counters(run) == {"succeeded": 12, "failed": 2, "cancelled": 4}
    assert rig.view(run).state == "succeeded"


def test_a_later_stage_leaves_the_model_out_and_says_so(rig: Rig) -> None:
    rig.enrol("new", ring="rest")
    rig.connect("new")
    run = two_stages(rig)
    rig.do(runs.promote, run=run, stage="rest")
    rest = rig.view(run).stages[1]
    assert rig.counters(run, 1) == {"in_progress": 1}
    [left_out] = rest.left_out
    assert (left_out.reason, left_out.devices, left_out.first) == ("quarantined", 4, tuple(BAD[2:]))
    assert entries(rig, run, "left_out")[0]["text"] == "4 of a quarantined model"
    rig.succeed("new")
    assert rig.view(run).state == "succeeded"


def test_a_stage_that_has_no_other_devices_is_skipped(rig: Rig) -> None:
    run = two_stages(rig)
    rig.do(runs.promote, run=run, stage="rest")
    view = rig.view(run)
    assert (view.stages[1].state, view.state) == ("skipped", "succeeded")


def test_newcomers_of_the_model_stay_out(rig: Rig) -> None:
    run = rig.start(wide(targets=Targets(include_new=True, labels={"ring": "canary"})), **ALPHA)
    rig.succeed(*GOOD[1:])
    rig.fail(*BAD[:2])
    assert entries(rig, run, "quarantined")
    rig.do(devices.set_labels, device=BAD[2], labels={"ring": "canary"})
    rig.enrol("fresh", ring="canary")
    rig.connect("fresh")
    assert {t.device for t in rig.do(runs.targets, run=run).items} == {*GOOD, *BAD[:2], "fresh"}


def test_newcomers_of_other_models_are_quarantined_together(rig: Rig) -> None:
    run = rig.start(wide(targets=Targets(include_new=True, labels={"ring": "canary"})), **ALPHA)
    rig.enrol("a", "b", "c", model="till-1", ring="canary")
    rig.enrol("d", model="till-2", ring="canary")
    rig.succeed(*GOOD)
    rig.connect("a", "b", "c", "d")
    rig.fail("a", "b", "d")
    assert [entry["text"] for entry in entries(rig, run, "quarantined")] == ["each other model"]
    assert rig.last("c")[1].op == Op.CANCEL.value
    assert gate_of(rig.view(run))[""][:3] == (4, 3, 3)
    rig.do(runs.readmit, run=run, model="", reason="tills were off")
    assert not any(one.is_quarantined for one in rig.view(run).stages[0].gate.models)


def test_a_device_is_told_why_in_words(rig: Rig) -> None:
    run = two_stages(rig)
    [first, *_] = rig.do(why.of_run, run=run, device=BAD[2]).facts
    assert first.code == "quarantined"
    assert first.text.startswith("its model kiosk-3 is quarantined in this run, and no stage takes it: 2 of 2 started")
    assert first.change == "readmit the model before the stage opens"


def test_a_device_that_was_called_off_is_told_why_in_words(rig: Rig) -> None:
    run = rig.start(wide(pace=Pace(max_in_flight=13)), **ALPHA)
    rig.succeed(*[name for name in GOOD if rig.target(run, name).state == "in_progress"])
    rig.succeed(*[name for name in GOOD if rig.target(run, name).state == "in_progress"])
    rig.fail(*[name for name in BAD if rig.target(run, name).state == "in_progress"][:2])
    called_off = next(name for name in BAD if rig.target(run, name).state == "in_progress")
    rig.report(called_off, AttemptState.CANCELLED, reason=Reason.CANCELLED)
    [ended, quarantined] = rig.do(why.of_run, run=run, device=called_off).facts
    assert ended.text == "it was called off in stage all: model_quarantined"
    assert quarantined.text.startswith("its model kiosk-3 is quarantined in this run: 2 of ")
    assert quarantined.change.endswith("retry the run with cancelled devices once it has ended")
    rig.do(runs.readmit, run=run, model="kiosk-3", reason="a bad batch")
    [_, readmitted] = rig.do(why.of_run, run=run, device=called_off).facts
    assert readmitted.text == "its model kiosk-3 was quarantined then, and was readmitted since"
    assert readmitted.change == "retry the run with cancelled devices once it has ended"


def test_a_readmitted_model_takes_part_in_later_stages(rig: Rig) -> None:
    run = two_stages(rig)
    view = rig.do(runs.readmit, run=run, model="kiosk-3", reason="a bad batch")
    assert not any(one.is_quarantined for one in view.stages[0].gate.models)
    assert entries(rig, run, "readmitted") == [{"text": "model kiosk-3: a bad batch", "by": "ann"}]
    [entry] = [e for e in rig.do(system.audit) if e.verb == "run.readmit"]
    assert (entry.subject, entry.reason) == (run, "model kiosk-3: a bad batch")
    rig.do(runs.promote, run=run, stage="rest")
    rig.succeed(*BAD[2:])
    assert rig.counters(run, 1) == {"succeeded": 4}


def test_a_model_is_readmitted_by_who_controls_runs_with_a_reason_and_where_it_is_quarantined(rig: Rig) -> None:
    run = two_stages(rig)
    with pytest.raises(NotAllowed):
        rig.do(runs.readmit, Actor(name="eve", role=Role.VIEWER), run=run, model="kiosk-3", reason="x")
    with pytest.raises(InvalidRequest):
        rig.do(runs.readmit, run=run, model="kiosk-3", reason=" ")
    with pytest.raises(Conflict, match=r"model k1 is not quarantined in run .*; quarantined: model kiosk-3"):
        rig.do(runs.readmit, run=run, model="k1", reason="x")
    with pytest.raises(NotFound):
        rig.do(runs.readmit, run="r-none", model="kiosk-3", reason="x")
    rig.do(runs.terminate, run=run, reason="enough")
    with pytest.raises(Conflict):
        rig.do(runs.readmit, run=run, model="kiosk-3", reason="x")


def test_a_retry_with_cancelled_devices_takes_up_whom_a_quarantine_called_off(rig: Rig) -> None:
    run = rig.start(wide(), **ALPHA)
    rig.succeed(*GOOD)
    rig.fail(*BAD[:2])
    for name in BAD[2:]:
        rig.report(name, AttemptState.CANCELLED, reason=Reason.CANCELLED)
    again = rig.do(reruns.retry, run=run, with_cancelled=True).id
    assert {t.device for t in rig.do(runs.targets, run=again).items} == set(BAD)
    assert gate_of(rig.view(again)) == {"kiosk-3": (6, 0, 0, None, False)}


def test_a_device_keeps_the_model_with_which_it_joined(rig: Rig) -> None:
    run = rig.start(wide(), **ALPHA)
    rig.enrol(device_id(BAD[0]), model="kiosk-4")
    assert rig.target(run, BAD[0]).model == "kiosk-3"
