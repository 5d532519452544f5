"""The transport over a real broker: what devices say is stored and acknowledged, what they are told arrives."""

from pathlib import Path

import pytest

from protocol.profiles import Profile
from protocol.topics import Downlink, DownlinkKind, UplinkKind
from tests.controller.edge.world import D1, until
from tests.controller.mqtt.world import needs_mosquitto, world

pytestmark = needs_mosquitto


@pytest.mark.parametrize("profile", list(Profile))
async def test_messages_go_both_ways(tmp_path: Path, profile: Profile) -> None:
    async with world(tmp_path, profile=profile) as w:
        device = await w.greet()
        device.say(UplinkKind.REPORT, b"report")
        await until(lambda: w.inbox.payloads == [b"hello", b"report"])

        assert w.broker.write(D1, DownlinkKind.COMMAND, b"command")
        await until(lambda: device.heard == [(str(Downlink(D1, DownlinkKind.COMMAND)), b"command")])
        await until(lambda: w.broker.unsettled == 0)
