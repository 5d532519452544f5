"""Which run gets a device that several wait for: that of highest priority, then the oldest."""

from typing import Any

import pytest

from controller.app import jobs, pipelines, runs
from controller.app.errors import InvalidRequest
from controller.app.ports import Uplinked
from controller.domain.pipeline import PRIORITY_MAX, Operation, Pace, Pipeline, Retry, Targets, Timeouts
from protocol.ids import DeviceId
from protocol.lifecycle import AttemptState, Left
from protocol.messages import WorkInHand
from protocol.topics import UplinkKind
from protocol.units import DAY, MINUTE, SECOND
from tests.controller.app.rig import APP, Rig, stage

SHORT = Timeouts(accept_ms=MINUTE, lease_ms=2 * MINUTE, stage_ms=DAY)
CASES = pytest.mark.parametrize(("older", "newer", "winner"), [(0, 0, "older"), (0, 1, "newer"), (0, -1, "older")])


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", "b")
    rig.publish()
    return rig


def start(rig: Rig, name: str, *devices: str, priority: int = 0, **options: Any) -> str:
    """Start the run of a job of its own over *devices*."""
    targets = Targets(devices=tuple(DeviceId(device) for device in devices))
    rig.do(pipelines.apply, definition=Pipeline(name=name, stages=(stage(targets=targets, **options),)))
    operation = Operation(app=APP, version="1.0.0")
    rig.do(jobs.create, name=name, pipeline=name, operation=operation, priority=priority)
    return str(rig.do(runs.start, job=name).id)


def at_work(rig: Rig, waiting: dict[str, str], device: str) -> list[str]:
    """Return which of the runs has the device at work."""
    return [name for name, run in waiting.items() if rig.target(run, device).state == "in_progress"]


def two_waiting(rig: Rig, older: int, newer: int, *devices: str) -> dict[str, str]:
    return {
        "older": start(rig, "older", *devices, priority=older),
        "newer": start(rig, "newer", *devices, priority=newer),
    }


@CASES
def test_a_device_that_ends_its_work_goes_on_with_the_run_of_highest_priority(
    rig: Rig, older: int, newer: int, winner: str
) -> None:
    rig.connect("a")
    start(rig, "first", "a")
    waiting = two_waiting(rig, older, newer, "a")
    rig.succeed("a")
    assert at_work(rig, waiting, "a") == [winner]
    rig.succeed("a")
    rig.succeed("a")
    assert {rig.view(run).state for run in waiting.values()} == {"succeeded"}


@CASES
def test_a_device_that_comes_online_begins_with_the_run_of_highest_priority(
    rig: Rig, older: int, newer: int, winner: str
) -> None:
    waiting = two_waiting(rig, older, newer, "a")
    rig.connect("a")
    assert at_work(rig, waiting, "a") == [winner]


@CASES
def test_a_device_whose_lease_ended_goes_on_with_the_run_of_highest_priority(
    rig: Rig, older: int, newer: int, winner: str
) -> None:
    rig.connect("a")
    start(rig, "first", "a", timeouts=SHORT, retry=Retry(attempts_max=1))
    rig.report("a", AttemptState.DOWNLOADING)
    waiting = two_waiting(rig, older, newer, "a")
    rig.sleep(2 * MINUTE + 10 * SECOND)
    assert at_work(rig, waiting, "a") == [winner]


@pytest.mark.parametrize(("priority", "winner"), [(0, "first"), (1, "urgent")])
def test_a_run_that_has_a_slot_again_leaves_what_was_freed_with_it_to_a_run_of_higher_priority(
    rig: Rig, priority: int, winner: str
) -> None:
    rig.connect("a")
    first = start(rig, "first", "a", "b", pace=Pace(max_in_flight=1))
    rig.connect("b")
    start(rig, "second", "b")
    waiting = {"first": first, "urgent": start(rig, "urgent", "b", priority=priority)}
    done = [rig.signed_report(name, AttemptState.SUCCEEDED, left=Left.NEW) for name in ("a", "b")]
    rig.receive(
        [
            Uplinked(name=rig.devices[name].name, kind=UplinkKind.REPORT, payload=payload)
            for name, payload in zip(("a", "b"), done, strict=True)
        ]
    )
    assert at_work(rig, waiting, "b") == [winner]


def test_a_priority_out_of_range_is_refused(rig: Rig) -> None:
    with pytest.raises(InvalidRequest, match=rf"priority {PRIORITY_MAX + 1}: expected -{PRIORITY_MAX} to"):
        start(rig, "first", "a", priority=PRIORITY_MAX + 1)


def test_a_run_keeps_the_priority_that_its_job_tells(rig: Rig) -> None:
    start(rig, "first", "a", priority=7)
    assert [job.priority for job in rig.do(jobs.list_jobs)] == [7]


def test_a_device_at_work_for_a_run_that_gave_it_up_is_soon_asked_again_by_the_next(rig: Rig) -> None:
    """Its command could not be sent while it was away; what says that it is free again is only its report."""
    rig.connect("a")
    first = start(rig, "first", "a", timeouts=SHORT, retry=Retry(attempts_max=1))
    digest, given = rig.last_install("a")
    rig.report("a", AttemptState.INSTALLING)
    second = start(rig, "second", "a")
    rig.wire.is_full = True
    rig.sleep(2 * MINUTE)
    assert rig.target(second, "a").state == "in_progress"
    rig.lose("a")
    rig.pump()
    rig.sleep(20 * SECOND)
    rig.wire.is_full = False

    work = WorkInHand(command=digest, run=first, attempt=1, state=AttemptState.INSTALLING, epoch=given.epoch)
    rig.connect("a", work=work)
    assert rig.last_install("a")[0] == digest
    rig.sleep(20 * SECOND)
    assert rig.last_install("a")[1].run == second
