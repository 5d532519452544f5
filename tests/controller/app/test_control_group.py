"""A stage with a control group: who is watched, what is compared, and how those are updated that were held back."""

from typing import Any

import msgspec
import pytest

from controller.app import jobs, pipelines, preview, reruns, runs, why
from controller.app.errors import Conflict
from controller.app.records import TargetRecord
from controller.app.repositories import Transaction
from controller.domain.pipeline import Control, Gate, OnBreach, OnFailure, Operation, Pace, PerSite, Pipeline, Timeouts
from controller.domain.target import TargetState
from protocol.health import HEALTH, WATCH, Mark
from protocol.lifecycle import AttemptState
from protocol.messages import InstalledRelease
from protocol.units import HOUR, SECOND, Millis
from tests.controller.app.rig import APP, Rig, stage

CAPABLE: dict[str, Any] = {"capabilities": ("install", HEALTH, WATCH)}
HELD = Gate(soak_ms=int(HOUR), success_percent=50, control=Control(share_percent=50))
NAMES = tuple(f"d{number:02}" for number in range(8))


def rigged(*names: str, **hello: Any) -> Rig:
    rig = Rig()
    rig.enrol(*names)
    rig.connect(*names, **(CAPABLE | hello))
    return rig


def rows(rig: Rig, run: str) -> dict[str, TargetRecord]:
    def work(tx: Transaction) -> list[TargetRecord]:
        record = tx.runs.by_uid(run)
        assert record is not None
        return list(tx.targets.page(record.id, stage=None, state=None, after=-1, limit=1_000))

    return {row.name.split(":")[1]: row for row in rig.wait(rig.store.read(work))}


def held(rig: Rig, run: str) -> list[str]:
    return [name for name, row in rows(rig, run).items() if row.target.is_control]


def others(rig: Rig, run: str) -> list[str]:
    return [name for name, row in rows(rig, run).items() if not row.target.is_control]


def passed(rig: Rig, **fields: Any) -> tuple[str, list[str], list[str]]:
    """Return a run whose one stage has passed, who was held back, and who was not."""
    run = rig.start(stage(gate=HELD, **fields))
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched)
    rig.succeed(*updated)
    rig.sleep(int(HOUR) + SECOND)
    return run, watched, updated


def test_control_devices_are_told_to_watch_what_they_have_and_all_others_to_install() -> None:
    rig = rigged(*NAMES)
    run = rig.start(stage(gate=HELD, timeouts=Timeouts(stage_ms=int(2 * HOUR))))
    assert (len(held(rig, run)), rig.counters(run)) == (4, {"in_progress": 4})
    for name in NAMES:
        command = rig.last_install(name)[1]
        if name in held(rig, run):
            assert (command.op, command.apps, command.releases, command.urls) == ("watch", ("shop",), (), ())
            assert (command.watch_ms, command.attempt, command.env, command.params) == (3 * HOUR, 1, {}, {})
        else:
            assert (command.op, command.apps, len(command.releases), command.watch_ms) == ("install", (), 1, HOUR)


def test_who_cannot_watch_what_it_has_stays_in_the_queue_until_it_is_updated() -> None:
    rig = rigged(*NAMES, capabilities=("install", HEALTH))
    run = rig.start(stage(gate=HELD))
    watched, updated = held(rig, run), others(rig, run)
    assert {rows(rig, run)[name].blocked for name in watched} == {"not_capable"}
    assert all(not rig.devices[name].commands for name in watched)
    rig.succeed(*updated)
    rig.sleep(int(HOUR) + SECOND)
    assert rig.view(run).stages[0].state == "passed"
    assert [rig.last_install(name)[1].op for name in watched] == ["install"] * 4
    rig.succeed(*watched)
    assert (rig.view(run).state, rig.counters(run)) == ("succeeded", {"succeeded": 8})


def test_control_devices_are_updated_once_their_stage_has_passed() -> None:
    rig = rigged(*NAMES)
    run, watched, _ = passed(rig)
    assert (rig.view(run).stages[0].state, rig.view(run).state) == ("passed", "running")
    assert rig.counters(run) == {"succeeded": 4, "in_progress": 4}
    assert [(rig.last_install(name)[1].op, rig.last_install(name)[1].attempt) for name in watched] == [
        ("install", 2)
    ] * 4
    rig.succeed(*watched)
    assert (rig.view(run).state, rig.counters(run)) == ("succeeded", {"succeeded": 8})
    assert {row.target.watches for row in rows(rig, run).values()} == {0, 1}
    assert "discharged" in [event.kind for event in rig.do(runs.events, run=run)]


