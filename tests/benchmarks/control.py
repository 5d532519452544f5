"""Processes that do what a benchmark asks: one typed order at a time, over a socket, each answered or given up.

The answering process runs asyncio and is measured or kept out of the measurement, as `clients` and `bare` are.
"""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, cast

from simulator.processes import Child, Processes
from tests.benchmarks.measure import BenchmarkFailed

T = TypeVar("T")

START_SECONDS: Final = 30.0
ASK_SECONDS: Final = 60.0


class Order(Generic[T]):
    """What is asked; T is the type of the answer. Orders are dataclasses, pickled by the name of their module."""


@dataclass(frozen=True)
class Failure:
    """The answer to an order that could not be carried out."""

    why: str


class Remote:
    """A child process that obeys orders, as its parent sees it."""

    def __init__(self, child: Child, connection: "Connection[Any, Any]") -> None:
        """Take the process, and the socket to it."""
        self.child = child
        self._connection = connection

    @classmethod
    def start(cls, processes: Processes, name: str, module: str, *arguments: str) -> "Remote":
        """Start ``main(path, *arguments)`` of *module*, which calls `obey` with the path.

        Raises:
            BenchmarkFailed: when it does not call in time.
        """
        path = processes.folder / f"{name}.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(1)
            listener.settimeout(START_SECONDS)
            # Not `-m`: orders are pickled by the name of their module, which would then be `__main__`.
            program = f"import sys; from {module} import main; main(*sys.argv[1:])"
            child = processes.start(name, [sys.executable, "-c", program, str(path), *arguments])
            try:
                accepted, _ = listener.accept()
            except TimeoutError as error:
                raise BenchmarkFailed(f"{name} does not answer: {child.last_words()}") from error
        accepted.setblocking(True)
        return cls(child, Connection(accepted.detach()))

    def ask(self, order: Order[T], *, seconds: float = ASK_SECONDS) -> T:
        """Return the answer to *order*.

        Raises:
            BenchmarkFailed: when there is none in *seconds*, or it is a failure.
        """
        self._connection.send(order)
        if not self._connection.poll(seconds):
            raise BenchmarkFailed(f"{self.child.name}: no answer to {order} in {seconds:.0f} s")
        try:
            answer = self._connection.recv()
        except EOFError as error:
            raise BenchmarkFailed(f"{self.child.name} has ended: {self.child.last_words()}") from error
        if isinstance(answer, Failure):
            raise BenchmarkFailed(f"{self.child.name}: {order}: {answer.why}")
        return cast("T", answer)


async def obey(path: str | Path, carry_out: Callable[[Any], Awaitable[Any]]) -> None:
    """Carry out the orders that come from the socket at *path*, one after the other, until it closes."""
    connection = Client(str(path), family="AF_UNIX")
    orders: asyncio.Queue[Any] = asyncio.Queue()

    def read() -> None:
        try:
            orders.put_nowait(connection.recv())
        except EOFError:
            asyncio.get_running_loop().remove_reader(connection.fileno())
            orders.put_nowait(None)

    asyncio.get_running_loop().add_reader(connection.fileno(), read)
    while (order := await orders.get()) is not None:
        try:
            answer = await carry_out(order)
        except Exception as error:  # noqa: BLE001 - the top of the loop: whoever asked is told
            answer = Failure(f"{type(error).__name__}: {error}")
        connection.send(answer)
