"""A crowd of light devices in one process.

They say hello, acknowledge what comes, note when it came, and report what they are told to report.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from controller.edge.acceptor import shrink_tls_buffers
from tests.benchmarks import orders
from tests.benchmarks.control import Order, obey
from tests.benchmarks.light import Ears, LightDevice, Papers, SilentDevice

DIALS_MAX: Final = 8
CONNECT_SECONDS: Final = 600.0
TURN: Final = 500
"""Messages that are published before the loop may read again."""
_POLL_SECONDS: Final = 0.02


class Crowd:
    """All devices of the process."""

    def __init__(self, papers: Sequence[Papers], *, ca: str, kind: type[LightDevice] = LightDevice) -> None:
        """Take who they are, the CA that the server's certificate chains to, and what they are like."""
        self._heard = Ears()
        self._waiting = [kind(each, self._heard) for each in reversed(papers)]
        self._ca = ca
        self._devices: list[LightDevice] = []
        self._watched_at = 0

    async def carry_out(self, order: Order[Any]) -> Any:
        """Carry out one order, and return its answer."""
        match order:
            case orders.Connect():
                return await self._connect(order)
            case orders.KeepAlive(per_second):
                return self._keep_alive(per_second)
            case orders.Watch():
                return self._watch()
            case orders.Arrivals(count, seconds):
                return await self._arrived(count, seconds)
            case orders.Quiet(seconds):
                return await self._quiet(seconds)
            case orders.Sample():
                return self._sample()
            case orders.PrepareReports(state):
                return self._prepare(lambda device: device.prepare_report(state))
            case orders.PrepareTicks(count):
                return self._prepare(lambda device: device.prepare_ticks(count))
            case orders.Send():
                return await self._send()
        raise TypeError(f"no such order: {order}")

    async def _connect(self, order: orders.Connect) -> None:
        room = asyncio.Semaphore(DIALS_MAX)

        async def dial(device: LightDevice) -> None:
            async with room:
                await device.dial(order.port, self._ca)

        fresh = [self._waiting.pop() for _ in range(order.count - len(self._devices))]
        self._devices += fresh
        async with asyncio.TaskGroup() as tasks:
            for device in fresh:
                tasks.create_task(dial(device))
        await self._until(lambda: self._heard.up_count >= order.count, seconds=CONNECT_SECONDS)
        if order.is_answered:
            await self._until(lambda: self._heard.answer_count >= order.count, seconds=CONNECT_SECONDS)
        gc.collect()
        gc.freeze()

    def _keep_alive(self, per_second: float) -> None:
        loop = asyncio.get_running_loop()

        def ping(number: int) -> None:
            self._devices[number % len(self._devices)].ping()
            loop.call_later(1 / per_second, ping, number + 1)

        ping(0)

    def _watch(self) -> None:
        self._heard.arrivals.clear()
        self._watched_at = time.monotonic_ns()
        for device in self._devices:
            del device.commands[:-2]  # a hold may stand behind the installation that is reported on

    async def _arrived(self, count: int, seconds: float) -> list[int]:
        await self._until(lambda: len(self._heard.arrivals) >= count, seconds=seconds)
        return list(self._heard.arrivals)

    async def _quiet(self, seconds: float) -> int:
        def is_quiet() -> bool:
            last = self._heard.arrivals[-1] if self._heard.arrivals else self._watched_at
            return time.monotonic_ns() - last > seconds * 1e9

        await self._until(is_quiet)
        return len(self._heard.arrivals)

    def _sample(self) -> bytes:
        found = next((device.commands[-1] for device in self._devices if device.commands), None)
        if found is None:
            raise LookupError("no device has got a command")
        return found

    def _prepare(self, prepare: Callable[[LightDevice], None]) -> None:
        for device in self._devices:
            device.prepared.clear()
            if device.commands:
                prepare(device)

    async def _send(self) -> orders.Sent:
        senders = [device for device in self._devices if device.prepared]
        count = awaited = 0
        self._heard.settled_count = 0
        begun = time.perf_counter()
        for index in range(len(senders[0].prepared)):
            for device in senders:
                awaited += device.send(index)
                count += 1
                if count % TURN == 0:
                    await asyncio.sleep(0)
        await self._until(lambda: self._heard.settled_count >= awaited)
        return orders.Sent(count, self._heard.settled_at - begun)

    async def _until(self, is_done: Callable[[], bool], *, seconds: float = orders.WAIT_SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while not is_done():
                if self._heard.losses:
                    raise ConnectionError(f"connections are lost: {dict(self._heard.losses)}")
                await asyncio.sleep(_POLL_SECONDS)


def main(socket: str, papers: str, ca: str, manner: str = "speaking") -> None:
    """Run the devices in the file *papers*, which speak or are "silent", until the benchmark ends."""
    shrink_tls_buffers()
    loaded = msgspec.msgpack.decode(Path(papers).read_bytes(), type=list[Papers])
    crowd = Crowd(loaded, ca=Path(ca).read_text(), kind=SilentDevice if manner == "silent" else LightDevice)
    asyncio.run(obey(socket, crowd.carry_out))
