"""The broker of the tests leaves nothing behind that a later test would be blamed for."""

import asyncio

from tests.controller.mqtt.fake_broker import fake_broker


async def test_a_connection_that_says_nothing_is_closed_when_the_broker_ends() -> None:
    async with fake_broker() as fake:
        reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
        await asyncio.sleep(0.05)
    try:
        async with asyncio.timeout(1):
            assert await reader.read() == b""
    except ConnectionResetError:
        pass
    finally:
        writer.close()
