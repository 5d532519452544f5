"""The endpoint as the controller sees it: a `Transport` down, an `Inbox` up, and a clean start and stop.

```
socket → Acceptor (TLS) → Session (MQTT, one per device) → Intake (batches) → Inbox
                               ↑ write, close                          └ PUBACK after the commit
```
"""

import asyncio
import socket
import ssl
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final

import structlog

from controller.app.ports import Inbox, Uplinked
from controller.complaints import Complaints
from controller.edge.acceptor import Acceptor, listen, shrink_tls_buffers
from controller.edge.codec import Code
from controller.edge.limits import Counts, Limits
from controller.edge.rounds import Rounds
from controller.edge.session import Phase, Session
from controller.edge.wire import Pause, new_buffer
from controller.intake import Farewell, Intake, Message
from protocol.ids import Name, TenantId
from protocol.topics import DownlinkKind, UplinkKind

log = structlog.get_logger()


class Endpoint:
    """The built-in MQTT endpoint of one tenant; implements `controller.app.ports.Transport`.

    Make it, and call everything, on the loop that runs `run`. `counts` and the properties below it are for metrics.
    """

    def __init__(
        self,
        inbox: Inbox,
        *,
        tenant: TenantId,
        context: ssl.SSLContext,
        instance: int,
        limits: Limits | None = None,
    ) -> None:
        """Take where messages go, whose devices may come, how they are authenticated, and this life's number."""
        self.limits: Limits = limits or Limits()
        self.counts: Counts = Counts()
        self._inbox = inbox
        self._tenant = tenant
        self._instance: Final = instance
        self._buffer = new_buffer()
        self._complaints = Complaints(
            lines_per_second=self.limits.log_lines_per_second, burst=self.limits.log_lines_burst
        )
        self._intake = Intake(inbox, limits=self.limits.intake, counts=self.counts, on_pressure=self._press)
        self._acceptor = Acceptor(
            context,
            lambda: Session(self, tenant=self._tenant, buffer=self._buffer),
            limits=self.limits,
            counts=self.counts,
            complaints=self._complaints,
            has_room=lambda: len(self._open) < self.limits.connections_max and not self._intake.is_full,
        )
        self._open: dict[Session, None] = {}
        self._rounds: Rounds[Session] = Rounds(step_s=self.limits.sweep_s, at=asyncio.get_running_loop().time())
        self._live: dict[Name, Session] = {}
        self._last_number = 0
        self._checks: dict[asyncio.Task[None], Session] = {}
        self._listeners: list[socket.socket] = []
        self._accepting: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._stopped = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()

    # --- life -----------------------------------------------------------------------------------------------

    def listen(self, host: str, port: int) -> list[tuple[str, int]]:
        """Bind the listening sockets and return their addresses; connections are accepted once `run` runs.

        Raises:
            StorageUnavailable: when an address is in use or not ours.
        """
        self._listeners += listen(host, port, backlog=self.limits.backlog, service="MQTT")
        return [listener.getsockname()[:2] for listener in self._listeners]

    async def run(self) -> None:
        """Serve until `stop` has been called and is done; an error of ours ends it with that error."""
        shrink_tls_buffers()
        loops: tuple[Coroutine[Any, Any, None], ...] = (self._intake.run(), self._sweep_all())
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(loop) for loop in loops]
            self._accepting = tasks.create_task(self._acceptor.run(self._listeners), name="edge-accept")
            await self._stopped.wait()
            for task in (*background, self._accepting):
                task.cancel()

    async def stop(self) -> None:
        """Refuse new connections, store what has come, say goodbye to all, and end `run`.

        Bounded in time: what cannot be stored in `IntakeLimits.drain_timeout_s` is not acknowledged, so its sender
        offers it again.
        """
        if self._is_stopping:
            await self._stopped.wait()
            return
        self._is_stopping = True
        if self._accepting is not None:
            self._accepting.cancel()
        for listener in self._listeners:
            listener.close()  # here, too: a task that has not begun yet is cancelled without its clean-up
        for check in self._checks:
            check.cancel()
        for session in self._open:
            session.pause(Pause.PRESSURE)
        is_drained = await self._intake.drain()
        for session in list(self._open):
            session.close("stopped", Code.SHUTTING_DOWN, at_once=False)
        is_drained = is_drained and await self._intake.drain()
        await self._close_rest()
        log.info("endpoint_stopped", is_drained=is_drained, left=self._intake.depth)
        self._stopped.set()

    async def _close_rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.shutdown_timeout_s):
                await self._emptied.wait()
        for session in list(self._open):
            session.abort()
        await self._emptied.wait()

    async def _sweep_all(self) -> None:
        """Look at the sessions that may have been silent for too long; each says when that is."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.limits.sweep_s)
            self._sweep(loop.time())

    def _sweep(self, at: float) -> None:
        for session in self._rounds.due(at):
            session.sweep(at)

    # --- the port -------------------------------------------------------------------------------------------

    @property
    def instance(self) -> int:
        """The number of this life of the endpoint."""
        return self._instance

    @property
    def session_count(self) -> int:
        """Return how many devices are connected."""
        return len(self._live)

    def session(self, name: Name) -> int:
        """Return the number of the device's live session, 0 when it has none."""
        session = self._live.get(name)
        return 0 if session is None else session.number

    def write(self, name: Name, kind: DownlinkKind, payload: bytes) -> bool:
        """Hand bytes to the device's session now.

        Returns False, and keeps nothing, when there is no session, it has not subscribed to that topic, its window
        of unacknowledged messages is full, or it does not read.
        """
        session = self._live.get(name)
        is_written = session is not None and session.deliver(kind, payload)
        self.counts.written += is_written
        self.counts.write_refused += not is_written
        return is_written

    def close(self, name: Name, *, reason: str) -> None:
        """End the device's session, if it has one, and refuse one that is just being checked."""
        found = [session for session in self._checks.values() if session.name == name]
        if name in self._live:
            found.append(self._live[name])
        for session in found:
            log.info("session_closed", device=name, reason=reason)
            session.close("closed", Code.ADMINISTRATIVE)

    # --- gauges ---------------------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """Return how many TLS connections are open."""
        return len(self._open)

    @property
    def depth(self) -> int:
        """Return how many messages wait to be stored."""
        return self._intake.depth

    # --- what sessions ask ----------------------------------------------------------------------------------

    def opened(self, session: Session) -> None:
        """Take note of a new connection."""
        self._open[session] = None
        self._emptied.clear()

    def closed(self, session: Session) -> None:
        """Take note that the connection is gone."""
        self._open.pop(session, None)
        self._rounds.drop(session)
        if not self._open:
            self._emptied.set()

    def look_at(self, session: Session, at: float) -> None:
        """Have the session swept after *at*."""
        self._rounds.put(session, at)

    def arrived(self, session: Session) -> None:
        """Ask the inbox whether the device may connect."""
        task = asyncio.create_task(self._check(session), name="edge-check")
        self._checks[task] = session
        task.add_done_callback(partial(self._checks.pop))

    async def _check(self, session: Session) -> None:
        try:
            async with asyncio.timeout(self.limits.connect_timeout_s):
                may_connect = await self._inbox.may_connect(session.name)
        except Exception as error:  # noqa: BLE001 - whatever went wrong: fail closed, and the device tries again
            self.complain("connect_check_failed", device=session.name, error=repr(error))
            session.refuse(Code.UNAVAILABLE, "try again later")
            return
        if session.phase is not Phase.CHECKING:
            return  # it gave up, or was closed, meanwhile
        if self._is_stopping or self._intake.is_full:
            session.refuse(Code.BUSY, "try again later")
        elif may_connect:
            self._admit(session)
        else:
            session.refuse(Code.NOT_AUTHORIZED, "not enrolled, or blocked")

    def _admit(self, session: Session) -> None:
        old = self._live.get(session.name)
        if old is not None:
            self.counts.taken_over += 1
            old.close("taken_over", Code.TAKEN_OVER)
        self._last_number += 1
        self._live[session.name] = session
        self.counts.connected += 1
        session.admit(self._last_number, is_pressed=self._intake.is_pressed)

    def left(self, session: Session, will: bytes | None) -> None:
        """Queue the will of a session that ended, and the note that it did."""
        if self._live.get(session.name) is session:
            del self._live[session.name]
        if will is not None:
            self.take(Message(Uplinked(name=session.name, kind=UplinkKind.GONE, payload=will)))
        self._intake.put(Farewell(session.name, session.number))

    def take(self, message: Message) -> None:
        """Queue a message."""
        self._intake.put(message)

    def complain(self, event: str, **fields: object) -> None:
        """Log what a peer did wrong, at a bounded rate."""
        self._complaints.say(asyncio.get_running_loop().time(), event, **fields)

    def _press(self, is_on: bool) -> None:  # noqa: FBT001 - a callback with one argument
        live = [session for session in self._open if session.phase is Phase.LIVE]
        for session in live:
            if is_on:
                session.pause(Pause.PRESSURE)
            elif self._intake.is_pressed:
                break  # what those before had waiting filled the queue again
            else:
                self._open[session] = self._open.pop(session)  # to the end: next time it is the others' turn
                session.resume(Pause.PRESSURE)
