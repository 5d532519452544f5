"""What the stand-ins for both ways in share: batches of what devices say, and the deaths that wait at a publish.

One batch at a time; a message is settled only after its batch was stored; a batch that was refused is offered again.
"""

import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from controller.app.errors import ControllerError
from controller.app.inbox import Inbox
from controller.app.ports import Disposition, Uplinked
from protocol.ids import Name
from protocol.topics import DownlinkKind
from simulator.virtual.ports import Killed
from simulator.virtual.scheduler import suspend
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

RETRY_MS: Final = 500
BATCH_MAX: Final = 50

Handed = Callable[[Name, DownlinkKind, bytes], None]
Spawn = Callable[[Coroutine[Any, Any, Any]], None]
Answer = Callable[[Disposition], None]


class Intake:
    """The queue of one life, and the loop that empties it."""

    def __init__(self, world: World, inbox: Inbox, spawn: Spawn) -> None:
        self._world = world
        self._inbox = inbox
        self._spawn = spawn
        self._queue: deque[tuple[Uplinked, Answer | None]] = deque()
        self._is_storing = False
        self._came = self._stored = 0

    def put(self, message: Uplinked, answer: Answer | None) -> None:
        """Queue a message for the next batch."""
        self._queue.append((message, answer))
        self._came += 1
        if not self._is_storing:
            self._is_storing = True
            self._spawn(self._store_all())

    def clear(self) -> None:
        """Forget what waits."""
        self._queue.clear()

    async def note_end(self, name: Name, number: int) -> None:
        """Tell that a session ended, once all is stored that it said; not for ever, as presence is soft."""
        last = self._came
        while self._stored < last:
            await suspend(lambda go_on: self._world.scheduler.after(RETRY_MS, go_on))
        try:
            await self._inbox.disconnected(name, number)
        except ControllerError:
            self._world.say("transport", f"the end of {name} is not noted")

    async def _store_all(self) -> None:
        while self._queue:
            count = min(BATCH_MAX, len(self._queue))
            batch = [self._queue.popleft() for _ in range(count)]
            dispositions = await self._insist([message for message, _ in batch])
            for (_, answer), disposition in zip(batch, dispositions, strict=True):
                self._count(disposition)
                if answer is not None:
                    answer(disposition)
            self._stored += count
        self._is_storing = False

    def _count(self, disposition: Disposition) -> None:
        is_refused = disposition in {Disposition.MALFORMED, Disposition.UNTRUSTED}
        if is_refused and self._world.draws.network.hostility:
            self._world.sometimes(Sometimes.UPLINK_REFUSED)

    async def _insist(self, batch: list[Uplinked]) -> Sequence[Disposition]:
        while True:
            try:
                return await self._inbox.receive(batch)
            except ControllerError:
                await suspend(lambda go_on: self._world.scheduler.after(RETRY_MS, go_on))


class Perils:
    """The deaths that wait at a publish, in worlds that have them."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world = world
        self._chance = chance
        self._has_written = False

    def perhaps_die(self, kind: DownlinkKind) -> None:
        """Die before a command is written, now and then.

        Raises:
            Killed: when this is the end.
        """
        if kind is DownlinkKind.COMMAND and self._world.strikes(
            self._world.draws.controller.kill_at_publish, self._chance
        ):
            if self._has_written:
                self._world.sometimes(Sometimes.KILLED_WHILE_SENDING)
            raise Killed

    def written(self, kind: DownlinkKind) -> None:
        """Take note that something was written."""
        self._has_written = kind is DownlinkKind.COMMAND
