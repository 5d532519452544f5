"""Sending commands: committed bytes are signed, pass the fence, and are handed to the transport.

The rules this module keeps:

1. Only committed rows come here, and the bytes sent are the bytes stored; sending twice repeats them exactly.
2. Between the comparison with the fence and the write to the transport there is no await, so nothing is handed
   over after a pause, halt or termination has been answered.
3. What was handed over is marked in batches afterwards. A crash in between only makes a command be sent again.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from controller.app.consequences import Consequences
from controller.app.errors import StorageUnavailable
from controller.app.ports import Clock, Compute, Priority, Transport
from controller.app.records import CommandRecord
from controller.app.repositories import Store, Transaction
from controller.observe import Meters
from protocol.envelope import SigningKey, seal
from protocol.messages import PayloadType
from protocol.topics import DownlinkKind
from protocol.units import MINUTE, SECOND, later

log = structlog.get_logger()

BATCH_MAX: Final = 256
RESEND_FIRST_MS: Final = 15 * SECOND
RESEND_LONGEST_MS: Final = 5 * MINUTE
WINDOW_FULL_MS: Final = SECOND


def resend_after_ms(sends: int) -> int:
    """Return the wait before a command that was sent *sends* times is sent again."""
    return min(RESEND_FIRST_MS << min(sends, 8), RESEND_LONGEST_MS)


class Dispatcher:
    """The queue of committed commands, and the fence before the transport. Belongs to one event loop."""

    def __init__(
        self,
        *,
        store: Store,
        transport: Transport,
        director: SigningKey,
        clock: Clock,
        compute: Compute,
        meters: Meters,
    ) -> None:
        self._store = store
        self._transport = transport
        self._director = director
        self._clock = clock
        self._compute = compute
        self._meters = meters
        self._queue: deque[CommandRecord] = deque()
        self._queued: set[int] = set()
        self._epochs: dict[int, int] = {}
        self._voided: set[int] = set()
        self._is_pumping = False
        self.on_kick: Callable[[], None] = lambda: None

    @property
    def waiting_count(self) -> int:
        """The commands that are committed and not yet handed over."""
        return len(self._queue)

    def fence(self, after: Consequences) -> None:
        """Take over the fences of a commit; from now on nothing that they forbid is handed to the transport."""
        for run_id, epoch in after.epochs.items():
            self._epochs[run_id] = max(epoch, self._epochs.get(run_id, 0))
        self._voided.update(set(after.voided) & self._queued)

    def is_fenced(self, run_id: int, epoch: int) -> bool:
        """Say whether what was decided in *epoch* of a run must not be handed over any more."""
        return epoch < self._epochs.get(run_id, 0)

    def queue(self, after: Consequences) -> None:
        """Take over the commands of a commit, to be sent by the next `pump`; `kick` asks for one."""
        self.release(self.reserve(after))

    def reserve(self, after: Consequences) -> list[CommandRecord]:
        """Take note of the commands of a commit, which fences reach from now on, to be sent after their `release`."""
        unwanted = self._queued.union(after.voided)
        new = {command.id: command for command in after.commands if command.id not in unwanted}
        self._queued.update(new)
        return list(new.values())

    def release(self, reserved: Sequence[CommandRecord]) -> None:
        """Queue what `reserve` returned."""
        self._queue.extend(reserved)

    def kick(self) -> None:
        """Ask whoever runs `pump` to do so."""
        self.on_kick()

    async def pump(self) -> bool:
        """Send what is queued; return whether anything was. One pump at a time; a second returns at once."""
        if self._is_pumping or not self._queue:
            return False
        self._is_pumping = True
        try:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))]
                await self._send(batch)
        finally:
            self._is_pumping = False
        return True

    async def _send(self, batch: Sequence[CommandRecord]) -> None:
        try:
            envelopes = await self._compute.map(self._sealed, batch)
            sent, kept = self._hand_over(batch, envelopes)
        finally:  # What could not be signed is no longer queued either: it is sent when it is due again.
            self._queued.difference_update(command.id for command in batch)
            self._voided.difference_update(command.id for command in batch)
        try:
            await self._mark(sent, kept)
        except StorageUnavailable:
            log.warning("commands_not_marked", count=len(sent), consequence="they will be sent again")

    def _sealed(self, command: CommandRecord) -> bytes:
        return seal(command.payload, PayloadType.COMMAND, self._director)

    def _hand_over(
        self, batch: Sequence[CommandRecord], envelopes: Sequence[bytes]
    ) -> tuple[list[CommandRecord], list[CommandRecord]]:
        """Write what the fence lets through; return (handed over, kept because the device cannot take it now)."""
        sent: list[CommandRecord] = []
        kept: list[CommandRecord] = []
        for command, envelope in zip(batch, envelopes, strict=True):
            if not self._may_send(command):
                continue
            is_written = self._transport.write(command.name, DownlinkKind.COMMAND, envelope)
            (sent if is_written else kept).append(command)
        return sent, kept

    def _may_send(self, command: CommandRecord) -> bool:
        is_current = not self.is_fenced(command.run_id, command.epoch) and command.id not in self._voided
        return is_current and command.expires_at > self._clock.now()

    async def _mark(self, sent: Sequence[CommandRecord], kept: Sequence[CommandRecord]) -> None:
        if not sent and not kept:
            return
        now = self._clock.now()
        by_sends: dict[int, list[int]] = {}
        for command in sent:
            by_sends.setdefault(command.sends, []).append(command.id)
        for op, count in Counter(command.op.value for command in sent).items():
            self._meters.published.labels(op=op).inc(count)
        online = [c.id for c in kept if self._transport.session(c.name)]
        offline = [c for c in kept if not self._transport.session(c.name)]

        def work(tx: Transaction) -> None:
            for sends, ids in by_sends.items():
                tx.commands.mark_sent(ids, again_at=later(now, resend_after_ms(sends)))
            if online:
                tx.commands.postpone(online, until=later(now, WINDOW_FULL_MS))
            for command in offline:  # its next hello sends it sooner
                tx.commands.postpone([command.id], until=command.expires_at)

        await self._store.write(work, priority=Priority.DISPATCH)
