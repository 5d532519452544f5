"""What is written arrives whole and in order, within a window, and never out of an old backlog."""

from typing import Final

from controller.app.ports import Transport
from protocol.messages import MESSAGE_BYTES_MAX
from protocol.topics import DownlinkKind
from tests.controller.edge.world import D1, D2, until
from tests.controller.transport.inboxes import RecordingInbox
from tests.controller.transport.test_sessions import greet, reached
from tests.controller.transport.ways import Bounds, Way

WRITES_MAX: Final = 4_000
"""More than any window holds, in bytes too."""


def padded(text: str) -> bytes:
    """Return a payload of the greatest length that begins with *text*."""
    return text.encode().ljust(MESSAGE_BYTES_MAX)


def filled(transport: Transport) -> int:
    """Write until nothing more is taken, and return how much was."""
    for number in range(WRITES_MAX):
        if not transport.write(D1, DownlinkKind.COMMAND, padded(f"filling {number}")):
            return number
    raise AssertionError(f"{WRITES_MAX} writes of {MESSAGE_BYTES_MAX} bytes were taken with nothing acknowledged")


async def test_what_is_written_arrives_whole_and_in_order(way: Way, inbox: RecordingInbox) -> None:
    transport = await way.start(inbox)
    device = way.device()
    await greet(device, inbox)
    payloads = [padded(str(number)) for number in range(40)]

    for payload in payloads:
        await until(lambda payload=payload: transport.write(D1, DownlinkKind.COMMAND, payload))

    await until(lambda: len(device.commands) >= len(payloads))
    assert device.commands == payloads


async def test_a_full_window_refuses_and_takes_again_once_it_is_acknowledged(way: Way, inbox: RecordingInbox) -> None:
    transport = await way.start(inbox, Bounds(window=8))
    device = way.device()
    await greet(device, inbox)
    await reached(device, transport, b"before")

    await way.stall(device)
    taken = filled(transport)
    assert taken > 0
    assert not transport.write(D1, DownlinkKind.COMMAND, padded("refused"))
    await way.go_on(device)

    await until(lambda: transport.write(D1, DownlinkKind.COMMAND, b"after"))
    await until(lambda: b"after" in device.commands)
    assert padded("refused") not in device.commands
    assert len(device.commands) == len(set(device.commands))


async def test_what_a_broken_connection_left_is_not_sent_by_the_next_one(way: Way, inbox: RecordingInbox) -> None:
    transport = await way.start(inbox, Bounds(window=8))
    device = way.device()
    await greet(device, inbox)
    await way.stall(device)
    filled(transport)

    await way.cut(device)
    back = way.device()
    await until(lambda: not transport.write(D1, DownlinkKind.COMMAND, b"while cut"))
    await way.mended()
    await greet(back, inbox, hello=b"back")
    await reached(back, transport, b"new")

    assert back.commands == [b"new"]


async def test_devices_have_no_window_in_common_that_one_could_fill_for_ever(way: Way, inbox: RecordingInbox) -> None:
    transport = await way.start(inbox, Bounds(window=8))
    silent, lively = way.device(D1), way.device(D2)
    await greet(silent, inbox)
    await greet(lively, inbox)
    silent.fall_silent()

    for number in range(100):
        transport.write(D1, DownlinkKind.COMMAND, b"unanswered %d" % number)

    await reached(lively, transport, b"command")
