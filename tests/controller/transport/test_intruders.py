"""A device with a certificate of its own that wants to be another, or to hear or say what is not its own."""

import asyncio
import ssl

import pytest

from controller.signing.authority import Authority
from protocol.ids import Name, partition_of
from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind
from tests.controller.edge.world import D1, D2, TENANT, now, until
from tests.controller.transport.device import REFUSED, Device
from tests.controller.transport.inboxes import RecordingInbox
from tests.controller.transport.promises import Promise
from tests.controller.transport.test_sessions import greet, reached
from tests.controller.transport.ways import Way

FOREIGN = (
    str(Uplink(D1, UplinkKind.REPORT)),
    str(Uplink(D1, UplinkKind.HELLO)),
    f"tg/1/u/{(partition_of(D2) + 1) % 256}/{D2}/report",
    f"tg/1/u/{partition_of(D2)}/{D2}/other",
    f"tg/1/u/{partition_of(D2)}/{D2}/report/more",
    str(Downlink(D1, DownlinkKind.COMMAND)),
    "tg/1/u",
    "elsewhere",
)
"""What D2 may not publish to."""


async def test_what_is_published_to_a_foreign_topic_does_not_come_in_under_that_name(
    way: Way, inbox: RecordingInbox
) -> None:
    way.needs(Promise.FORBIDS_BY_NAME)
    await way.start(inbox)
    victim = way.device(D1)
    await greet(victim, inbox)

    for topic in FOREIGN:
        intruder = way.device(D2)
        await intruder.come()
        intruder.say(b"forged", topic=topic)
        intruder.say(b"forged", topic=topic, qos=0)
        intruder.say(b"own")
        await until(lambda intruder=intruder: intruder.ends or b"own" in inbox.payloads)
        await intruder.stop()
    honest = way.device(D2)
    await honest.come()
    honest.say(b"last")
    await until(lambda: b"last" in inbox.payloads)

    assert b"forged" not in inbox.payloads
    assert {message.name for message in inbox.messages if message.payload != b"hello"} == {D2}
    assert victim.received == []


async def test_a_forbidden_publish_is_answered_as_such(way: Way, inbox: RecordingInbox) -> None:
    way.needs(Promise.TELLS_REFUSALS)
    await way.start(inbox)
    intruder = way.device(D2)
    await intruder.come()

    assert await intruder.answered(intruder.say(b"forged", topic=FOREIGN[0])) >= REFUSED


@pytest.mark.parametrize("pattern", [f"tg/1/d/{D1}/#", f"tg/1/d/{D1}/cmd", "tg/1/d/+/cmd", "#", "tg/1/u/#"])
async def test_who_subscribes_to_what_is_anothers_hears_nothing(way: Way, inbox: RecordingInbox, pattern: str) -> None:
    way.needs(Promise.FORBIDS_BY_NAME)
    transport = await way.start(inbox)
    victim, intruder = way.device(D1), way.device(D2)
    await greet(victim, inbox)
    await intruder.come()
    await _asks(intruder, pattern)

    victim.say(b"secret report")
    await reached(victim, transport, b"secret command")
    await until(lambda: b"secret report" in inbox.payloads)
    await asyncio.sleep(0.1)

    assert intruder.received == []


async def _asks(intruder: Device, pattern: str) -> None:
    """Ask for a subscription; who is cut off for it has it no less refused."""
    granted = len(intruder.grants)
    intruder._client.subscribe(pattern, qos=intruder.address.profile.downlink_qos)
    await until(lambda: len(intruder.grants) > granted or intruder.ends)


async def test_who_shows_anothers_client_id_harms_nobody(way: Way, inbox: RecordingInbox) -> None:
    way.needs(Promise.BINDS_CLIENT_ID)
    transport = await way.start(inbox)
    victim = way.device(D1, will=b"gone")
    await greet(victim, inbox)

    thief = way.device(D2, client_id=D1)
    await thief.connect()
    thief.say(b"forged")
    await asyncio.sleep(0.2)

    assert victim.ends == []
    assert b"gone" not in inbox.payloads
    assert all(message.name == D1 for message in inbox.messages if message.payload != b"forged")
    assert all(message.name == D2 for message in inbox.messages if message.payload == b"forged")
    await reached(victim, transport, b"command")
    assert thief.received == []


async def test_a_certificate_of_another_authority_is_refused(way: Way, inbox: RecordingInbox) -> None:
    await way.start(inbox)
    stranger = Authority.create(TENANT, at=now())
    context = way.pki.client_context(way.pki.device(Name("acme:stranger"), authority=stranger))
    device = Device(D1, context, way.address())
    way.devices.append(device)

    try:
        answer = await device.connect()
    except (ssl.SSLError, ConnectionError):
        answer = REFUSED

    assert answer >= REFUSED
    assert inbox.messages == []


async def test_nothing_that_a_device_says_is_retained(way: Way, inbox: RecordingInbox) -> None:
    await way.start(inbox)
    device = way.device()
    await device.come()
    device.say(b"kept", retain=True)
    await asyncio.sleep(0.2)

    await way.stop()
    later = RecordingInbox()
    await way.start(later)
    other = way.device(D2)
    await other.come()
    other.say(b"last")
    await until(lambda: later.payloads)

    assert b"kept" not in later.payloads
