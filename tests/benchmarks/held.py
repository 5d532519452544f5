"""The bound for held connections: asyncio's own TLS server, which keeps what connects and gives constant answers.

It has the endpoint's certificate, TLS context and small buffers (see `shrink_tls_buffers`; with those that asyncio has
by itself each connection would hold 240 KiB more). It does not read MQTT: whatever comes first is answered with an
acceptance, then with a grant, then with pongs, which is enough for the devices of `tests.benchmarks.clients`.
"""

import asyncio
from pathlib import Path
from typing import Any, Final, cast

import mqtt5

from controller.edge.acceptor import listen, shrink_tls_buffers
from controller.edge.limits import Limits
from controller.edge.wire import new_buffer
from controller.signing.keystore import Keystore
from tests.benchmarks.bare import Port
from tests.benchmarks.control import Order, obey

TICK_S: Final = 1.0
_GRANTED: Final = [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE] * 2
_ANSWERS: Final = (mqtt5.ConnAckPacket().write(), mqtt5.SubAckPacket(1, _GRANTED).write())
_PONG: Final = mqtt5.PingRespPacket().write()
_BUFFER: Final = new_buffer()


class Held(asyncio.BufferedProtocol):
    """One connection."""

    __slots__ = ("_count", "_transport")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self._transport = cast("asyncio.Transport", transport)
        self._count = 0

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read into."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Answer, whatever came."""
        self._transport.write(_ANSWERS[self._count] if self._count < len(_ANSWERS) else _PONG)
        self._count += 1


async def _run(socket: str, folder: Path) -> None:
    """Serve until the benchmark ends, and wake once a second, as whatever has a clock does."""
    shrink_tls_buffers()
    [listener] = listen("127.0.0.1", 0, backlog=Limits().backlog, service="MQTT")
    port: int = listener.getsockname()[1]

    async def carry_out(order: Order[Any]) -> Any:
        match order:
            case Port():
                return port
        raise TypeError(f"no such order: {order}")

    def tick() -> None:
        asyncio.get_running_loop().call_later(TICK_S, tick)

    tick()
    context = Keystore(folder).server_context()
    await asyncio.get_running_loop().create_server(Held, sock=listener, ssl=context)
    await obey(socket, carry_out)


def main(socket: str, folder: str) -> None:
    """Hold connections with the keys of an installation until the benchmark ends."""
    asyncio.run(_run(socket, Path(folder)))