def test_one_that_is_not_connected_at_the_discharge_is_updated_when_it_comes_back() -> None:
    rig = rigged(*NAMES)
    run = rig.start(stage(gate=HELD))
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched)
    rig.succeed(*updated)
    rig.lose(watched[0])
    rig.sleep(int(HOUR) + SECOND)
    assert rig.counters(run) == {"succeeded": 4, "in_progress": 3, "queued": 1}
    rig.connect(watched[0], **CAPABLE)
    assert rig.last_install(watched[0])[1].op == "install"


def test_one_still_at_work_is_discharged_when_that_has_ended() -> None:
    rig = rigged(*NAMES)
    run = rig.start(stage(gate=HELD))
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched[1:])
    rig.report(watched[0], AttemptState.ACCEPTED)
    rig.succeed(*updated)
    rig.sleep(int(HOUR) - 60 * SECOND)
    rig.hello(watched[0], **CAPABLE)
    rig.sleep(61 * SECOND)
    assert rig.view(run).stages[0].state == "passed"
    rig.sleep(int(HOUR))
    assert {row.target.is_control for row in rows(rig, run).values()} == {False}


def test_what_control_devices_tell_after_their_discharge_counts_nowhere() -> None:
    rig = rigged(*NAMES)
    run = rig.start(stage(gate=HELD))
    watched, updated = held(rig, run), others(rig, run)
    watches = {name: rig.last_install(name) for name in watched}
    rig.watch(*watched)
    rig.succeed(*updated)
    rig.sleep(int(HOUR) + SECOND)
    for name in watched:
        rig.ail(name, Mark.CRASHED, command=watches[name])
    assert not any(row.target.is_unwell for row in rows(rig, run).values())
    rig.succeed(*watched)
    assert rig.view(run).state == "succeeded"


def crashed(rig: Rig, run: str, names: list[str], state: str) -> int:
    """Let updated devices crash until the run is as wanted; return how many did."""
    for count, name in enumerate(names, start=1):
        rig.ail(name, Mark.CRASHED)
        view = rig.view(run)
        if state in {view.state, *view.pause_reasons}:
            return count
    raise AssertionError("the crashes of all did nothing")


def soaking(gate: Gate = HELD) -> tuple[Rig, str, list[str], list[str]]:
    names = [f"d{number:02}" for number in range(60)]
    rig = rigged(*names)
    run = rig.start(stage(gate=gate, pace=Pace(max_in_flight=60)))
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched)
    rig.succeed(*updated)
    return rig, run, watched, updated


def test_a_stage_fails_whose_updated_devices_crash_more_and_nobody_held_back_is_updated() -> None:
    rig, run, watched, updated = soaking()
    count = crashed(rig, run, updated, "failed")
    assert 4 < count < 15
    seen = rig.view(run).stages[0]
    assert seen.reason.startswith(f"{count} of 30 updated crashed, 0 of 30 held back; evidence ")
    assert (seen.failures, seen.unwell, seen.counters.succeeded) == (0, 0, 30)
    assert {rows(rig, run)[name].target.state for name in watched} == {TargetState.SUCCEEDED}
    assert {len(rig.devices[name].commands) for name in watched} == {1}


def test_crashes_that_befall_all_alike_stop_nothing() -> None:
    rig, run, watched, updated = soaking()
    for one, other in zip(watched, updated, strict=True):
        rig.ail(one, Mark.CRASHED)
        rig.ail(other, Mark.CRASHED)
    rig.sleep(int(HOUR) + SECOND)
    assert rig.view(run).stages[0].state == "passed"


def test_going_on_over_crashes_takes_an_override() -> None:
    rig, run, _, updated = soaking(msgspec.structs.replace(HELD, on_breach=OnBreach.PAUSE))
    crashed(rig, run, updated, "crashes:all")
    with pytest.raises(
        Conflict, match="updated devices of stage all crash more than those held back: resume with over"
    ):
        rig.do(runs.resume, run=run)
    rig.do(runs.resume, run=run, override=True, reason="known")
    assert not rig.view(run).paused


def test_control_devices_take_no_place_at_their_site() -> None:
    rig = Rig()
    rig.enrol("a", "b", "c", "d", site="pier")
    rig.connect("a", "b", "c", "d", **CAPABLE)
    run = rig.start(stage(gate=HELD, pace=Pace(per_site=PerSite(label="site", max=1))))
    assert rig.counters(run) == {"queued": 1, "in_progress": 1}
    assert {rows(rig, run)[name].target.state for name in held(rig, run)} == {TargetState.IN_PROGRESS}


