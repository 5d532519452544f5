"""Following a run: nothing is missed, nothing is told twice, and it ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from controller.app import following, runs
from controller.app.access import Actor, Role
from controller.app.errors import NotFound
from controller.app.following import ENTRIES_MAX, FOLLOWED_MS_MAX, LOOK_MS, QUIET_MS_MAX, News
from controller.app.ports import Priority
from controller.app.records import EventRecord
from controller.domain.pipeline import FailureLimit, Gate, OnBreach
from protocol.units import SECOND, Instant
from tests.controller.app.rig import ADMIN, START, Rig, stage

VIEWER = Actor(name="v", role=Role.VIEWER)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", "b")
    rig.connect("a", "b")
    return rig


async def heard(news: AsyncIterator[News]) -> list[News]:
    return [one async for one in news]


def kinds(found: list[News]) -> list[str]:
    return [entry.kind for news in found for entry in news.entries]


def follow(rig: Rig, run: str, after: int = 0) -> list[News]:
    async def work() -> list[News]:
        return await heard(await following.follow(rig.controller, VIEWER, run=run, after=after))

    return asyncio.run(work())


def test_an_ended_run_is_told_at_once_and_from_any_entry_on(rig: Rig) -> None:
    run = rig.start(stage())
    rig.succeed("a", "b")
    found = follow(rig, run)
    assert kinds(found) == ["started", "opened", "passed", "succeeded"]
    [last] = found
    assert last.ended is not None
    assert last.ended.state == "succeeded"
    assert kinds(follow(rig, run, after=last.entries[1].id)) == ["passed", "succeeded"]
    assert rig.clock.time == START


def test_what_happens_is_told_at_the_next_look_and_the_end_ends_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    run = rig.start(stage())
    looks = 0

    async def pause(at: Instant) -> None:
        nonlocal looks
        assert at == rig.clock.time + LOOK_MS
        rig.clock.time = at
        looks += 1
        if looks == 3:
            await runs.pause(rig.controller, ADMIN, run=run, reason="lunch")
        if looks == 4:
            await runs.terminate(rig.controller, ADMIN, run=run, reason="no use")
            rig.clock.time = Instant(rig.clock.time + SECOND)
        assert looks < 5_000

    monkeypatch.setattr(rig.clock, "pause_until", pause)
    found = follow(rig, run)

    assert kinds(found[:1]) == ["started", "opened"]
    assert found[1].entries[0].data == {"text": "operator:lunch", "by": "ann"}
    assert found[2].entries[0].data == {"text": "no use", "by": "ann"}


def test_quiet_times_are_told_of_and_the_stream_ends_by_itself(rig: Rig) -> None:
    run = rig.start(stage())
    found = follow(rig, run)
    assert kinds(found) == ["started", "opened"]
    assert rig.clock.time == START + FOLLOWED_MS_MAX
    assert found[1:] == [News()] * (FOLLOWED_MS_MAX // QUIET_MS_MAX)


def test_many_entries_come_in_bounded_parts_without_a_wait(rig: Rig) -> None:
    run = rig.start(stage())
    rig.succeed("a", "b")
    entries = [EventRecord(run_id=1, at=START, kind="x", data={}) for _ in range(2 * ENTRIES_MAX)]
    rig.wait(rig.store.write(lambda tx: tx.log.add_events(entries), priority=Priority.OPERATOR))
    found = follow(rig, run)
    assert [len(news.entries) for news in found] == [ENTRIES_MAX, ENTRIES_MAX, 4]
    assert [news.ended is not None for news in found] == [False, False, True]
    assert rig.clock.time == START


def test_a_run_that_is_not_there_is_said_before_the_stream_begins(rig: Rig) -> None:
    with pytest.raises(NotFound):
        rig.do(following.follow, run="none")


def test_the_timeline_keeps_the_numbers_of_a_breach(rig: Rig) -> None:
    gate = Gate(failures=FailureLimit(count=0), on_breach=OnBreach.PAUSE)
    run = rig.start(stage(gate=gate))
    rig.fail("a")
    paused = [e.data for e in rig.do(runs.events, run=run) if e.kind == "paused"]
    assert paused == [
        {"text": "breach:all", "evidence": "1 of 1 started failed; stops on failure 1 (evidence 15 of 100)"}
    ]


@pytest.mark.parametrize(
    ("verb", "arguments", "data"),
    [
        (runs.skip, {"stage": "all", "reason": "known"}, {"stage": "all", "text": "known", "by": "ann"}),
        (runs.terminate, {"reason": "bad"}, {"text": "bad", "by": "ann"}),
    ],
)
def test_the_timeline_keeps_who_and_why(rig: Rig, verb: Any, arguments: Any, data: Any) -> None:
    run = rig.start(stage())
    rig.do(verb, run=run, **arguments)
    assert data in [dict(entry.data) for entry in rig.do(runs.events, run=run)]
    assert rig.do(runs.events, run=run)[0].data == {"by": "ann"}
