"""Peers that are slow on purpose: how long each may hold a connection, in virtual time."""

import asyncio

import mqtt5

from protocol.topics import Uplink, UplinkKind
from tests.controller.edge.cable import Cable, stage
from tests.controller.edge.world import D1
from tests.simulator.instant_loop import run_virtually

PING = mqtt5.PingReqPacket().write()


async def dribbled(cable: Cable, data: bytes) -> float:
    """Send one byte a second until the session ends; return after how many seconds it did."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number in range(len(data)):
        if cable.is_closing():
            break
        await cable.feed(data[number : number + 1])
        await asyncio.sleep(1)
    return loop.time() - begun


def test_a_connect_that_comes_byte_by_byte_comes_too_late() -> None:
    async def play() -> None:
        async with stage(connect_timeout_s=10.0) as s:
            cable = s.connect(D1)
            assert 10 <= await dribbled(cable, mqtt5.ConnectPacket(D1, username="x" * 900).write()) <= 13
            assert s.endpoint.counts.ended["keepalive"] == 1

    run_virtually(play())


def test_a_packet_that_is_never_whole_is_no_sign_of_life() -> None:
    """Section 3.1.2.10: what counts is a control packet, not bytes."""

    async def play() -> None:
        async with stage(keepalive_s=20) as s:
            cable = s.connect(D1)
            await cable.feed(mqtt5.ConnectPacket(D1, keep_alive=20).write())
            report = mqtt5.PublishPacket(str(Uplink(D1, UplinkKind.REPORT)), bytes(9_000)).write()
            assert 30 <= await dribbled(cable, report) <= 33
            assert s.inbox.messages == []

    run_virtually(play())


def test_a_slow_device_that_finishes_its_packets_stays() -> None:
    async def play() -> None:
        async with stage(keepalive_s=20) as s:
            cable = s.connect(D1)
            await cable.feed(mqtt5.ConnectPacket(D1, keep_alive=20).write())
            assert await dribbled(cable, PING * 100) == 200
            assert cable.packets()[1:] == [mqtt5.PingRespPacket()] * 100

    run_virtually(play())


def test_the_time_for_the_handshake_is_not_taken_from_that_for_connect() -> None:
    async def play() -> None:
        async with stage(connect_timeout_s=10.0) as s:
            cable = Cable(s.endpoint, D1)
            await asyncio.sleep(9)
            cable.session.connection_made(cable)
            await asyncio.sleep(8)
            assert not cable.is_closing()
            await asyncio.sleep(4)
            assert cable.is_closing()

    run_virtually(play())
