"""The real controller behind every way in: whatever the way does to messages, rollouts come out right."""

import asyncio
from typing import Any

from controller.app import runs
from controller.app.dispatch import RESEND_FIRST_MS
from controller.app.ports import Disposition
from controller.domain.pipeline import Pace
from protocol.codec import encode
from protocol.messages import Gone
from protocol.topics import UplinkKind
from protocol.units import later
from tests.controller.app.rig import stage
from tests.controller.transport.promises import Promise
from tests.controller.transport.town import Town, town
from tests.controller.transport.ways import Way

NAMES = ("d1", "d2", "d3", "d4")


async def start(t: Town, *names: str, **fields: Any) -> str:
    """Start a run, and wait until each of *names* was told to install."""
    run = t.rig.start(stage(**fields))
    await t.until(lambda: all(t.installs(name) for name in names))
    return run


async def test_reports_that_come_twice_and_out_of_order_are_counted_once(way: Way) -> None:
    async with town(way, *NAMES) as t:
        await t.connect(*NAMES)
        run = await start(t, *NAMES)

        for name in NAMES:
            accepted, succeeded = t.successes(name)
            for payload in (succeeded, accepted, succeeded, accepted):
                t.spoken[name].say(payload)

        await t.until(lambda: all(t.settled(name) == {1, 2} for name in NAMES))
        assert t.rig.counters(run) == {"succeeded": len(NAMES)}
        assert t.rig.view(run).state == "succeeded"
        assert [t.installs(name) for name in NAMES] == [[1]] * len(NAMES)


async def test_a_hello_brings_its_reply_and_the_same_command_again(way: Way) -> None:
    async with town(way, "d1") as t:
        await t.connect("d1")
        await start(t, "d1")
        first = t.rig.last("d1")

        await t.connect("d1", seq=0)
        await t.until(lambda: len(t.installs("d1")) == 2)

        assert t.rig.last("d1") == first
        assert t.spoken["d1"].commands[-1:] == t.spoken["d1"].commands[:1]
        assert len(t.rig.devices["d1"].replies) == 2


async def test_a_stale_will_leaves_a_device_online_and_its_own_takes_it_off(way: Way) -> None:
    async with town(way, "d1") as t:
        await t.connect("d1")
        old = t.spoken["d1"]
        await t.connect("d1")
        await t.until(lambda: old.ends)
        new = t.spoken["d1"]

        new.say(encode(Gone(connection=old.connection)), UplinkKind.GONE)
        await t.until(lambda: (UplinkKind.GONE, Disposition.STALE) in t.inbox.became)
        assert t.is_online("d1")
        assert t.transport.session(new.name)

        new.vanish()
        await t.until(lambda: not t.is_online("d1"))
        await t.until(lambda: not t.transport.session(new.name))


async def test_nothing_is_handed_over_once_a_pause_was_answered(way: Way) -> None:
    async with town(way, *NAMES) as t:
        await t.connect(*NAMES)
        run = await start(t, pace=Pace(max_in_flight=2))
        await t.until(lambda: sum(bool(t.installs(name)) for name in NAMES) == 2)
        begun = [name for name in NAMES if t.installs(name)]

        t.rig.do(runs.pause, run=run, reason="a look at it")
        for name in begun:
            for payload in t.successes(name):
                t.spoken[name].say(payload)
        await t.until(lambda: all(t.settled(name) == {1, 2} for name in begun))
        t.rig.clock.time = later(t.rig.clock.time, RESEND_FIRST_MS)
        t.due()
        await asyncio.sleep(0.2)
        t.hear()
        assert [name for name in NAMES if t.installs(name)] == begun

        t.rig.do(runs.resume, run=run, reason="well")
        await t.until(lambda: all(t.installs(name) for name in NAMES))


async def test_a_controller_that_died_before_it_stored_reports_is_told_them_again(way: Way) -> None:
    async with town(way, *NAMES) as t:
        await t.connect(*NAMES)
        run = await start(t, *NAMES)
        t.inbox.door.clear()
        offered = len(t.inbox.offered)
        said = {name: t.successes(name) for name in NAMES}
        for name in NAMES:
            for payload in said[name]:
                t.spoken[name].say(payload)
        await t.until(lambda: len(t.inbox.offered) > offered)

        await t.kill()
        assert t.rig.counters(run) == {"in_progress": len(NAMES)}
        await t.serve()
        if not way.gives(Promise.KEEPS_UPLINKS):
            for name in NAMES:
                assert await t.spoken[name].connect() == 0

        await t.until(lambda: t.rig.counters(run) == {"succeeded": len(NAMES)})


async def test_after_a_restart_devices_are_asked_for_a_hello_and_are_online_again(way: Way) -> None:
    way.needs(Promise.HEARS_HELLO_ALONE)
    async with town(way, *NAMES) as t:
        await t.connect(*NAMES)
        await t.kill()
        await t.serve()

        await t.until(lambda: all(t.rig.devices[name].acks for name in NAMES))
        asked = [t.rig.devices[name].acks[-1].hello_within_ms for name in NAMES]
        assert min(asked) > 0
        assert not any(t.is_online(name) for name in NAMES)
        for name in NAMES:
            await t.greet(name)

        assert all(t.is_online(name) for name in NAMES)
        run = await start(t, *NAMES)
        assert t.rig.counters(run) == {"in_progress": len(NAMES)}
