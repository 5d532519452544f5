"""Who has a session: from the device's hello (or its connection) until the end of that, and of no older one."""

import asyncio

from controller.app.ports import Disposition, Transport
from protocol.topics import DownlinkKind, UplinkKind
from tests.controller.edge.world import D1, D2, until
from tests.controller.transport.device import REFUSED, Device
from tests.controller.transport.inboxes import RecordingInbox
from tests.controller.transport.promises import Promise
from tests.controller.transport.ways import Way


async def greet(device: Device, inbox: RecordingInbox, *, hello: bytes = b"hello") -> None:
    """Connect and say hello, and wait until that is stored."""
    await device.come()
    device.say(hello, UplinkKind.HELLO)
    await until(lambda: any(m.name == device.name and m.payload == hello for m in inbox.messages))


async def reached(device: Device, transport: Transport, payload: bytes) -> None:
    """See that a command reaches the device."""
    await until(lambda: transport.write(device.name, DownlinkKind.COMMAND, payload))
    await until(lambda: payload in device.commands)


async def test_a_hello_makes_a_session_to_which_commands_go(way: Way, inbox: RecordingInbox) -> None:
    transport = await way.start(inbox)
    device = way.device()
    assert (transport.session(D1), transport.session_count) == (0, 0)
    assert not transport.write(D1, DownlinkKind.COMMAND, b"too early")

    await greet(device, inbox)

    assert transport.session(D1) > 0
    assert transport.session_count == 1
    assert transport.session(D2) == 0
    assert transport.write(D1, DownlinkKind.COMMAND, b"command")
    assert transport.write(D1, DownlinkKind.ACK, b"ack")
    await until(lambda: len(device.received) == 2)
    assert (device.commands, device.acks) == ([b"command"], [b"ack"])


async def test_a_device_of_which_no_hello_is_known_is_written_nothing_but_an_ack(
    way: Way, inbox: RecordingInbox
) -> None:
    transport = await way.start(inbox)
    device = way.device()
    await device.come()

    if way.gives(Promise.SEES_CONNECTIONS):
        assert transport.write(D1, DownlinkKind.COMMAND, b"command")
    else:
        assert not transport.write(D1, DownlinkKind.COMMAND, b"command")
        assert transport.write(D1, DownlinkKind.ACK, b"say hello")
        await until(lambda: device.received)
        assert (device.commands, device.acks) == ([], [b"say hello"])
    assert transport.write(D2, DownlinkKind.ACK, b"ack") is not way.gives(Promise.NEEDS_SESSION_FOR_ACK)


async def test_every_hello_or_connection_has_a_number_of_its_own(way: Way, inbox: RecordingInbox) -> None:
    transport = await way.start(inbox)
    numbers = []
    for time in range(3):
        device = way.device()
        await greet(device, inbox, hello=b"hello %d" % time)
        numbers.append(transport.session(D1))
        assert transport.session_count == 1
        await device.leave()

    assert sorted(set(numbers)) == numbers


async def test_the_will_of_a_broken_connection_ends_the_session(way: Way, inbox: RecordingInbox) -> None:
    transport = await way.start(inbox)
    device = way.device(will=b"gone")
    await greet(device, inbox)

    device.vanish()

    await until(lambda: b"gone" in inbox.payloads)
    await until(lambda: not transport.session(D1))
    assert inbox.messages[-1].kind is UplinkKind.GONE
    assert transport.session_count == 0
    assert not transport.write(D1, DownlinkKind.COMMAND, b"command")


async def test_a_device_that_takes_its_own_place_is_reached_in_its_new_one(way: Way, inbox: RecordingInbox) -> None:
    inbox.answers[b"old gone"] = Disposition.STALE
    transport = await way.start(inbox)
    old, new = way.device(will=b"old gone"), way.device(will=b"new gone")
    await greet(old, inbox, hello=b"first")
    before = transport.session(D1)

    await greet(new, inbox, hello=b"second")

    await until(lambda: old.ends)
    if way.gives(Promise.TELLS_WILL_OF_TAKEOVER):
        await until(lambda: b"old gone" in inbox.payloads)
    await asyncio.sleep(0.1)
    assert transport.session(D1) > before
    await reached(new, transport, b"command")
    assert b"command" not in old.commands
    new.vanish()
    await until(lambda: not transport.session(D1))


async def test_a_stale_will_changes_nothing(way: Way, inbox: RecordingInbox) -> None:
    inbox.answers[b"stale"] = Disposition.STALE
    transport = await way.start(inbox)
    device = way.device()
    await greet(device, inbox)
    before = transport.session(D1)

    device.say(b"stale", UplinkKind.GONE)
    await until(lambda: b"stale" in inbox.payloads)
    await asyncio.sleep(0.1)

    assert transport.session(D1) == before
    await reached(device, transport, b"command")


async def test_a_hello_after_the_will_begins_anew(way: Way, inbox: RecordingInbox) -> None:
    transport = await way.start(inbox)
    first, second = way.device(will=b"gone"), way.device()
    await greet(first, inbox)
    first.vanish()
    await until(lambda: not transport.session(D1))

    await greet(second, inbox, hello=b"back")

    await reached(second, transport, b"command")


async def test_a_hello_that_is_refused_makes_no_session(way: Way, inbox: RecordingInbox) -> None:
    way.needs(Promise.HEARS_HELLO_ALONE)
    inbox.answers = {b"forged": Disposition.UNTRUSTED, b"broken": Disposition.MALFORMED}
    transport = await way.start(inbox)
    device = way.device()

    await greet(device, inbox, hello=b"forged")
    await greet(device, inbox, hello=b"broken")

    await until(lambda: not transport.session(D1))
    assert not transport.write(D1, DownlinkKind.COMMAND, b"command")
    assert transport.session_count == 0


async def test_a_clean_goodbye_ends_the_session(way: Way, inbox: RecordingInbox) -> None:
    way.needs(Promise.SEES_CONNECTIONS)
    transport = await way.start(inbox)
    device = way.device(will=b"gone")
    await greet(device, inbox)

    await device.leave()

    await until(lambda: not transport.session(D1))
    await until(lambda: inbox.ended)
    assert b"gone" not in inbox.payloads


async def test_a_closed_session_takes_no_command_until_the_next_hello(way: Way, inbox: RecordingInbox) -> None:
    transport = await way.start(inbox)
    device = way.device()
    await greet(device, inbox)

    transport.close(D1, reason="blocked")

    await until(lambda: not transport.session(D1))
    assert not transport.write(D1, DownlinkKind.COMMAND, b"command")
    if way.gives(Promise.ENDS_CONNECTIONS):
        await until(lambda: device.ends)
        assert max(device.ends) >= REFUSED
    back = way.device()
    await greet(back, inbox, hello=b"back")
    await reached(back, transport, b"again")
