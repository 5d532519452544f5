"""What watched apps tell: as often as the command says, one report at a time, and only while they are watched."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.effects import FileReport, Measure
from agent.core.events import Ailed, AnswerReceived, Connected, Disconnected, Measured, Started, Woke
from agent.core.machine import Stepped, next_deadline
from agent.core.measures import EVERY_MS_MIN, measure_due_at
from agent.core.model import DETAIL_LENGTH_MAX, MEASURES_OPEN_MAX, Durable, FiledKind, State, Told
from protocol.health import Mark
from protocol.ids import AppName, RunId
from protocol.messages import InstalledRelease, MeasureReport
from protocol.units import HOUR, MINUTE, Instant, Millis, later
from tests.agent.world import (
    BOOT,
    NONCE_2,
    T0,
    ack,
    command,
    control,
    digest,
    kinds,
    ready,
    received,
    reply,
    run,
    watching,
)

AT = 2_000
SHOP = AppName("shop")
HAS = (InstalledRelease(app=SHOP, version="1.0", counter=10, floor=5),)
EVERY = 10 * MINUTE
DUE_AT = AT + EVERY
WATCHED = watching(measure_ms=EVERY)
ASKED = Measure(run=RunId("run-1"), attempt=1, apps=(SHOP,))
TOLD = Told(outputs={"scan_ms": 40, "mode": "quick"})


def watches(**changes: Any) -> State:
    """Return a device that watches its shop since `AT`, for an hour; *changes* are of the command."""
    return run(ready(installed=HAS), received(watching(**{"measure_ms": EVERY, **changes}))).state


def woke(at: int) -> Woke:
    return Woke(at=at, nonce=NONCE_2)


def measured(at: int, told: Told = TOLD, **changes: Any) -> Measured:
    return Measured(**{"at": at, "run": RunId("run-1"), "attempt": 1, "told": told, **changes})


def done(stepped: Stepped) -> list[str]:
    """Return the kinds of effects but for those of the connection."""
    return [kind for kind in kinds(stepped.effects) if kind not in {"SayHello", "Reconnect", "Alarm"}]


def asked(stepped: Stepped) -> list[Measure]:
    return [effect for effect in stepped.effects if isinstance(effect, Measure)]


def reports(stepped: Stepped) -> list[MeasureReport]:
    found = [effect.report for effect in stepped.effects if isinstance(effect, FileReport)]
    return [report for report in found if isinstance(report, MeasureReport)]


def measure_at(state: State) -> Instant | None:
    assert state.durable.watch is not None
    return state.durable.watch.measure_at


def wakes_at(state: State) -> int | None:
    """Return the next deadline but for those of the connection."""
    return next_deadline(replace(state, session=replace(state.session, is_connected=False, is_stale=True)))


def told_once() -> State:
    """Return a device that has told once, at `DUE_AT`, and nobody has acknowledged it."""
    return run(watches(), woke(DUE_AT), measured(DUE_AT)).state


def settled(state: State, *, at: int) -> Stepped:
    """Acknowledge all reports that are open."""
    seqs = [filed.report_seq for filed in state.durable.filed]
    return run(state, AnswerReceived(at=at, raw=ack(*seqs)))


def test_apps_are_measured_so_long_after_the_success_as_their_command_says() -> None:
    state = watches()
    assert measure_at(state) == later(T0, AT - 1_000 + EVERY)
    assert wakes_at(state) == DUE_AT
    assert asked(run(state, woke(DUE_AT - 1))) == []
    assert asked(run(state, woke(DUE_AT))) == [ASKED]


def test_what_they_tell_is_reported_and_the_next_measure_is_due_as_long_after_it() -> None:
    stepped = run(watches(), woke(DUE_AT), measured(DUE_AT + 7))
    [report] = reports(stepped)
    of = (report.run, report.attempt, report.command, report.outputs, report.detail)
    assert of == ("run-1", 1, digest(WATCHED), TOLD.outputs, "")
    assert report.at == later(T0, DUE_AT + 7 - 1_000)
    assert report.report_seq == stepped.state.durable.report_seq
    assert measure_at(stepped.state) == later(T0, DUE_AT + 7 - 1_000 + EVERY)
    assert stepped.state.durable.filed[-1].kind is FiledKind.MEASURE


def test_a_measure_is_asked_for_once_until_it_ends() -> None:
    state = run(watches(), woke(DUE_AT)).state
    assert wakes_at(state) == AT + HOUR
    assert asked(run(state, woke(DUE_AT + 1), woke(DUE_AT + 3 * EVERY))) == []


def test_a_device_measures_for_as_long_as_it_watches() -> None:
    state, times = watches(), []
    while (at := wakes_at(state)) is not None:
        stepped = run(state, woke(at), measured(at))
        times += [at for _ in reports(stepped)]
        state = settled(stepped.state, at=at).state
    assert times == [AT + number * EVERY for number in range(1, 6)], "the sixth would come with the end"
    assert state.durable.watch is None


def test_while_a_report_is_not_settled_nothing_is_measured_or_written() -> None:
    assert MEASURES_OPEN_MAX == 1
    state = run(told_once(), Disconnected(at=DUE_AT + 1)).state
    assert wakes_at(state) == AT + HOUR
    stepped = run(state, woke(DUE_AT + EVERY), woke(DUE_AT + 2 * EVERY))
    assert asked(stepped) == []
    assert stepped.state.durable == state.durable


def test_what_became_due_meanwhile_is_measured_once_the_report_is_settled() -> None:
    at = DUE_AT + 3 * EVERY + 5
    stepped = settled(run(told_once(), woke(at - 1)).state, at=at)
    assert done(stepped) == ["DropReports", "Measure"]
    again = run(stepped.state, measured(at + 1))
    assert len(reports(again)) == 1
    assert measure_at(again.state) == later(T0, at + 1 - 1_000 + EVERY)


def test_a_report_that_is_settled_early_makes_no_measure_due() -> None:
    stepped = settled(told_once(), at=DUE_AT + 1)
    assert done(stepped) == ["DropReports"]
    assert wakes_at(stepped.state) == DUE_AT + EVERY


def test_of_many_measures_that_were_slept_through_one_is_made() -> None:
    at = DUE_AT + 3 * EVERY
    stepped = run(watches(), woke(at), measured(at), woke(at + 1))
    assert (len(asked(stepped)), len(reports(stepped))) == (1, 1)
    assert measure_at(stepped.state) == later(T0, at - 1_000 + EVERY)


@pytest.mark.parametrize("measure_ms", [HOUR, 2 * HOUR])
def test_nothing_is_measured_when_the_watch_is_over(measure_ms: int) -> None:
    stepped = run(watches(measure_ms=measure_ms), woke(AT + HOUR), woke(AT + 3 * HOUR))
    assert done(stepped) == ["health:well", "WatchOver"]


def test_a_measure_that_was_missed_is_not_made_up_for_when_the_watch_is_over() -> None:
    stepped = run(watches(), woke(AT + HOUR))
    assert done(stepped) == ["health:well", "WatchOver"]


def test_what_is_told_when_the_watch_is_over_counts_for_nothing() -> None:
    stepped = run(watches(), woke(DUE_AT), measured(AT + HOUR))
    assert reports(stepped) == []
    assert done(stepped) == ["Measure", "health:well", "WatchOver"]
    assert not stepped.state.session.is_measuring


STRANGE: dict[str, tuple[State, list[Any], Measured]] = {
    "another run": (watches(), [woke(DUE_AT)], measured(DUE_AT, run=RunId("run-2"))),
    "another attempt": (watches(), [woke(DUE_AT)], measured(DUE_AT, attempt=2)),
    "not asked for": (watches(), [], measured(AT + 1)),
    "told before": (watches(), [woke(DUE_AT), measured(DUE_AT)], measured(DUE_AT)),
    "no watch": (ready(installed=HAS), [], measured(AT)),
    "the watch has ended": (watches(), [woke(DUE_AT), Ailed(at=DUE_AT, app=SHOP, mark=Mark.CRASHED)], measured(DUE_AT)),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_measure_that_nobody_waits_for_changes_nothing(name: str) -> None:
    state, before, event = STRANGE[name]
    state = run(state, *before).state
    assert run(state, event) == (state, [])


def test_apps_that_tell_nothing_are_asked_again_and_nothing_is_reported() -> None:
    stepped = run(watches(), woke(DUE_AT), measured(DUE_AT, Told()))
    assert done(stepped) == ["Measure"]
    assert asked(run(stepped.state, woke(DUE_AT + EVERY))) == [ASKED]


def test_why_there_are_no_outputs_is_reported() -> None:
    remark = "no outputs are reported: " + "x" * DETAIL_LENGTH_MAX
    [report] = reports(run(watches(), woke(DUE_AT), measured(DUE_AT, Told(remark=remark))))
    assert (report.outputs, report.detail) == ({}, remark[:DETAIL_LENGTH_MAX])


def test_no_command_has_a_device_measure_without_end() -> None:
    state, count = watches(measure_ms=1), 0
    for at in range(AT, AT + 10 * EVERY_MS_MIN, 100):
        stepped = run(state, woke(at), measured(at))
        count += len(reports(stepped))
        state = settled(stepped.state, at=at).state
    assert count == 9


def test_nothing_is_measured_where_no_command_asks_for_it() -> None:
    state = watches(measure_ms=0)
    assert (measure_at(state), wakes_at(state)) == (None, AT + HOUR)
    assert asked(run(state, woke(AT + HOUR - 1))) == []


def test_a_release_that_was_installed_is_measured_too() -> None:
    state = run(ready(installed=HAS), received(command(watch_ms=HOUR, measure_ms=EVERY))).state
    assert state.durable.work is not None
    assert state.durable.work.measure_ms == EVERY


# --- restarts ---


def test_a_measure_that_a_restart_cut_off_is_made_again() -> None:
    state = run(watches(), woke(DUE_AT)).state
    stepped = run(state, Started(at=DUE_AT + 1, boot=BOOT))
    assert done(stepped) == ["Clean", "WatchOver", "Measure"]
    assert len(reports(run(stepped.state, measured(DUE_AT + 2)))) == 1


def test_after_a_boot_measures_wait_for_trusted_time() -> None:
    dark = run(watches(), Started(at=5, boot="boot-2"), woke(3 * HOUR))
    assert asked(dark) == []
    assert wakes_at(dark.state) is None
    late = reply(nonce=NONCE_2, time=later(T0, EVERY + 2_000))
    heard = run(dark.state, Connected(at=3 * HOUR, nonce=NONCE_2), AnswerReceived(at=3 * HOUR, raw=late))
    assert asked(heard) == [ASKED]


def test_a_report_that_is_open_is_open_after_a_restart() -> None:
    state = run(told_once(), Started(at=DUE_AT + 1, boot=BOOT)).state
    assert asked(run(state, woke(DUE_AT + EVERY))) == []
    assert asked(settled(state, at=DUE_AT + EVERY)) == [ASKED]
    kept = msgspec.json.decode(msgspec.json.encode(state.durable), type=Durable)
    assert kept == state.durable


def test_a_journal_that_knows_no_measures_is_read() -> None:
    durable = watches(measure_ms=0).durable
    fields = msgspec.to_builtins(durable)
    del fields["watch"]["measure_ms"], fields["watch"]["measure_at"]
    assert msgspec.convert(fields, Durable) == durable
    working = run(ready(installed=HAS), received(command())).state.durable
    fields = msgspec.to_builtins(working)
    del fields["work"]["measure_ms"]
    assert msgspec.convert(fields, Durable) == working


# --- newer work ---

NEWER = watching(seq=T0 + 1, run="run-2", measure_ms=EVERY)


def test_newer_work_drops_no_measure_that_is_filed_and_measures_once_that_is_settled() -> None:
    state = told_once()
    at = DUE_AT + 1
    newer = run(state, received(NEWER, at=at)).state
    assert [filed for filed in newer.durable.filed if filed.kind is FiledKind.MEASURE] == [state.durable.filed[-1]]
    assert measure_at(newer) == later(T0, at - 1_000 + EVERY)
    assert asked(run(newer, woke(at + EVERY))) == []
    assert [effect.run for effect in asked(settled(newer, at=at + EVERY))] == ["run-2"]


def test_what_an_older_watch_asked_for_holds_up_none_of_a_newer_one() -> None:
    state = run(watches(), woke(DUE_AT), received(NEWER, at=DUE_AT + 1), measured(DUE_AT + 2)).state
    assert FiledKind.MEASURE not in {filed.kind for filed in state.durable.filed}
    assert [effect.run for effect in asked(run(state, woke(DUE_AT + 1 + EVERY)))] == ["run-2"]


# --- any order of things ---

STEP_MS = 4_000
SHORT = Millis(9_000)
usual = st.sampled_from(["wake", "measured", "settled"])
unusual = st.sampled_from(["silent", "restart", "boot", "hello", "watch", "install", "ail"])
moments = st.one_of(usual, usual, usual, unusual)


def _event(state: State, moment: str, at: int) -> list[Any]:
    watch, asks = state.durable.watch, {"seq": T0 + at, "run": f"run-{at}", "watch_ms": 60_000, "measure_ms": SHORT}
    asks |= {"exp": Instant(T0 + 9 * HOUR), "not_after": Instant(T0 + 9 * HOUR)}
    of = {"run": watch.run, "attempt": watch.attempt} if watch else {}
    match moment:
        case "measured" | "silent":
            return [measured(at, TOLD if moment == "measured" else Told(), **of)]
        case "settled":
            return [AnswerReceived(at=at, raw=ack(*(filed.report_seq for filed in state.durable.filed)))]
        case "hello":
            answer = reply(nonce=NONCE_2, time=Instant(T0 + at))
            return [Connected(at=at, nonce=NONCE_2), AnswerReceived(at=at, raw=answer)]
        case "watch":
            return [received(watching(**asks), at=at)]
        case "install":
            return [received(command(**asks), at=at), received(control("cancel", seq=T0 + at + 1, epoch=9), at=at)]
        case "ail":
            return [Ailed(at=at, app=SHOP, mark=Mark.CRASHED)]
        case "wake":
            return [woke(at)]
        case _:
            return [Started(at=at, boot=BOOT if moment == "restart" else f"boot-{at}")]


class Notes:
    """What a device was asked and told, and what of it must never be."""

    def __init__(self) -> None:
        self.told_at: dict[str, int] = {}
        self.waits_for = ""

    def take(self, before: State, event: Any, stepped: Stepped) -> None:
        after = stepped.state
        if isinstance(event, Started) or (isinstance(event, Measured) and event.run == self.waits_for):
            self.waits_for = ""
        open_count = [filed.kind for filed in after.durable.filed].count(FiledKind.MEASURE)
        assert open_count <= MEASURES_OPEN_MAX
        for report in reports(stepped):
            self._told(before, report)
        for effect in asked(stepped):
            watch = after.durable.watch
            assert watch is not None, "who does not watch asks nothing"
            assert (effect.run, effect.attempt, effect.apps) == (watch.run, watch.attempt, watch.apps)
            assert (self.waits_for == watch.run, open_count) == (False, 0), "one at a time"
            self.waits_for = watch.run

    def _told(self, before: State, report: MeasureReport) -> None:
        watch = before.durable.watch
        assert watch is not None, "what is told is of a watch"
        assert watch.until is not None
        assert before.session.is_measuring, "nobody tells what was not asked for"
        assert (report.run, report.attempt, report.command) == (watch.run, watch.attempt, watch.digest)
        assert report.at < watch.until, "nothing is told when the watch is over"
        last_at = self.told_at.get(report.run, watch.until - watch.span_ms)
        assert report.at >= last_at + SHORT, "no sooner and no more often than the command says"
        self.told_at[report.run] = report.at


@given(st.lists(moments, min_size=5, max_size=40))
def test_in_any_order_one_report_is_open_and_each_is_due_and_asked_for(order: list[str]) -> None:
    state, notes, at = watches(watch_ms=60_000, measure_ms=SHORT), Notes(), AT
    for moment in order:
        at += STEP_MS
        for event in _event(state, moment, at):
            stepped = run(state, event)
            notes.take(state, event, stepped)
            state = stepped.state
    due_at = measure_due_at(state)
    assert due_at is None or due_at > at, "what is due has been asked for"
