"""Running the controller until it is told to stop: its loops, its signals, its lock, its own certificate."""

import asyncio
import fcntl
import os
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import structlog
import uvicorn

from controller.app import checking, metering, wakeups
from controller.app.controller import Controller
from controller.app.errors import Conflict, StorageUnavailable
from controller.app.ports import Asker
from controller.signing.keystore import Keystore
from protocol.units import DAY, HOUR, Millis, later

log = structlog.get_logger()

RENEW_BEFORE_MS: Final = Millis(30 * DAY)
RESTART_S: Final = 1.0

Loop = Callable[[], Awaitable[None]]


class Runnable(Protocol):
    """A transport as it is run: the built-in endpoint, or an external broker."""

    async def run(self) -> None:
        """Serve until `stop` has been called and is done; an error of ours ends it with that error."""

    async def stop(self) -> None:
        """End in good order, with what has come, and end `run`; bounded in time."""


class HttpServer(uvicorn.Server):
    """uvicorn, told by us when to stop: left to itself it raises the signal again before the rest has stopped."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `run`."""
        yield


@contextmanager
def sole_controller(folder: Path) -> Iterator[Callable[[], bool]]:
    """Hold the installation in *folder*, so that no second controller works on it.

    Yields:
        What says whether it is still held: not when the folder was moved away or replaced, since another controller
        may hold what is there now.

    Raises:
        Conflict: when another process holds it.
        StorageUnavailable: when the folder cannot be written to.
    """
    try:
        path = (folder / "controller.lock").absolute()
        file = path.open("a")
    except OSError as error:
        raise StorageUnavailable(f"cannot write to {folder}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"another controller runs on {folder}: stop that one first") from error
        yield lambda: _is_at(path, file.fileno())


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


async def run(
    controller: Controller,
    transport: Runnable,
    server: HttpServer,
    *,
    listeners: Sequence[socket.socket],
    renew: Loop,
    asker: Asker,
) -> None:
    """Serve until SIGTERM or SIGINT, then end in good order: HTTP, the transport with what has come, the loops."""
    loops: dict[str, Loop] = {
        "wakeups": lambda: wakeups.run_for_ever(controller),
        "pump": lambda: pump(controller),
        "checking": lambda: checking.run_for_ever(controller, asker),
        "metering": lambda: metering.run_for_ever(controller),
        "renewal": renew,
    }
    async with asyncio.TaskGroup() as tasks:
        background = [tasks.create_task(_supervise(name, loop)) for name, loop in loops.items()]
        transport_task = tasks.create_task(transport.run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, _stop, server)
        log.info("controller_started", tenant=controller.tenant, url=controller.base_url)
        await server.serve(sockets=list(listeners))
        await transport.stop()
        await transport_task
        for task in background:
            task.cancel()
    log.info("controller_stopped")


def _stop(server: uvicorn.Server) -> None:
    server.should_exit = True


async def pump(controller: Controller) -> None:
    """Send what commits leave to be sent, as soon as it is there."""
    kicked = asyncio.Event()
    controller.dispatcher.on_kick = kicked.set
    while True:
        await kicked.wait()
        kicked.clear()
        await controller.dispatcher.pump()


async def renew_server(
    keystore: Keystore, controller: Controller, contexts: Callable[[], Sequence[ssl.SSLContext | None]]
) -> None:
    """Renew the controller's own certificate in time; connections from then on see the new one."""
    clock = controller.clock
    while True:
        if keystore.server_expires() - clock.now() < RENEW_BEFORE_MS:
            keystore.renew_server(keystore.server_hosts(), at=clock.now())
            for context in contexts():
                if context is not None:
                    keystore.refresh(context)
            log.info("server_certificate_renewed")
        await clock.pause_until(later(clock.now(), HOUR))


async def _supervise(name: str, loop: Loop) -> None:
    """Run one of our endless loops; an error in it is logged and counted, and the loop begins again."""
    while True:
        try:
            await loop()
        except StorageUnavailable as error:
            log.warning("loop_waits", loop=name, reason=str(error))
        except Exception:
            log.exception("loop_failed", loop=name)
        await asyncio.sleep(RESTART_S)