def test_a_rollback_takes_back_who_was_updated_and_nobody_who_was_held_back() -> None:
    before = InstalledRelease(app=APP, version="0.9.0", counter=1)
    rig = rigged(*NAMES, installed=(before,))
    rig.publish("0.9.0", 1)
    rig.publish("1.0.0", 2)
    gate = msgspec.structs.replace(HELD, success_percent=100)
    run = rig.start_published(stage(gate=gate, on_failure=OnFailure.ROLLBACK))
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched)
    rig.succeed(*updated[1:])
    rig.fail(updated[0])
    back = rig.view(run).rolled_back_by
    assert back
    assert sorted(rows(rig, back)) == sorted(updated)


def test_a_retry_takes_those_up_that_were_held_back_to_the_end_where_it_is_asked_for() -> None:
    rig = rigged(*NAMES)
    run = rig.start(stage(gate=msgspec.structs.replace(HELD, success_percent=100)))
    watched, updated = held(rig, run), others(rig, run)
    rig.watch(*watched)
    rig.succeed(*updated[1:])
    rig.fail(updated[0])
    assert rig.view(run).state == "failed"
    again = rig.do(reruns.retry, run=run, with_cancelled=True)
    assert sorted(rows(rig, again.id)) == sorted([*watched, updated[0]])


def test_people_see_what_is_compared_and_who_is_held_back() -> None:
    rig, run, watched, updated = soaking()
    rig.ail(updated[0], Mark.CRASHED)
    rig.ail(watched[0], Mark.UNWELL)
    seen = rig.view(run).stages[0].gate.control
    assert seen is not None
    assert seen.said.startswith("1 of 30 updated crashed, 1 of 30 held back; evidence ")
    assert (seen.held, seen.left, seen.threshold, seen.is_breached, seen.breached_at) == (30, 30, 200.0, False, None)
    shown = {one.device: one for one in rig.do(runs.targets, run=run).items}
    assert (shown[watched[0]].is_control, shown[watched[0]].waits_for) == (True, "held back until the stage has passed")
    assert (shown[updated[0]].is_control, shown[updated[0]].waits_for) == (False, "")
    rig.sleep(int(HOUR) + SECOND)
    after = rig.view(run).stages[0].gate.control
    assert after is not None
    assert (after.said, after.left) == (seen.said, 0)


def test_people_see_what_was_known_when_updated_devices_crashed_more() -> None:
    rig, run, _, updated = soaking()
    crashed(rig, run, updated, "failed")
    seen = rig.view(run).stages[0].gate.control
    assert seen is not None
    assert (seen.is_breached, seen.evidence) == (True, rig.view(run).stages[0].reason)
    assert seen.breached_at is not None


def test_who_was_held_back_waits_for_nothing_once_the_stage_did_not_pass() -> None:
    rig, run, watched, updated = soaking()
    crashed(rig, run, updated, "failed")
    shown = {one.device: one for one in rig.do(runs.targets, run=run).items}
    assert (shown[watched[0]].is_control, shown[watched[0]].waits_for) == (True, "")


def test_a_device_that_is_held_back_says_so_and_what_ends_it() -> None:
    rig = rigged(*NAMES)
    run = rig.start(stage(gate=HELD))
    name = held(rig, run)[0]
    text = "it is held back as control group of stage all: updated once the stage has passed"
    assert rig.do(why.of_run, run=run, device=name).facts[0].text == text
    rig.do(runs.skip, run=run, stage="all", reason="not now")
    rig.watch(*held(rig, run))
    assert rig.do(why.of_run, run=run, device=name).facts[0].code == "control"
    assert "did not come to update it" in rig.do(why.of_run, run=run, device=name).facts[0].text


def test_a_preview_says_how_many_would_be_held_back_and_who_begins_first() -> None:
    rig = rigged(*NAMES)
    rig.publish()
    rig.do(pipelines.apply, definition=Pipeline(name="rollout", stages=(stage(gate=HELD),)))
    rig.do(jobs.apply, name="job", pipeline="rollout", operation=Operation(app=APP, version="1.0.0"))
    view = rig.do(preview.show, subject=preview.Subject(job="job"))
    assert (view.stages[0].devices, view.stages[0].control) == (8, 4)
    run = rig.do(runs.start, job="job", salt=view.salt).id
    assert sorted(view.stages[0].first) == sorted(others(rig, run))


def test_a_quarter_of_a_second_look_changes_nothing() -> None:
    rig = rigged(*NAMES)
    run, _, _ = passed(rig)
    before = rows(rig, run)
    rig.sleep(Millis(250))
    assert rows(rig, run) == before


def test_a_stage_of_one_device_has_nobody_to_hold_back_and_counts_its_crash() -> None:
    rig = rigged("a")
    run = rig.start(stage(gate=HELD))
    rig.succeed("a")
    rig.ail("a", Mark.CRASHED)
    assert (rig.view(run).stages[0].failures, rig.view(run).stages[0].unwell) == (1, 1)
