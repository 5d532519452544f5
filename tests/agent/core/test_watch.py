"""The watch over what was installed: one mark of an attempt, whatever happens."""

from typing import Any

import msgspec
import pytest

from agent.core.effects import FileReport, WatchOver
from agent.core.events import Ailed, AnswerReceived, Connected, Finished, Found, Inspected, Started, Woke
from agent.core.machine import Stepped, next_deadline
from agent.core.model import Phase, Session, State
from protocol.health import Mark
from protocol.ids import AppName, RunId
from protocol.messages import Command, HealthReport
from protocol.units import HOUR, Instant, later
from tests.agent.world import (
    BIG,
    BOOT,
    NONCE,
    NONCE_2,
    SHOP_2,
    T0,
    command,
    digest,
    kinds,
    ready,
    received,
    ref,
    reply,
    run,
)

SHOP = AppName("shop")
DONE_AT = 3_000
WATCHED = command(watch_ms=HOUR)
PHASES = (Phase.DOWNLOADING, Phase.INSTALLING, Phase.VERIFYING, Phase.COMMITTING)
OVER_AT = DONE_AT + HOUR


def done(wanted: Command = WATCHED, *, state: State | None = None) -> Stepped:
    """Return a device on which the release of *wanted* has just succeeded."""
    ends = [Finished(at=DONE_AT, run=RunId(wanted.run), attempt=wanted.attempt, phase=phase) for phase in PHASES]
    return run(state or ready(), received(wanted), *ends)


def ailed(mark: Mark = Mark.CRASHED, *, at: int = DONE_AT + 1, app: AppName = SHOP, **changes: Any) -> Ailed:
    return Ailed(at=at, app=app, mark=mark, detail="its last words", **changes)


def woke(at: int) -> Woke:
    return Woke(at=at, nonce=NONCE_2)


def reports(stepped: Stepped) -> list[HealthReport]:
    found = [effect.report for effect in stepped.effects if isinstance(effect, FileReport)]
    return [report for report in found if isinstance(report, HealthReport)]


def test_a_success_is_watched_for_as_long_as_its_command_says() -> None:
    state, effects = done()
    assert kinds(effects)[-3:] == ["report:succeeded:ok:new", "Clean", "WatchOver"]
    assert effects[-1] == WatchOver(apps=(SHOP,))
    assert state.durable.watch is not None
    assert state.durable.watch.until == later(T0, DONE_AT - 1_000 + HOUR)


def test_nothing_is_watched_that_no_command_asks_for() -> None:
    state, effects = done(command())
    assert state.durable.watch is None
    assert "WatchOver" not in kinds(effects)
    assert reports(run(state, ailed(), woke(OVER_AT))) == []


def test_a_failed_attempt_is_not_watched() -> None:
    state, _ = run(ready(), received(WATCHED), woke(2_000 + HOUR))
    assert (state.durable.work, state.durable.watch) == (None, None)


@pytest.mark.parametrize("mark", [Mark.CRASHED, Mark.UNWELL])
def test_the_first_bad_mark_is_told_and_ends_the_watch(mark: Mark) -> None:
    stepped = run(done().state, ailed(mark, count=3), ailed(Mark.CRASHED), ailed(Mark.UNWELL), woke(OVER_AT))
    [report] = reports(stepped)
    told = (report.mark, report.count, report.detail, report.run, report.attempt, report.command)
    assert told == (mark, 3, "shop: its last words", "run-1", 1, digest(WATCHED))
    assert report.at == later(T0, DONE_AT + 1 - 1_000)
    assert stepped.state.durable.watch is None
    assert [effect for effect in stepped.effects if isinstance(effect, WatchOver)] == [WatchOver(apps=())]


def test_a_watch_in_which_nothing_happens_ends_with_the_word_that_all_is_well() -> None:
    state = done().state
    assert next_deadline(state) is not None
    early = run(state, woke(OVER_AT - 1))
    assert reports(early) == []
    over = run(early.state, woke(OVER_AT))
    assert [(report.mark, report.count) for report in reports(over)] == [(Mark.WELL, 0)]
    assert over.state.durable.watch is None
    assert reports(run(over.state, woke(OVER_AT + 1), ailed(at=OVER_AT + 2))) == []


def test_the_end_of_a_watch_wakes_the_agent() -> None:
    state, _ = done(command(watch_ms=5_000))
    assert next_deadline(state) == DONE_AT + 5_000


def test_a_crash_after_the_end_of_the_watch_says_that_all_was_well() -> None:
    stepped = run(done().state, ailed(at=OVER_AT))
    assert [report.mark for report in reports(stepped)] == [Mark.WELL]


