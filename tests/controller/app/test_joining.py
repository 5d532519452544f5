"""Devices that come to match an open stage that includes new ones join it, behind everybody else, and once."""

from typing import Any

import pytest

from controller.app import devices, groups, jobs, pipelines, runs, tokens
from controller.app.access import Actor
from controller.app.views import Page, TargetView
from controller.domain.pipeline import Gate, Operation, Pace, Pipeline, Stage, Targets
from protocol.ids import AppName, StageName, device_id, digest_of
from protocol.lifecycle import AttemptState, Left
from protocol.messages import InstalledRelease
from protocol.units import HOUR, later
from tests.controller.app.rig import APP, Rig, stage

EU = {"region": "eu"}


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", "b", region="eu")
    rig.enrol("z", region="us")
    rig.connect("a", "b", "z")
    return rig


def eu(**fields: Any) -> Stage:
    return stage("eu", targets=Targets(labels=EU, include_new=True), **fields)


def members(rig: Rig, run: str) -> list[str]:
    page: Page[TargetView] = rig.do(runs.targets, run=run)
    return [target.device for target in page.items]


def label(rig: Rig, device: str, **labels: str) -> None:
    rig.do(devices.set_labels, device=device, labels=labels)


def test_a_device_that_is_labelled_later_joins_at_the_end_and_is_updated(rig: Rig) -> None:
    run = rig.start(eu())
    before = members(rig, run)
    label(rig, "z", region="eu")

    assert members(rig, run) == [*before, "z"]
    assert rig.counters(run) == {"in_progress": 3}
    rig.succeed("a", "b", "z")
    assert rig.view(run).state == "succeeded"
    assert rig.counters(run) == {"succeeded": 3}


def test_a_stage_that_does_not_include_new_ones_takes_nobody(rig: Rig) -> None:
    run = rig.start(stage("eu", targets=Targets(labels=EU)))
    label(rig, "z", region="eu")
    rig.hello("z")
    assert "z" not in members(rig, run)


def test_newcomers_wait_for_a_slot_like_all_others(rig: Rig) -> None:
    run = rig.start(eu(pace=Pace(max_in_flight=2)))
    label(rig, "z", region="eu")
    assert rig.counters(run) == {"in_progress": 2, "queued": 1}
    assert rig.target(run, "z").waits_for == "waiting for a free slot"


def test_shares_and_exclusions_hold_for_newcomers(rig: Rig) -> None:
    targets = Targets(exclude=(device_id("z"),), labels=EU, include_new=True)
    run = rig.start(
        stage("eu", targets=targets), stage("none", targets=Targets(labels=EU, percent=0, include_new=True))
    )
    label(rig, "z", region="eu")
    assert "z" not in members(rig, run)


def test_a_device_that_enrols_later_joins_and_waits_until_it_is_there(rig: Rig) -> None:
    run = rig.start(stage("all", targets=Targets(include_new=True)))
    made = rig.do(tokens.create_claim, uses=1, expires_at=later(rig.clock.time, HOUR))
    key = rig.devices["a"].key.public

    async def enrol(controller: Any, _actor: Actor) -> None:
        await devices.enrol(
            controller,
            claim=made.secret,
            device="late",
            model="k1",
            hardware_id="late",
            csr_pem="csr",
            signing_key=key,
            sealing_key=bytes(32),
        )

    rig.do(enrol)
    assert members(rig, run)[-1] == "late"
    assert rig.target(run, "late").waits_for == "the device is offline"


def test_a_device_joins_with_the_hello_that_says_what_it_is(rig: Rig) -> None:
    targets = Targets(query='labels.region == "eu" || facts.os == "linux"', include_new=True)
    run = rig.start(stage("some", targets=targets))
    rig.lose("z")
    rig.connect("z", facts={"os": "linux"})
    assert members(rig, run)[-1] == "z"
    assert rig.last("z")[1].op == "install"


