"""From a listening socket to TLS connections: how many handshakes at once, and why one failed.

asyncio's own servers hide the reason of a failed handshake and let all handshakes of a storm run at once: 1,000
devices that come together then delay everybody by 41 ms instead of 2 (99th percentile, measured).
"""

import asyncio
import errno
import socket
import ssl
from asyncio import sslproto
from collections.abc import Callable, Sequence
from traceback import clear_frames
from typing import Final

import structlog

from controller.app.errors import StorageUnavailable
from controller.complaints import Complaints
from controller.edge.limits import Counts, Limits

TLS_BUFFER_BYTES: Final = 16_384
"""One TLS record; see `shrink_tls_buffers`."""
ACCEPT_RETRY_S: Final = 0.5

_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})

log = structlog.get_logger()


def shrink_tls_buffers() -> None:
    """Make asyncio's TLS connections read one record at a time.

    It gives each connection a buffer of 256 KiB for its whole life, so 10,000 idle devices would hold 2.9 GB instead
    of 0.5 (measured). The attribute is not documented: where it is gone, nothing is changed.
    """
    if getattr(sslproto.SSLProtocol, "max_size", 0) > TLS_BUFFER_BYTES:
        sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES


def listen(host: str, port: int, *, backlog: int, service: str) -> list[socket.socket]:
    """Bind every address of *host* that this machine has, all on one port; 0 takes a free one.

    Args:
        host: a name or an address.
        port: the port, 0 for any.
        backlog: how many connections may wait to be accepted.
        service: what is served there, "HTTP" or "MQTT", for the text of an error.

    Returns:
        One socket for each address.

    Raises:
        StorageUnavailable: when an address is in use, or none is ours.
    """
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            chosen = sockets[0].getsockname()[1] if sockets else port
            sockets += _bind(str(address[0]), chosen, family=family, backlog=backlog)
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, "none of its addresses is this machine's")
    except OSError as error:
        for listener in sockets:
            listener.close()
        reason = _why(error, service)
        raise StorageUnavailable(f"cannot listen on {host}:{port} for {service}: {reason}") from error
    return sockets


def _why(error: OSError, service: str) -> str:
    option = f"--{service.lower()}-port"
    if error.errno == errno.EADDRINUSE:
        return f"the port is in use; is a controller running already? choose another with {option}"
    return error.strerror or str(error)


def _bind(address: str, port: int, *, family: int, backlog: int) -> list[socket.socket]:
    try:
        listener = socket.create_server((address, port), family=family, backlog=backlog)
    except OSError as error:
        if error.errno in _NOT_HERE:
            return []  # "localhost" names ::1 also where there is no IPv6
        raise
    listener.setblocking(False)
    # Connections inherit it. asyncio sets it only on sockets that name their protocol, which accepted ones do not.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return [listener]


class Acceptor:
    """Accepts connections of some listening sockets and hands the finished ones to a protocol."""

    def __init__(
        self,
        context: ssl.SSLContext,
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        limits: Limits,
        counts: Counts,
        complaints: Complaints,
        has_room: Callable[[], bool],
    ) -> None:
        """Take the TLS context, what makes protocols, and whether another connection fits."""
        self._context = context
        self._factory = factory
        self._limits = limits
        self._counts = counts
        self._complaints = complaints
        self._has_room = has_room
        self._slots = asyncio.Semaphore(limits.handshakes_max)
        self._open = asyncio.Semaphore(limits.handshakes_open_max)
        self._handshakes: set[asyncio.Task[None]] = set()

    async def run(self, listeners: Sequence[socket.socket]) -> None:
        """Accept until cancelled; then the sockets are closed and handshakes under way ended."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for listener in listeners:
                    tasks.create_task(self._accept_all(listener), name="edge-accept")
        finally:
            for listener in listeners:
                listener.close()
            for handshake in self._handshakes:
                handshake.cancel()
            await asyncio.gather(*self._handshakes, return_exceptions=True)

    async def _accept_all(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._open.acquire()
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                # No more file descriptors, mostly: wait for some to be freed, whoever is connected stays so.
                self._open.release()
                code = errno.errorcode.get(error.errno or 0, "unknown")
                self._complaints.say(loop.time(), "accept_failed", error=code)
                await asyncio.sleep(ACCEPT_RETRY_S)
                continue
            except BaseException:
                self._open.release()
                raise
            self._start(connection)

    def _start(self, connection: socket.socket) -> None:
        if not self._has_room():
            self._counts.connects_refused["full"] += 1
            connection.close()
            self._open.release()
            return
        self._counts.accepted += 1
        task = asyncio.create_task(self._admit(connection), name="edge-handshake")
        self._handshakes.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._handshakes.discard(task)
        self._open.release()
        if not task.cancelled() and task.exception() is not None:
            log.error("handshake_task_failed", error=repr(task.exception()))

    async def _admit(self, connection: socket.socket) -> None:
        """Shake hands, holding a slot only while that is likely to use the CPU."""
        try:
            await self._slots.acquire()
        except BaseException:
            connection.close()
            raise
        slot = asyncio.get_running_loop().call_later(self._limits.handshake_slot_s, self._slots.release)
        try:
            await self._handshake(connection)
        finally:
            if not slot.cancelled() and slot.when() > asyncio.get_running_loop().time():
                slot.cancel()
                self._slots.release()

    async def _handshake(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                self._factory,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.handshake_timeout_s,
                ssl_shutdown_timeout=self._limits.shutdown_timeout_s,
            )
        except OSError as error:  # TLS errors, resets and time-outs are all of this family
            reason = error.reason if isinstance(error, ssl.SSLError) else type(error).__name__
            self._counts.handshakes_failed[reason or "unknown"] += 1
            self._complaints.say(loop.time(), "handshake_failed", reason=reason)
            clear_frames(error.__traceback__)  # error and frames know each other: the circle would keep 40 KiB
