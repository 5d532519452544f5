"""A command to watch what is there: the path of an install, and nothing is touched."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.effects import Clean, Commit, Download, FileReport, Inspect, Install, RollBack, Verify, WatchOver
from agent.core.events import Ailed, AnswerReceived, Connected, Finished, Found, Inspected, Started, Woke
from agent.core.machine import next_deadline
from agent.core.model import Phase, State, Watch
from protocol.health import Mark
from protocol.ids import AppName, RunId
from protocol.messages import Command, HealthReport, InstalledRelease, Mode, StateReport, WorkPermit
from protocol.units import HOUR, Instant, Millis, later
from tests.agent.world import (
    BOOT,
    NONCE_2,
    SHOP_2,
    T0,
    command,
    control,
    digest,
    kinds,
    ready,
    received,
    ref,
    reply,
    run,
    watching,
)

AT = 2_000
SHOP, TILL = AppName("shop"), AppName("till")
HAS = tuple(InstalledRelease(app=app, version="1.0", counter=10, floor=5) for app in (SHOP, TILL))
FLOORS = {SHOP: 5, TILL: 5}
BEGUN = ["report:accepted", "report:succeeded:ok:old", "WatchOver"]
TOUCHING = (Download, Install, Inspect, Verify, Commit, RollBack, Clean)


def device(**durable: Any) -> State:
    """Return a device that has both apps."""
    return ready(**{"installed": HAS, "floors": FLOORS, **durable})


def ends(state: State, told: list[Any]) -> list[StateReport]:
    """Return the ends of attempts among effects; *state* is what came of them."""
    assert state.durable.work is None
    reports = [effect.report for effect in told if isinstance(effect, FileReport)]
    return [report for report in reports if isinstance(report, StateReport) and report.state.is_terminal]


def test_a_watch_begins_and_succeeds_in_one_step_and_touches_nothing() -> None:
    before = device()
    state, effects = run(before, received(watching()))
    assert kinds(effects) == BEGUN
    [end] = ends(state, effects)
    assert (end.run, end.attempt, end.command, end.installed) == ("run-1", 1, digest(watching()), HAS)
    assert (state.durable.installed, state.durable.floors) == (HAS, FLOORS)
    until = later(T0, AT - 1_000 + HOUR)
    wanted = Watch(digest=digest(watching()), run=RunId("run-1"), attempt=1, apps=(SHOP,), span_ms=HOUR, until=until)
    assert state.durable.watch == wanted
    assert next_deadline(replace(state, session=replace(state.session, hello_due_at=None, is_stale=True))) == AT + HOUR


def test_all_apps_of_the_command_are_watched_and_no_others() -> None:
    state, effects = run(device(), received(watching(apps=("till", "shop"))))
    assert effects[-1] == WatchOver(apps=(TILL, SHOP))
    assert kinds(run(state, Ailed(at=AT + 1, app=TILL, mark=Mark.CRASHED)).effects) == ["health:crashed", "WatchOver"]
    one = run(device(), received(watching())).state
    assert run(one, Ailed(at=AT + 1, app=TILL, mark=Mark.CRASHED)).effects == []


def test_a_device_that_was_broken_says_that_it_still_is() -> None:
    state, effects = run(device(is_broken=True), received(watching()))
    assert kinds(effects)[1] == "report:succeeded:ok:broken"
    assert state.durable.is_broken


def test_an_app_that_is_not_installed_cannot_be_watched() -> None:
    state, effects = run(device(), received(watching(apps=("shop", "oven"))))
    assert kinds(effects) == ["report:rejected:unsupported:old"]
    assert [end.detail for end in ends(state, effects)] == ["oven is not installed, and cannot be watched"]
    assert (state.durable.watch, state.durable.run("run-1").ended) == (None, 1)


def test_a_duplicate_of_a_watch_is_told_again_and_a_newer_command_for_it_repeated() -> None:
    state = run(device(), received(watching())).state
    again = run(state, received(watching(), at=AT + 1))
    assert kinds(again.effects) == ["report:succeeded:ok:old"]
    newer = run(state, received(watching(seq=T0 + 1), at=AT + 1))
    assert kinds(newer.effects) == ["report:succeeded:ok:old"]
    assert newer.state.durable.watch == state.durable.watch


def test_a_device_at_work_is_too_busy_to_watch() -> None:
    working = run(device(), received(command(run="run-2"))).state
    assert kinds(run(working, received(watching(seq=T0 + 1))).effects) == ["Alarm", "refused:busy"]
    same = command(op="watch", seq=T0 + 1, run="run-2", releases=(), apps=("shop",), watch_ms=HOUR)
    assert kinds(run(working, received(same)).effects) == ["Alarm", "refused:busy"]


def held() -> State:
    """Return a device that has accepted a watch of a run that is held."""
    state, effects = run(device(), received(control("hold", seq=T0, epoch=1)), received(watching(seq=T0 + 1)))
    assert kinds(effects) == ["report:accepted", "report:accepted"]
    assert state.durable.watch is None
    return state


def test_a_held_watch_waits_and_the_hello_tells_of_it() -> None:
    state = held()
    told = state.durable.work_in_hand()
    assert told is not None
    assert (told.run, told.attempt, told.state, told.mode) == ("run-1", 1, "accepted", Mode.HOLD)
    assert run(state, Woke(at=AT + 1, nonce=NONCE_2)).effects == []


def test_a_held_watch_begins_when_it_may_go_on() -> None:
    state, effects = run(held(), received(control("go", seq=T0 + 2, epoch=2), at=AT + 9))
    assert kinds(effects)[-2:] == BEGUN[-2:]
    assert state.durable.watch is not None
    assert state.durable.watch.until == later(T0, AT + 9 - 1_000 + HOUR)


def test_a_held_watch_is_renewed_by_a_command_about_the_same_apps_alone() -> None:
    other = run(held(), received(watching(seq=T0 + 2, apps=("till",)), at=AT + 1))
    assert kinds(other.effects) == ["Alarm", "refused:busy"]
    renewed = run(held(), received(watching(seq=T0 + 2, epoch=2), at=AT + 1))
    assert kinds(renewed.effects) == BEGUN
    assert [end.command for end in ends(*renewed)] == [digest(watching(seq=T0 + 2, epoch=2))]


def test_a_held_watch_is_cancelled_and_cleans_nothing() -> None:
    state, effects = run(held(), received(control("cancel", seq=T0 + 2, epoch=1), at=AT + 1))
    assert [end.state for end in ends(state, effects)] == ["cancelled"]
    assert not any(isinstance(effect, TOUCHING) for effect in effects)
    assert state.durable.watch is None


def test_a_watch_of_a_cancelled_run_is_called_off_at_once() -> None:
    state, effects = run(device(), received(control("cancel", seq=T0, epoch=1)), received(watching(seq=T0 + 1)))
    assert kinds(effects)[1:] == ["report:accepted", "report:cancelled:cancelled:old"]
    assert state.durable.watch is None


def test_a_held_watch_whose_permission_ends_fails() -> None:
    state = held()
    assert next_deadline(replace(state, session=replace(state.session, hello_due_at=None, is_stale=True))) is not None
    ended = run(state, Woke(at=1_000 + 2 * HOUR, nonce=NONCE_2))
    assert "report:failed:permission_ended:old" in kinds(ended.effects)
    assert not any(isinstance(effect, TOUCHING) for effect in ended.effects)


def test_a_held_watch_survives_a_restart_and_begins_once_the_device_is_told_to() -> None:
    state, effects = run(held(), Started(at=5, boot="boot-2"))
    assert effects == []
    permit = WorkPermit(run="run-1", epoch=2, mode=Mode.GO)
    dark = run(state, Connected(at=10, nonce=NONCE_2), AnswerReceived(at=10, raw=reply(nonce=NONCE_2, work=permit)))
    assert dark.state.durable.watch is None, "the permit is newer than its command"
    renewed = run(dark.state, received(watching(seq=T0 + 2, epoch=2), at=20))
    assert kinds(renewed.effects) == BEGUN


def test_a_watch_that_waits_finishes_no_step() -> None:
    finished = Finished(at=AT + 1, run=RunId("run-1"), attempt=1, phase=Phase.WAITING)
    assert kinds(run(held(), finished).effects) == ["Alarm"]
    found = Inspected(at=AT + 1, run=RunId("run-1"), attempt=1, found=Found.NEW)
    assert kinds(run(held(), found).effects) == ["Alarm"]


def test_a_watch_is_resumed_after_a_restart() -> None:
    state = run(device(), received(watching())).state
    stepped = run(state, Started(at=AT + 1, boot=BOOT), Woke(at=AT + HOUR, nonce=NONCE_2))
    assert kinds(stepped.effects)[:2] == ["Clean", "WatchOver"]
    assert "health:well" in kinds(stepped.effects)


def test_a_watch_ends_the_one_before_it() -> None:
    state = run(device(), received(watching())).state
    _, effects = run(state, received(watching(seq=T0 + 1, run="run-2"), at=AT + 1))
    assert kinds(effects) == ["health:ended", "WatchOver", *BEGUN]


def test_an_install_ends_a_watch_over_what_is_there() -> None:
    state = run(device(), received(watching())).state
    _, effects = run(state, received(command(seq=T0 + 1, run="run-2"), at=AT + 1))
    assert kinds(effects)[:3] == ["health:ended", "WatchOver", "report:accepted"]


# --- any order of things ---

RUNS = tuple(RunId(f"run-{n}") for n in range(3))
commands = st.tuples(
    st.sampled_from(["install", "watch", "watch", "hold", "go", "cancel"]),
    st.sampled_from(RUNS),
    st.integers(1, 2),
    st.integers(1, 3),
)
moments = st.one_of(
    commands,
    st.sampled_from([*Phase, *Found, *Mark]),
    st.sampled_from(["restart", "boot", "hello", "wake"]),
)


def _command(seq: int, op: str, wanted: RunId, attempt: int, epoch: int) -> Command:
    fields: dict[str, Any] = {"seq": seq, "run": wanted, "epoch": epoch, "exp": Instant(T0 + 90 * HOUR)}
    fields["not_after"] = Instant(T0 + 3 * HOUR)
    if op == "watch":
        return watching(attempt=attempt, watch_ms=Millis(20_000), **fields)
    if op == "install":
        return command(attempt=attempt, releases=(ref(SHOP_2),), watch_ms=Millis(20_000), **fields)
    return control(op, **fields)


def _events(state: State, moment: Any, at: int) -> list[Any]:
    work = state.durable.work
    of: dict[str, Any] = {"at": at, "run": work.run if work else RUNS[0], "attempt": work.attempt if work else 1}
    match moment:
        case (op, wanted, attempt, epoch):
            return [received(_command(T0 + at, op, wanted, attempt, epoch), at=at)]
        case Phase():
            return [Finished(phase=moment, **of)]
        case Found():
            return [Inspected(found=moment, **of)]
        case Mark():
            return [Ailed(at=at, app=SHOP, mark=moment)] if moment.is_bad else []
        case "wake":
            return [Woke(at=at, nonce=NONCE_2)]
        case "hello":
            answer = reply(nonce=NONCE_2, time=Instant(T0 + at))
            return [Connected(at=at, nonce=NONCE_2), AnswerReceived(at=at, raw=answer)]
        case _:
            return [Started(at=at, boot=BOOT if moment == "restart" else f"boot-{at}")]


class Notes:
    """What a device did, and what of it must never be."""

    def __init__(self) -> None:
        self.marks: list[tuple[str, int]] = []
        self.watched: set[tuple[str, int]] = set()

    def take(self, before: State, after: State, effects: list[Any]) -> None:
        was, now = before.durable, after.durable
        reports = [effect.report for effect in effects if isinstance(effect, FileReport)]
        told = [(report.run, report.attempt) for report in reports if isinstance(report, HealthReport)]
        self.marks += told
        assert len(set(self.marks)) == len(self.marks), "one mark of an attempt"
        if was.watch is not None and (now.watch is None or not now.watch.is_of(was.watch)):
            assert told == [(was.watch.run, was.watch.attempt)], "a watch ends with its mark, in that step"
        if now.watch is not None and (was.watch is None or not now.watch.is_of(was.watch)):
            self.watched.add((now.watch.run, now.watch.attempt))
        assert set(self.marks) <= self.watched, "nobody tells of what it did not watch"
        begun = [r for r in reports if isinstance(r, StateReport) and r.state == "accepted" and r.attempt]
        if told and begun:
            assert isinstance(reports[0], HealthReport), "the mark comes before the first word of newer work"
        for effect in effects:
            if isinstance(effect, Download | Install | Inspect | Verify | Commit | RollBack):
                assert effect.work.releases, "a watch touches nothing"
                assert now.watch is None, "nobody works and watches"


@given(st.lists(moments, max_size=25))
def test_in_any_order_each_watch_ends_in_one_mark_and_touches_nothing(order: list[Any]) -> None:
    state, notes, at = device(), Notes(), AT
    for moment in order:
        at += 7_000
        for event in _events(state, moment, at):
            stepped = run(state, event)
            notes.take(state, stepped.state, stepped.effects)
            state = stepped.state
    open_watch = {(state.durable.watch.run, state.durable.watch.attempt)} if state.durable.watch else set()
    assert notes.watched == set(notes.marks) | open_watch


@pytest.mark.parametrize("mark", [Mark.CRASHED, Mark.UNWELL])
def test_harm_to_what_is_there_is_told_of_once(mark: Mark) -> None:
    state = run(device(), received(watching())).state
    _, effects = run(state, Ailed(at=AT + 1, app=SHOP, mark=mark), Ailed(at=AT + 2, app=SHOP, mark=mark))
    assert kinds(effects) == [f"health:{mark}", "WatchOver"]