def test_a_device_that_joins_or_leaves_a_group_joins_a_stage(rig: Rig) -> None:
    for path in ("shop", "shop/old"):
        rig.do(groups.create, path=path)
    rig.do(groups.add_devices, path="shop", devices=["a"])
    rig.do(groups.add_devices, path="shop/old", devices=["b"])
    targets = Targets(query='group("shop") && !group("shop/old")', include_new=True)
    run = rig.start(stage("shop", targets=targets))

    rig.do(groups.add_devices, path="shop", devices=["z", "b"])
    assert members(rig, run) == ["a", "z"]
    rig.do(groups.remove, path="shop/old", recursive=True)
    assert members(rig, run) == ["a", "z", "b"]


def test_a_device_whose_report_changes_what_it_has_joins(rig: Rig) -> None:
    before = rig.start(stage("us", targets=Targets(labels={"region": "us"})))
    rig.report("z", AttemptState.ACCEPTED)
    targets = Targets(query='labels.region == "eu" || app("till").version == "7"', include_new=True)
    rig.do(pipelines.apply, definition=Pipeline(name="till", stages=(stage("till", targets=targets),)))
    rig.do(jobs.create, name="till", pipeline="till", operation=Operation(app=APP, version="1.0.0"))
    run = rig.do(runs.start, job="till").id
    till = InstalledRelease(app=AppName("till"), version="7", sha256=digest_of(b"till"), counter=7)

    rig.report("z", AttemptState.SUCCEEDED, left=Left.NEW, installed=(till,))

    assert rig.view(before).state == "succeeded"
    assert members(rig, run)[-1] == "z"
    assert rig.target(run, "z").state == "in_progress"


def test_a_device_is_in_one_stage_of_a_run(rig: Rig) -> None:
    run = rig.start(
        eu(),
        stage("all", needs=(StageName("eu"),), targets=Targets(include_new=True), allow_empty=True),
    )
    label(rig, "z", region="eu")
    rig.succeed("a", "b", "z")
    assert sorted(members(rig, run)) == ["a", "b", "z"]
    assert rig.target(run, "z").stage == "eu"


def test_of_two_open_stages_the_first_takes_it(rig: Rig) -> None:
    run = rig.start(
        eu(), stage("us", targets=Targets(query='labels.region != "eu" || labels.both == "yes"', include_new=True))
    )
    rig.enrol("n", region="ap")
    label(rig, "n", region="eu", both="yes")
    assert rig.target(run, "n").stage == "eu"


def test_a_stage_that_soaks_or_has_passed_takes_nobody(rig: Rig) -> None:
    run = rig.start(eu(gate=Gate(soak_ms=int(HOUR))))
    rig.succeed("a", "b")
    label(rig, "z", region="eu")
    assert sorted(members(rig, run)) == ["a", "b"]
    rig.sleep(2 * HOUR)
    assert rig.view(run).state == "succeeded"
    rig.hello("z")
    assert sorted(members(rig, run)) == ["a", "b"]


def test_a_blocked_device_joins_once_it_is_let_in_again(rig: Rig) -> None:
    run = rig.start(eu())
    rig.do(devices.block, device="z", reason="stolen")
    label(rig, "z", region="eu")
    assert "z" not in members(rig, run)
    rig.do(devices.unblock, device="z", reason="found")
    assert members(rig, run)[-1] == "z"


def test_a_paused_run_takes_newcomers_and_sends_them_nothing(rig: Rig) -> None:
    run = rig.start(eu())
    rig.do(runs.pause, run=run, reason="lunch")
    label(rig, "z", region="eu")
    assert members(rig, run)[-1] == "z"
    assert not rig.devices["z"].commands
    rig.do(runs.resume, run=run)
    assert rig.last("z")[1].op == "install"


def test_saying_hello_again_changes_nothing(rig: Rig) -> None:
    run = rig.start(eu())
    rig.hello("a")
    label(rig, "z", region="eu")
    rig.hello("z")
    assert len(members(rig, run)) == 3


def test_the_run_of_higher_priority_gets_a_device_that_joins_two(rig: Rig) -> None:
    low = rig.start(eu())
    rig.do(jobs.create, name="urgent", pipeline="rollout", operation=Operation(app=APP, version="1.0.0"), priority=5)
    high = rig.do(runs.start, job="urgent").id
    label(rig, "z", region="eu")
    assert rig.target(high, "z").state == "in_progress"
    assert rig.target(low, "z").state == "queued"