def test_another_app_that_crashes_says_nothing_of_this_release() -> None:
    state = done().state
    assert run(state, ailed(app=AppName("till"))) == (state, [])


def test_a_watch_goes_on_after_a_restart_of_the_agent() -> None:
    stepped = run(done().state, Started(at=DONE_AT + 1, boot=BOOT))
    assert kinds(stepped.effects) == ["Clean", "WatchOver"]
    assert [report.mark for report in reports(run(stepped.state, ailed(at=DONE_AT + 2)))] == [Mark.CRASHED]


def test_the_end_of_a_watch_waits_for_trusted_time_after_a_boot() -> None:
    dark = run(done().state, Started(at=0, boot="boot-2"), woke(OVER_AT * 2))
    assert reports(dark) == []
    late = reply(nonce=NONCE_2, time=Instant(T0 + 2 * HOUR))
    heard = run(dark.state, Connected(at=OVER_AT * 2, nonce=NONCE_2), AnswerReceived(at=OVER_AT * 2, raw=late))
    assert [report.mark for report in reports(heard)] == [Mark.WELL]


def test_a_watch_that_began_in_the_dark_is_as_long_once_there_is_light() -> None:
    started = run(ready(), received(WATCHED)).state
    ends = [Finished(at=DONE_AT, run=RunId("run-1"), attempt=1, phase=phase) for phase in PHASES[:2]]
    rest = [Finished(at=9, run=RunId("run-1"), attempt=1, phase=phase) for phase in PHASES[2:]]
    dark = run(started, *ends, Started(at=0, boot="boot-2"), *rest).state
    assert dark.durable.watch is not None
    assert dark.durable.watch.until is None
    heard = run(dark, Connected(at=50, nonce=NONCE), AnswerReceived(at=60, raw=reply(time=Instant(T0 + 9))))
    assert heard.state.durable.watch is not None
    assert heard.state.durable.watch.until == later(T0, 9 + 10 + HOUR)


NEWER = command(seq=T0 + 1, run="run-2", releases=(ref(SHOP_2),), env={"COLOUR": "red"})


def test_newer_work_ends_a_watch_and_the_mark_says_so_before_the_newer_work_reports() -> None:
    stepped = run(done().state, received(NEWER, at=DONE_AT + 1))
    assert kinds(stepped.effects)[:3] == ["health:ended", "WatchOver", "report:accepted"]
    [report] = reports(stepped)
    assert (report.run, report.attempt, report.command, report.count) == ("run-1", 1, digest(WATCHED), 0)
    assert WatchOver(apps=()) in stepped.effects
    assert stepped.state.durable.watch is None
    assert reports(run(stepped.state, ailed(at=DONE_AT + 2), woke(OVER_AT))) == []


def test_newer_work_that_comes_when_the_time_is_over_finds_that_all_was_well() -> None:
    late = msgspec.structs.replace(NEWER, exp=Instant(T0 + 9 * HOUR), not_after=Instant(T0 + 9 * HOUR))
    fresh = AnswerReceived(at=OVER_AT - 1, raw=reply(nonce=NONCE_2, time=Instant(T0 + HOUR)))
    heard = run(done().state, Connected(at=OVER_AT - 1, nonce=NONCE_2), fresh).state
    over_at = next_deadline(msgspec.structs.replace(heard, session=Session(boot=BOOT, is_stale=True)))
    assert over_at is not None
    stepped = run(heard, received(late, at=over_at))
    assert kinds(stepped.effects)[:3] == ["health:well", "WatchOver", "report:accepted"]


@pytest.mark.parametrize(
    "newer",
    [command(seq=T0 + 1, run="run-2", releases=(ref(BIG),)), command(seq=T0 + 1, run="run-2", releases=())],
    ids=["rejected", "refused"],
)
def test_what_does_not_begin_ends_no_watch(newer: Command) -> None:
    stepped = run(done().state, received(newer, at=DONE_AT + 1))
    assert stepped.state.durable.watch == done().state.durable.watch
    assert reports(stepped) == []


def test_newer_work_that_is_watched_begins_a_watch_of_its_own() -> None:
    first = done().state
    newer = command(seq=T0 + 1, run="run-2", releases=(ref(SHOP_2),), watch_ms=HOUR)
    found = Inspected(at=DONE_AT + 2, run=RunId("run-2"), attempt=1, found=Found.NEW)
    second = run(first, received(newer, at=DONE_AT + 1), found, ailed(at=DONE_AT + 3))
    told = [(report.run, report.mark) for report in reports(second)]
    assert told == [("run-1", Mark.ENDED), ("run-2", Mark.CRASHED)]
