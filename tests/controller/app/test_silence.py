"""Devices that stay away after their success, from the will of their connection to what the run makes of it."""

from collections.abc import Callable
from typing import Any

import pytest

from controller.app import devices, removing, runs, wakeups, why
from controller.app import silence as watching
from controller.app.ports import Disposition, Priority
from controller.app.repositories import Transaction
from controller.domain.pipeline import FailureLimit, Gate, Targets
from protocol.codec import encode
from protocol.health import Mark
from protocol.ids import device_id
from protocol.lifecycle import AttemptState, Left
from protocol.messages import Gone
from protocol.topics import UplinkKind
from protocol.units import HOUR, MINUTE, SECOND, later
from tests.controller.app.rig import Rig, stage

UPDATED = ("a", "b", "c", "d")
OTHERS = ("v", "w", "x")
GATE = Gate(soak_ms=2 * HOUR, silent_after_ms=30 * MINUTE, success_percent=50, failures=FailureLimit(count=1))


@pytest.fixture
def rig() -> Rig:
    """Return a rig with four devices to be updated, and three others."""
    rig = Rig()
    rig.enrol(*UPDATED, wave="first")
    rig.enrol(*OTHERS, wave="later")
    rig.connect(*UPDATED, *OTHERS)
    return rig


def start_again(rig: Rig) -> None:
    """Have a new life of the controller, that knows of no connection."""
    rig.wire.instance += 1
    rig.wire.sessions.clear()
    rig.controller = rig.new_controller()
    rig.inbox.open(rig.controller)
    rig.wait(wakeups.recover(rig.controller))


def readmit(tx: Transaction) -> None:
    """Have device *a* in the fleet again, as when it is unblocked or enrolled anew."""
    tx.devices.set_blocked(device_id("a"), is_blocked=False)


def updated(rig: Rig, gate: Gate = GATE) -> str:
    """Return a run, four devices of which have succeeded."""
    run = rig.start(stage(gate=gate, targets=Targets(labels={"wave": "first"})))
    rig.succeed(*UPDATED)
    return run


