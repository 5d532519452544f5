"""What devices say arrives, is stored before it is acknowledged, and is never lost by us."""

import asyncio
from typing import Final

from controller.intake import IntakeLimits
from protocol.ids import Name
from protocol.messages import MESSAGE_BYTES_MAX
from protocol.topics import UplinkKind
from tests.controller.edge.world import D1, D2, until
from tests.controller.transport.device import Device
from tests.controller.transport.inboxes import RecordingInbox
from tests.controller.transport.promises import Promise
from tests.controller.transport.ways import Bounds, Way

SPEAKERS: Final = 4
MANY: Final = SPEAKERS * 1_250
"""More than any broker pushes before it is acknowledged: NATS, which pushes most, 1,000 to each lane."""
IN_TRANSIT_MAX: Final = SPEAKERS * 64
"""What was read already when reading stopped; a broker would push four times as much, if it were let."""


async def test_a_message_comes_with_its_name_kind_and_bytes(way: Way, inbox: RecordingInbox) -> None:
    await way.start(inbox)
    device = way.device()
    await device.come()
    whole = bytes(range(256)) * (MESSAGE_BYTES_MAX // 256)

    device.say(b"hello", UplinkKind.HELLO)
    device.say(whole)
    device.say(b"tick", UplinkKind.TICK, qos=0)

    await until(lambda: len(inbox.messages) == 3)
    found = {(message.name, message.kind, message.payload) for message in inbox.messages}
    assert found == {
        (D1, UplinkKind.HELLO, b"hello"),
        (D1, UplinkKind.REPORT, whole),
        (D1, UplinkKind.TICK, b"tick"),
    }


async def test_a_message_is_acknowledged_only_once_it_is_stored(way: Way, inbox: RecordingInbox) -> None:
    way.needs(Promise.ANSWERS_AFTER_COMMIT)
    await way.start(inbox)
    device = way.device()
    await device.come()
    inbox.open.clear()

    said = device.say(b"report")
    await until(lambda: inbox.offers)
    await asyncio.sleep(0.1)
    assert not said.is_published()

    inbox.open.set()
    assert await device.answered(said) == 0


async def test_what_the_inbox_could_not_store_is_offered_again_in_order(way: Way, inbox: RecordingInbox) -> None:
    await way.start(inbox)
    device = way.device()
    await device.come()
    inbox.failures = 3
    payloads = [b"%d" % number for number in range(50)]

    said = [device.say(payload) for payload in payloads]

    await until(lambda: len(inbox.payloads) >= len(payloads))
    assert inbox.payloads == payloads
    assert inbox.failures == 0
    for each in said:
        assert await device.answered(each) == 0


async def test_what_was_not_stored_when_the_controller_died_comes_to_its_next_life(
    way: Way, inbox: RecordingInbox
) -> None:
    await way.start(inbox)
    device = way.device()
    await device.come()
    device.say(b"stored")
    await until(lambda: inbox.payloads == [b"stored"])
    inbox.open.clear()
    payloads = [b"%d" % number for number in range(10)]
    for payload in payloads:
        device.say(payload)
    await until(lambda: inbox.offers > 1)

    await way.kill()
    later = RecordingInbox()
    await way.start(later)
    if not way.gives(Promise.KEEPS_UPLINKS):
        assert await device.connect() == 0

    await until(lambda: set(later.payloads) >= set(payloads))
    assert inbox.payloads == [b"stored"]


async def test_what_was_stored_does_not_come_again_after_a_stop(way: Way, inbox: RecordingInbox) -> None:
    await way.start(inbox)
    device = way.device()
    await device.come()
    said = [device.say(b"%d" % number) for number in range(10)]
    await until(lambda: len(inbox.payloads) == 10)
    for each in said:
        assert await device.answered(each) == 0

    await way.stop()
    later = RecordingInbox()
    await way.start(later)
    if not way.gives(Promise.KEEPS_UPLINKS):
        assert await device.connect() == 0
    device.say(b"next")

    await until(lambda: later.payloads)
    assert later.payloads == [b"next"]


async def test_what_is_said_while_the_controller_is_away_comes_after_its_return(
    way: Way, inbox: RecordingInbox
) -> None:
    way.needs(Promise.KEEPS_UPLINKS)
    await way.start(inbox)
    device = way.device()
    await device.come()
    device.say(b"before")
    await until(lambda: inbox.payloads)

    await way.stop()
    payloads = [b"%d" % number for number in range(100)]
    for payload in payloads:
        await device.answered(device.say(payload))
    later = RecordingInbox()
    await way.start(later)

    await until(lambda: len(later.payloads) >= len(payloads))
    assert later.payloads == payloads


async def test_an_oversized_message_is_not_stored_and_harms_no_other(way: Way, inbox: RecordingInbox) -> None:
    await way.start(inbox)
    wild, tame = way.device(D1), way.device(D2)
    await wild.come()
    await tame.come()

    wild.say(bytes(4 * MESSAGE_BYTES_MAX))
    tame.say(b"report")

    await until(lambda: inbox.payloads)
    await asyncio.sleep(0.1)
    tame.say(b"another")
    await until(lambda: len(inbox.payloads) >= 2)
    assert inbox.payloads == [b"report", b"another"]


async def test_a_slow_inbox_holds_back_a_flood_and_loses_nothing(way: Way, inbox: RecordingInbox) -> None:
    limits = IntakeLimits(batch_max=100, intake_high=300, intake_low=150, gather_s=0.0)
    await way.start(inbox, Bounds(intake=limits))
    inbox.depth = way.depth
    inbox.open.clear()
    speakers = [way.device(Name(f"acme:speaker-{number}")) for number in range(SPEAKERS)]
    for device in speakers:
        await device.come()

    await asyncio.to_thread(_flood, speakers)
    await until(lambda: inbox.offers)
    held: list[int] = []
    for _ in range(20):
        held.append(way.depth())
        await asyncio.sleep(0.02)
    inbox.open.set()
    while len(inbox.first) < MANY:  # however slow the machine is, it goes on
        stored = inbox.stored
        await until(lambda stored=stored: inbox.stored > stored)

    assert max(*held, *inbox.depths) <= limits.intake_high + limits.batch_max + IN_TRANSIT_MAX
    assert way.kind.has_broker or inbox.stored == MANY
    said = {device.name: [payload for name, payload in inbox.first if name == device.name] for device in speakers}
    assert all(heard == [b"%d" % number for number in range(MANY // SPEAKERS)] for heard in said.values())


def _flood(speakers: list[Device]) -> None:
    for number in range(MANY // SPEAKERS):
        for device in speakers:
            device.say(b"%d" % number)
