"""Something of a device has changed: all runs that it concerns look at it once, the most urgent first."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from controller.app import devices, groups, jobs, pipelines, runs, tokens
from controller.app.access import Actor
from controller.app.heartbeat import BEAT_MS
from controller.app.ports import Priority
from controller.app.records import RunRecord
from controller.domain.pipeline import Operation, Pace, Pipeline, Stage, Targets
from controller.store.runs import SqlRuns
from protocol.units import HOUR, later
from simulator.memory.runs import MemoryRuns
from tests.controller.app.rig import APP, Rig, stage

NEW_IN_EU = Targets(labels={"region": "eu"}, include_new=True)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", region="eu")
    rig.enrol("z", region="us")
    rig.publish()
    return rig


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each run was saved."""
    counted: Counter[str] = Counter()

    def counting(save: Any) -> Any:
        def noted(self: Any, run: RunRecord) -> None:
            counted[run.uid] += 1
            save(self, run)

        return noted

    for kind in (SqlRuns, MemoryRuns):
        monkeypatch.setattr(kind, "save", counting(kind.save))
    return counted


def start(rig: Rig, name: str, *stages: Stage, priority: int = 0) -> str:
    """Start the run of a job of its own."""
    rig.do(pipelines.apply, definition=Pipeline(name=name, stages=stages))
    operation = Operation(app=APP, version="1.0.0")
    rig.do(jobs.create, name=name, pipeline=name, operation=operation, priority=priority)
    return rig.do(runs.start, job=name).id


def enrol_anew(rig: Rig, device: str) -> None:
    made = rig.do(tokens.create_claim, uses=1, expires_at=later(rig.clock.time, HOUR))
    papers: dict[str, Any] = {"model": "k2", "hardware_id": device, "csr_pem": "csr", "sealing_key": bytes(32)}

    async def enrol(controller: Any, _actor: Actor) -> None:
        key = rig.devices[device].key.public
        await devices.enrol(controller, claim=made.secret, device=device, signing_key=key, **papers)

    rig.do(enrol)


def test_a_label_lets_a_device_go_in_one_run_and_join_another_and_each_is_saved_once(
    rig: Rig, saved: Counter[str]
) -> None:
    rig.connect("a", "z")
    waiting = start(rig, "waiting", stage(preconditions='labels.region == "eu"'))
    joined = start(rig, "joined", stage(targets=NEW_IN_EU))
    rig.succeed("a")
    saved.clear()

    rig.do(devices.set_labels, device="z", labels={"region": "eu"})

    assert saved == {waiting: 1, joined: 1}
    assert (rig.target(waiting, "z").state, rig.target(joined, "z").state) == ("in_progress", "queued")


def test_the_more_urgent_run_gets_a_device_that_joins_it_though_another_waits_for_that(rig: Rig) -> None:
    rig.connect("z")
    waiting = start(rig, "waiting", stage(preconditions='labels.region == "eu"'))
    urgent = start(rig, "urgent", stage(targets=NEW_IN_EU), priority=5)

    rig.do(devices.set_labels, device="z", labels={"region": "eu"})

    assert (rig.target(waiting, "z").state, rig.target(urgent, "z").state) == ("queued", "in_progress")


def test_the_more_urgent_run_gets_a_device_that_joins_it_by_its_report_though_another_waits_for_it(rig: Rig) -> None:
    rig.connect("z")
    start(rig, "first", stage(targets=Targets(labels={"region": "us"})))
    waiting = start(rig, "waiting", stage(targets=Targets(labels={"region": "us"})))
    targets = Targets(query='labels.region == "eu" || app("shop").version == "1.0.0"', include_new=True)
    urgent = start(rig, "urgent", stage(targets=targets), priority=5)

    rig.succeed("z")

    assert (rig.target(waiting, "z").state, rig.target(urgent, "z").state) == ("queued", "in_progress")