def pass_time(rig: Rig, span_ms: int, *, except_for: str = "") -> None:
    """Let time pass in which whoever is connected says hello now and then."""
    for _ in range(span_ms // int(10 * MINUTE)):
        rig.sleep(10 * MINUTE)
        for name in (*UPDATED, *OTHERS):
            if rig.wire.session(rig.devices[name].name) and name not in except_for:
                assert rig.hello(name) is Disposition.STORED


def blamed(rig: Rig, run: str) -> tuple[int, int]:
    seen = rig.view(run).stages[0]
    return seen.failures, seen.unwell


def test_a_device_that_stays_away_for_too_long_counts_as_failed(rig: Rig) -> None:
    run = updated(rig)
    rig.lose("a")
    rig.sleep(30 * MINUTE - SECOND)
    for name in "bcdvwx":
        rig.hello(name)
    assert blamed(rig, run) == (0, 0)
    rig.sleep(SECOND)
    assert blamed(rig, run) == (1, 1)
    assert rig.view(run).stages[0].counters.succeeded == 4
    rig.lose("b")
    pass_time(rig, 30 * MINUTE)
    assert (blamed(rig, run), rig.view(run).state) == ((2, 2), "failed")


def test_people_see_who_fell_silent(rig: Rig) -> None:
    run = updated(rig)
    rig.lose("a")
    pass_time(rig, 30 * MINUTE)
    assert [rig.target(run, name).is_silent for name in "ab"] == [True, False]
    [fact] = rig.do(why.of_run, run=run, device="a").facts
    assert fact.text == "it succeeded in stage all; then it was offline for 30 min: counted as failed"
    [told] = [event for event in rig.do(runs.events, run=run) if event.kind == "silent"]
    assert told.data == {"stage": "all", "text": "1 device was offline for 30 min: counted as failed"}


def test_people_see_who_is_away_and_when_that_would_count(rig: Rig) -> None:
    run = updated(rig)
    [before] = rig.do(why.of_run, run=run, device="a").facts
    rig.lose("a")
    due = later(rig.clock.time, 30 * MINUTE)
    [fact] = rig.do(why.of_run, run=run, device="a").facts
    assert before.text == "it succeeded in stage all"
    assert fact.text == "it succeeded in stage all; it is offline now, and counts as failed if that lasts"
    assert (fact.change, before.until, fact.until) == ("it comes back", None, due)
    rig.connect("a")
    assert rig.do(why.of_run, run=run, device="a").facts == (before,)


def test_a_device_that_comes_back_in_time_does_not(rig: Rig) -> None:
    run = updated(rig)
    rig.lose("a")
    pass_time(rig, 20 * MINUTE)
    rig.connect("a")
    pass_time(rig, 120 * MINUTE)
    assert (blamed(rig, run), rig.view(run).state) == ((0, 0), "succeeded")


def test_to_come_back_later_takes_nothing_back_and_is_not_counted_again(rig: Rig) -> None:
    run = updated(rig)
    rig.lose("a")
    pass_time(rig, 30 * MINUTE)
    rig.connect("a")
    rig.lose("a")
    pass_time(rig, 40 * MINUTE)
    assert blamed(rig, run) == (1, 1)


def test_silence_that_begins_too_late_in_the_soak_is_not_waited_for(rig: Rig) -> None:
    run = updated(rig)
    pass_time(rig, 100 * MINUTE)
    rig.lose("a")
    pass_time(rig, 20 * MINUTE)
    assert (blamed(rig, run), rig.view(run).state) == ((0, 0), "succeeded")


def test_nobody_falls_silent_where_no_gate_asks(rig: Rig) -> None:
    run = updated(rig, Gate(soak_ms=2 * HOUR))
    rig.lose("a")
    pass_time(rig, 120 * MINUTE)
    assert (blamed(rig, run), rig.view(run).state) == ((0, 0), "succeeded")


def test_a_success_that_comes_after_the_will_begins_the_silence(rig: Rig) -> None:
    run = rig.start(stage(gate=GATE, targets=Targets(labels={"wave": "first"})))
    rig.succeed("b", "c", "d")
    late = rig.signed_report("a", AttemptState.SUCCEEDED, left=Left.NEW)
    rig.lose("a")
    rig.say("a", UplinkKind.REPORT, late)
    pass_time(rig, 30 * MINUTE)
    assert blamed(rig, run) == (1, 1)


def test_time_in_which_the_run_is_paused_is_no_silence(rig: Rig) -> None:
    run = updated(rig)
    rig.lose("a")
    rig.do(runs.pause, run=run, reason="look")
    pass_time(rig, 60 * MINUTE)
    rig.do(runs.resume, run=run, reason="go on")
    pass_time(rig, 20 * MINUTE)
    assert blamed(rig, run) == (0, 0)
    pass_time(rig, 10 * MINUTE)
    assert blamed(rig, run) == (1, 1)


def test_who_told_harm_is_counted_once(rig: Rig) -> None:
    run = updated(rig)
    rig.ail("a", Mark.CRASHED)
    rig.lose("a")
    pass_time(rig, 30 * MINUTE)
    assert blamed(rig, run) == (1, 1)


@pytest.mark.parametrize("comes_back", [False, True])
@pytest.mark.parametrize("act", [removing.remove, devices.block])
def test_whom_an_operator_shuts_out_is_not_the_builds_fault(
    rig: Rig, act: Callable[..., Any], comes_back: bool
) -> None:
    run = updated(rig)
    rig.lose("a")
    rig.do(act, device="a", reason="sold")
    if comes_back:
        rig.wait(rig.store.write(readmit, priority=Priority.OPERATOR))
    pass_time(rig, 120 * MINUTE, except_for="a")
    assert (blamed(rig, run), rig.view(run).state) == ((0, 0), "succeeded")


# --- we may be the ones who do not hear ---


def test_where_most_others_are_gone_as_well_the_run_is_held_and_nobody_is_blamed(rig: Rig) -> None:
    run = updated(rig)
    rig.lose("a", "v", "w")
    pass_time(rig, 30 * MINUTE)
    seen = rig.view(run)
    assert (blamed(rig, run), seen.pause_reasons) == ((0, 0), ("telemetry:all",))
    [paused] = [event for event in rig.do(runs.events, run=run) if event.kind == "paused"]
    assert paused.data["evidence"] == "1 device fell silent after its update, and 2 of 3 others went offline as well"


def test_after_a_hold_whoever_is_away_has_as_much_time_again_and_the_soak_begins_anew(rig: Rig) -> None:
    run = updated(rig)
    rig.lose("a", "v", "w")
    pass_time(rig, 30 * MINUTE)
    pass_time(rig, 240 * MINUTE)
    rig.connect("v", "w")
    rig.do(runs.resume, run=run, reason="the line is mended")
    pass_time(rig, 20 * MINUTE)
    assert blamed(rig, run) == (0, 0)
    pass_time(rig, 10 * MINUTE)
    assert (blamed(rig, run), rig.view(run).state) == ((1, 1), "running")
    pass_time(rig, 80 * MINUTE)
    assert rig.view(run).state == "running"
    pass_time(rig, 10 * MINUTE)
    assert rig.view(run).state == "succeeded"


def test_a_run_that_goes_on_while_the_others_are_still_gone_is_held_again(rig: Rig) -> None:
    run = updated(rig)
    rig.lose("a", "v", "w")
    pass_time(rig, 240 * MINUTE)
    rig.do(runs.resume, run=run, reason="it cannot be the line")
    pass_time(rig, 30 * MINUTE)
    assert (blamed(rig, run), rig.view(run).pause_reasons) == ((0, 0), ("telemetry:all",))


def test_where_nobody_at_all_is_heard_of_nobody_is_blamed(rig: Rig) -> None:
    run = updated(rig)
    rig.lose(*UPDATED)
    pass_time(rig, 40 * MINUTE, except_for="vwx")
    assert (blamed(rig, run), rig.view(run).pause_reasons) == ((0, 0), ("telemetry:all",))


def test_all_who_are_away_are_given_time_again_however_many(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PAGE", 2)
    monkeypatch.setattr(wakeups, "BATCH_MAX", 1)
    run = updated(rig)
    rig.lose(*UPDATED, *OTHERS)
    rig.sleep(30 * MINUTE)
    assert rig.view(run).pause_reasons == ("telemetry:all",)
    rig.connect(*OTHERS, "a", "b")
    rig.do(runs.resume, run=run, reason="the line is mended")
    pass_time(rig, 20 * MINUTE)
    assert blamed(rig, run) == (0, 0)
    pass_time(rig, 10 * MINUTE)
    rig.sleep(SECOND)
    assert (blamed(rig, run), rig.view(run).state) == ((2, 2), "failed")


def test_whoever_went_too_late_in_its_soak_to_count_is_given_time_by_a_hold_as_well(rig: Rig) -> None:
    run = updated(rig)
    pass_time(rig, 80 * MINUTE)
    rig.lose("a", "v", "w")
    pass_time(rig, 20 * MINUTE)
    rig.lose("b")
    pass_time(rig, 10 * MINUTE)
    assert rig.view(run).pause_reasons == ("telemetry:all",)
    rig.connect("v", "w")
    rig.do(runs.resume, run=run, reason="the line is mended")
    pass_time(rig, 30 * MINUTE)
    rig.sleep(SECOND)
    assert (blamed(rig, run), rig.view(run).state) == ((2, 2), "failed")


def test_where_the_clock_was_set_back_those_who_went_since_are_seen_to_have_gone(rig: Rig) -> None:
    run = updated(rig)
    rig.lose("a")
    rig.wait(wakeups.recover(rig.controller))  # writes a heartbeat, by which a start knows how far the clock jumped
    rig.clock.time = later(rig.clock.time, -2 * HOUR)
    start_again(rig)
    rig.sleep(10 * SECOND)
    rig.connect("b", "c", "d", *OTHERS)
    rig.lose("v", "w")
    pass_time(rig, 60 * MINUTE)
    assert (blamed(rig, run), rig.view(run).pause_reasons) == ((0, 0), ("telemetry:all",))


def test_everybody_is_offline_after_a_start_until_they_say_hello(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PAGE", 2)
    run = updated(rig)
    start_again(rig)
    rig.sleep(10 * SECOND)
    rig.connect("b", "c", "d", *OTHERS)
    pass_time(rig, 50 * MINUTE)
    assert blamed(rig, run) == (0, 0)
    pass_time(rig, 10 * MINUTE)
    assert blamed(rig, run) == (1, 1)


def test_a_start_gives_whoever_was_away_by_then_time_to_dial_again(rig: Rig) -> None:
    run = updated(rig)
    rig.lose("a")
    pass_time(rig, 20 * MINUTE)
    rig.sleep(9 * MINUTE)
    rig.clock.time = later(rig.clock.time, HOUR)
    start_again(rig)
    rig.sleep(10 * SECOND)
    rig.connect("b", "c", "d", *OTHERS)
    rig.sleep(5 * MINUTE)
    rig.connect("a")
    pass_time(rig, 60 * MINUTE)
    assert blamed(rig, run) == (0, 0)


def test_devices_of_which_sight_is_lost_are_away_until_they_say_hello(rig: Rig) -> None:
    run = updated(rig)
    rig.wait(rig.inbox.lost_sight(range(256)))
    for name in ("b", "c", "d", *OTHERS):
        rig.hello(name)
    pass_time(rig, 50 * MINUTE, except_for="a")
    assert blamed(rig, run) == (0, 0), "who is asked for a hello may have to dial first"
    pass_time(rig, 10 * MINUTE, except_for="a")
    assert blamed(rig, run) == (1, 1)


def test_sight_that_is_lost_at_a_start_takes_nothing_from_the_time_to_dial_again(rig: Rig) -> None:
    run = updated(rig)
    pass_time(rig, 70 * MINUTE)
    start_again(rig)
    rig.wait(rig.inbox.lost_sight(range(256)))
    rig.sleep(10 * SECOND)
    rig.connect("b", "c", "d", *OTHERS)
    pass_time(rig, 45 * MINUTE)
    assert blamed(rig, run) == (0, 0), "twice as long would be later than the soak"


def test_a_will_that_was_waiting_at_a_start_takes_nothing_from_the_time_to_dial_again(rig: Rig) -> None:
    run = updated(rig)
    pass_time(rig, 70 * MINUTE)
    will = Gone(connection=f"c{rig.wire.session(rig.devices['a'].name)}")
    start_again(rig)
    rig.say("a", UplinkKind.GONE, encode(will))
    rig.sleep(10 * SECOND)
    rig.connect("b", "c", "d", *OTHERS)
    pass_time(rig, 45 * MINUTE)
    assert blamed(rig, run) == (0, 0), "twice as long would be later than the soak"


def test_in_a_run_that_is_stopped_nobody_is_judged_any_more(rig: Rig) -> None:
    rig.enrol("e", wave="first")
    rig.connect("e")
    run = updated(rig)
    rig.lose("a")
    rig.do(runs.terminate, run=run, reason="enough")
    pass_time(rig, 40 * MINUTE)
    assert (blamed(rig, run), rig.target(run, "a").state) == ((0, 0), "succeeded")
