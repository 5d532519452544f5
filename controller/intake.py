"""One queue for what all devices say: gathered into batches, stored, and only then acknowledged.

Whichever way in they come by, it ends here.

The rules this module keeps:

1. One `Inbox.receive` at a time; while it runs, the next batch gathers, so that commits grow with the load.
2. A message is answered after the return of the call that stored it. When the call raises, nothing is answered and
   the same batch is offered again; meanwhile reading stays paused by the queue's own length.
3. The next batch also gathers for `IntakeLimits.gather_s` after the last one was stored, unless it is full: a few
   devices at work share their commits, and a lone message is stored at once.
4. Order is kept: per session, and between a session's last message, its will and the note that it ended.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from controller.app.ports import Disposition, Inbox, Uplinked
from protocol.ids import Name

Answer = Callable[[Disposition], None]
"""What to do once a message is stored; never awaits and never raises."""

log = structlog.get_logger()


class Message(msgspec.Struct, frozen=True):
    """A message, and whom to tell what became of it (nobody at QoS 0, or for a will)."""

    content: Uplinked
    answer: Answer | None = None


class Farewell(msgspec.Struct, frozen=True):
    """A session that has ended; comes after all its messages."""

    name: Name
    session: int


class IntakeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is taken in, and how hard is tried to store it."""

    batch_max: int = 500
    gather_s: float = 0.02
    """How long messages gather after a batch was stored, unless they fill one. A commit costs as much for one message
    as for ten, so devices at work wait a little; whoever speaks after a silence does not."""
    intake_high: int = 4_000
    intake_low: int = 2_000
    farewells_max: int = 40_000
    retry_first_s: float = 0.1
    retry_max_s: float = 5.0
    farewell_tries_max: int = 5
    drain_timeout_s: float = 10.0


@dataclass(slots=True)
class IntakeCounts:
    """What happened since the start; each way in adds its own to these."""

    stored: int = 0
    paused: int = 0
    batches: int = 0
    batches_failed: int = 0
    farewells_lost: int = 0
    dispositions: Counter[str] = field(default_factory=Counter)


class Intake:
    """The queue and the two loops that empty it."""

    def __init__(
        self, inbox: Inbox, *, limits: IntakeLimits, counts: IntakeCounts, on_pressure: Callable[[bool], None]
    ) -> None:
        """Take where messages go, and whom to tell that the queue is too long, or short again."""
        self._inbox = inbox
        self._limits = limits
        self._counts = counts
        self._on_pressure = on_pressure
        self._queue: Final[deque[Message | Farewell]] = deque()
        self._farewells: Final[deque[Farewell]] = deque()
        self._filled = asyncio.Event()
        self._batch_full = asyncio.Event()
        self._farewell_due = asyncio.Event()
        self._idle = asyncio.Event()
        self._busy = 0
        self._stored_at = -math.inf
        self._idle.set()
        self.is_pressed = False

    @property
    def depth(self) -> int:
        """Return how many messages and notes wait."""
        return len(self._queue) + len(self._farewells)

    @property
    def is_full(self) -> bool:
        """Say whether so many sessions wait to be noted as ended that no new one should begin."""
        return len(self._farewells) >= self._limits.farewells_max

    def put(self, item: Message | Farewell) -> None:
        """Queue a message or the note that a session ended; calls for a pause above the high-water mark."""
        self._queue.append(item)
        self._filled.set()
        self._idle.clear()
        if len(self._queue) >= self._limits.batch_max:
            self._batch_full.set()
        if not self.is_pressed and len(self._queue) >= self._limits.intake_high:
            self._press(is_on=True)

    def _press(self, *, is_on: bool) -> None:
        self.is_pressed = is_on
        self._counts.paused += is_on
        self._on_pressure(is_on)

    async def run(self) -> None:
        """Empty the queue until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._store_all(), name="intake")
            tasks.create_task(self._note_all(), name="farewells")

    async def drain(self) -> bool:
        """Wait until all is stored and noted, but not for ever; say whether it was."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.drain_timeout_s):
                await self._idle.wait()
        return self._idle.is_set()

    async def _store_all(self) -> None:
        while True:
            await self._filled.wait()
            await self._gather()
            batch = self._next_batch()
            await self._store([item for item in batch if isinstance(item, Message)])
            self._farewells.extend(item for item in batch if isinstance(item, Farewell))
            if self._farewells:
                self._farewell_due.set()
            self._done(stored=True)

    async def _gather(self) -> None:
        left_s = self._stored_at + self._limits.gather_s - asyncio.get_running_loop().time()
        if left_s > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._batch_full.wait(), left_s)

    def _next_batch(self) -> Sequence[Message | Farewell]:
        count = min(len(self._queue), self._limits.batch_max)
        batch = [self._queue.popleft() for _ in range(count)]
        self._busy += 1
        if not self._queue:
            self._filled.clear()
        if len(self._queue) < self._limits.batch_max:
            self._batch_full.clear()
        return batch

    def _done(self, *, stored: bool) -> None:
        self._busy -= 1
        if stored and self.is_pressed and len(self._queue) <= self._limits.intake_low:
            self._press(is_on=False)
        if not self._queue and not self._farewells and not self._busy:
            self._idle.set()

    async def _store(self, batch: Sequence[Message]) -> None:
        if not batch:
            return
        contents = [message.content for message in batch]

        async def receive() -> Sequence[Disposition]:
            answers = await self._inbox.receive(contents)
            assert len(answers) == len(contents), "an inbox returns one disposition for each message"
            return answers

        dispositions = await self._insist(receive)
        self._stored_at = asyncio.get_running_loop().time()
        self._counts.batches += 1
        self._counts.stored += len(batch)
        for message, disposition in zip(batch, dispositions, strict=True):
            self._counts.dispositions[disposition] += 1
            if message.answer is not None:
                message.answer(disposition)

    async def _insist(self, receive: Callable[[], Awaitable[Sequence[Disposition]]]) -> Sequence[Disposition]:
        """Offer the same batch until it is taken: what cannot be stored must not be acknowledged, nor lost."""
        wait_s = self._limits.retry_first_s
        while True:
            try:
                return await receive()
            except Exception as error:  # noqa: BLE001 - the top of the loop: it logs, counts and goes on
                self._counts.batches_failed += 1
                log.warning("intake_batch_refused", error=repr(error), retry_in_s=wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, self._limits.retry_max_s)

    async def _note_all(self) -> None:
        while True:
            await self._farewell_due.wait()
            farewell = self._farewells.popleft()
            self._busy += 1
            if not self._farewells:
                self._farewell_due.clear()
            await self._note(farewell)
            self._done(stored=False)

    async def _note(self, farewell: Farewell) -> None:
        """Tell the inbox that a session ended; presence is soft state, so this is not tried for ever."""
        wait_s = self._limits.retry_first_s
        for _ in range(self._limits.farewell_tries_max):
            try:
                await self._inbox.disconnected(farewell.name, farewell.session)
            except Exception as error:  # noqa: BLE001 - the top of the loop: it logs, counts and goes on
                log.warning("disconnect_note_refused", error=repr(error), retry_in_s=wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, self._limits.retry_max_s)
            else:
                return
        self._counts.farewells_lost += 1