def test_who_waits_goes_before_who_joins_by_the_same_change(rig: Rig, saved: Counter[str]) -> None:
    rig.do(groups.create, path="shop")
    rig.connect("a", "z")
    targets = Targets(query='labels.region == "eu" || group("shop")', include_new=True)
    run = start(rig, "job", stage(targets=targets, preconditions='group("shop")', pace=Pace(max_in_flight=1)))
    saved.clear()

    rig.do(groups.add_devices, path="shop", devices=["a", "z"])

    assert saved == {run: 1}
    assert (rig.target(run, "a").state, rig.target(run, "z").state) == ("in_progress", "queued")


def test_a_group_that_goes_concerns_those_that_were_in_groups_below_it(rig: Rig, saved: Counter[str]) -> None:
    rig.do(groups.create, path="old/stock")
    rig.do(groups.add_devices, path="old/stock", devices=["a"])
    rig.connect("a", "z")
    run = start(rig, "job", stage(preconditions='!group("old") && labels.region == "eu"'))
    saved.clear()

    rig.do(groups.remove, path="old", recursive=True)

    assert saved == {run: 1}
    assert (rig.target(run, "a").state, rig.target(run, "z").blocked) == ("in_progress", "precondition")


def test_who_enrols_anew_is_judged_anew_and_offline_until_it_says_hello(rig: Rig) -> None:
    rig.connect("z")
    run = start(rig, "job", stage(targets=Targets(labels={"region": "us"}), preconditions='model == "k2"'))
    assert rig.target(run, "z").blocked == "precondition"

    enrol_anew(rig, "z")
    assert rig.target(run, "z").waits_for == "the device is offline"
    assert not rig.devices["z"].commands

    rig.connect("z")
    assert rig.last("z")[1].op == "install"


# --- who was away takes what is true when they look again -----------------------------------------------------------

OF_EU = Targets(query='labels.region == "eu" || group("eu") || model == "k2"')


def away(rig: Rig, *, since_ms: int = HOUR) -> None:
    """Let the controller be away: a stage has become due since it looked last, and opens when somebody looks again."""
    rig.wait(rig.store.write(lambda tx: tx.log.beat(rig.clock.time), priority=Priority.OPERATOR))
    rig.clock.time = later(rig.clock.time, since_ms)


def members(rig: Rig, run: str) -> list[str]:
    return sorted(target.device for target in rig.do(runs.targets, run=run).items)


def delayed() -> Stage:
    return stage(targets=OF_EU, delay_ms=BEAT_MS - 1)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rig: rig.do(devices.set_labels, device="z", labels={"region": "eu"}), ["a", "z"]),
        (lambda rig: rig.do(groups.add_devices, path="eu", devices=["z"]), ["a", "z"]),
        (lambda rig: rig.do(devices.unblock, device="b", reason="mended"), ["a", "b"]),
        (lambda rig: enrol_anew(rig, "z"), ["a", "z"]),
    ],
    ids=["label", "group", "unblock", "enrol"],
)
def test_who_comes_to_match_by_what_wakes_the_runs_is_a_member_of_the_stage_that_opens(
    rig: Rig, change: Callable[[Rig], Any], expected: list[str]
) -> None:
    rig.do(groups.create, path="eu")
    rig.enrol("b", region="eu")
    rig.do(devices.block, device="b", reason="broken")
    run = start(rig, "delayed", delayed())
    away(rig)

    change(rig)

    assert members(rig, run) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rig: rig.do(devices.set_labels, device="b", labels={"region": "us"}), ["a", "c"]),
        (lambda rig: rig.do(devices.block, device="b", reason="broken"), ["a", "c"]),
        (lambda rig: rig.do(groups.drop_devices, path="eu", devices=["c"]), ["a", "b"]),
        (lambda rig: rig.do(groups.remove, path="eu", recursive=True), ["a", "b"]),
    ],
    ids=["label", "block", "drop", "remove"],
)
def test_who_matches_no_more_by_what_wakes_the_runs_is_no_member_of_the_stage_that_opens(
    rig: Rig, change: Callable[[Rig], Any], expected: list[str]
) -> None:
    rig.do(groups.create, path="eu")
    rig.enrol("b", region="eu")
    rig.enrol("c", region="us")
    rig.do(groups.add_devices, path="eu", devices=["c"])
    run = start(rig, "delayed", delayed())
    away(rig)

    change(rig)

    assert members(rig, run) == expected
