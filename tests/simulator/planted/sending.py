"""Bugs in what is sent, and when: the dispatcher, the fence, and what follows a commit."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import pytest

from controller.app import devices, holds, standstill, wakeups
from controller.app.access import Actor
from controller.app.consequences import Consequences
from controller.app.controller import Controller, Work
from controller.app.dispatch import Dispatcher
from controller.app.errors import StorageUnavailable
from controller.app.ports import Priority
from controller.app.records import CommandRecord
from controller.app.repositories import Transaction
from protocol.units import Instant
from simulator.memory.devices import MemoryDevices
from simulator.virtual.laws.fence import FencedIsNeverSent, NothingAfterThePause
from simulator.virtual.laws.membership import OnlyMembers
from simulator.virtual.laws.outbox import CommittedBeforeSent, OwedIsSentAgain
from simulator.virtual.laws.sequence import SequenceRises
from tests.simulator.planted.planted import planted, wrap


@planted("The dispatcher sends what pauses and terminations forbid.", NothingAfterThePause, FencedIsNeverSent)
def dispatch_ignores_all_fences(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dispatcher, "fence", lambda _self, _after: None)


@planted("The dispatcher compares no epochs.", NothingAfterThePause, FencedIsNeverSent)
def dispatch_ignores_epochs(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Dispatcher, "fence", lambda fence: lambda self, after: fence(self, Consequences(voided=after.voided)))


@planted("The dispatcher sends commands that were closed.", FencedIsNeverSent)
def dispatch_ignores_voided_commands(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Dispatcher, "fence", lambda fence: lambda self, after: fence(self, Consequences(epochs=after.epochs)))


@planted("The fence is raised one batch after the pause was answered.", NothingAfterThePause, FencedIsNeverSent)
def fence_is_raised_after_the_answer(patch: pytest.MonkeyPatch) -> None:
    fence, send = Dispatcher.fence, Dispatcher._send
    late: WeakKeyDictionary[Dispatcher, list[Consequences]] = WeakKeyDictionary()

    async def send_first(self: Dispatcher, batch: Sequence[CommandRecord]) -> None:
        await send(self, batch)
        for after in late.pop(self, []):
            fence(self, after)

    patch.setattr(Dispatcher, "fence", lambda self, after: late.setdefault(self, []).append(after))
    patch.setattr(Dispatcher, "_send", send_first)


@planted("Bytes are sent again though their command has expired.", CommittedBeforeSent, first_seed=40)
def expired_bytes_are_sent_again(patch: pytest.MonkeyPatch) -> None:
    def around(may_send: Any) -> Any:
        return lambda self, command: may_send(self, _fresh(command))

    def sending(resend: Any) -> Any:
        def resent(controller: Controller, tx: Transaction, after: Consequences, at: Instant) -> None:
            due = tx.commands.due(at, limit=wakeups.BATCH_MAX)
            after.commands += [command for command in due if controller.transport.session(command.name)]
            resend(controller, tx, after, at)

        return resent

    wrap(patch, Dispatcher, "_may_send", around)
    wrap(patch, wakeups, "_resend", sending)


def _fresh(command: CommandRecord) -> CommandRecord:
    return msgspec.structs.replace(command, expires_at=Instant(2**60))


@planted("A device whose window is full is taken for one that is offline.", OwedIsSentAgain, first_seed=100)
def full_window_is_taken_for_offline(patch: pytest.MonkeyPatch) -> None:
    def around(mark: Any) -> Any:
        async def marked(self: Dispatcher, sent: Sequence[CommandRecord], kept: Sequence[CommandRecord]) -> None:
            await mark(self, sent, [])
            if kept:
                await self._store.write(lambda tx: _give_up(tx, kept), priority=Priority.DISPATCH)

        return marked

    wrap(patch, Dispatcher, "_mark", around)


def _give_up(tx: Transaction, kept: Sequence[CommandRecord]) -> None:
    for command in kept:
        tx.commands.postpone([command.id], until=command.expires_at)


@planted("A command that was sent once is taken for still queued, so that it is never sent again.", OwedIsSentAgain)
def sent_commands_stay_queued_for_ever(patch: pytest.MonkeyPatch) -> None:
    def around(send: Any) -> Any:
        async def sent(self: Dispatcher, batch: Sequence[CommandRecord]) -> None:
            await send(self, batch)
            self._queued.update(command.id for command in batch)

        return sent

    wrap(patch, Dispatcher, "_send", around)


class _Deaf:
    """A transport that knows of no session."""

    instance = 0

    def session(self, _name: str) -> int:
        return 0


@planted("What is due to be sent again waits, as if every device were offline.", OwedIsSentAgain, first_seed=50)
def nothing_is_sent_again(patch: pytest.MonkeyPatch) -> None:
    def around(resend: Any) -> Any:
        def resent(controller: Controller, *rest: Any) -> None:
            resend(replace(controller, transport=_Deaf()), *rest)  # type: ignore[arg-type]

        return resent

    wrap(patch, wakeups, "_resend", around)


@planted("Commands are sent although their commit failed.", CommittedBeforeSent)
def consequences_follow_a_failed_commit(patch: pytest.MonkeyPatch) -> None:
    write = Controller.write

    async def wrote(self: Controller, work: Work[Any], *, priority: Priority = Priority.OPERATOR) -> Any:
        seen: list[Consequences] = []

        def noting(tx: Transaction, after: Consequences) -> Any:
            seen.append(after)
            return work(tx, after)

        try:
            return await write(self, noting, priority=priority)
        except StorageUnavailable:
            for after in seen:
                self.dispatcher.queue(after)
            self.dispatcher.kick()
            raise

    patch.setattr(Controller, "write", wrote)


@planted("Sequence numbers are kept in memory, and begin anew after a restart.", SequenceRises)
def sequence_numbers_begin_anew_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    numbers: defaultdict[int, int] = defaultdict(int)

    def allocated(_self: MemoryDevices, ids: Sequence[int], *, at: Instant) -> dict[int, int]:
        del at
        for id_ in set(ids):
            numbers[id_] += 1
        return {id_: numbers[id_] for id_ in ids}

    def around(recover: Any) -> Any:
        def recovered(controller: Controller) -> Any:
            numbers.clear()
            return recover(controller)

        return recovered

    patch.setattr(MemoryDevices, "allocate_seqs", allocated)
    wrap(patch, wakeups, "recover", around)


@planted(
    "A sequence number is the time alone: two of one millisecond, or after the clock was set, are equal or fall.",
    SequenceRises,
)
def sequence_numbers_are_the_time(patch: pytest.MonkeyPatch) -> None:
    def around(allocate: Any) -> Any:
        def allocated(self: MemoryDevices, ids: Sequence[int], *, at: Instant) -> dict[int, int]:
            return dict.fromkeys(allocate(self, ids, at=at), at)

        return allocated

    wrap(patch, MemoryDevices, "allocate_seqs", around)


@planted("A blocked device keeps its session.", OnlyMembers, first_seed=50)
def blocked_device_keeps_its_session(patch: pytest.MonkeyPatch) -> None:
    async def blocked(controller: Controller, actor: Actor, *, device: str, reason: str) -> None:
        await devices._set_blocked(controller, actor, device, reason, is_blocked=True)

    patch.setattr(devices, "block", blocked)


@planted("A run that begins while everything is stopped begins to send.", NothingAfterThePause)
def run_begins_while_everything_is_stopped(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, holds, "reasons", lambda _: lambda _tx: ())


@planted("A run can be resumed while everything is stopped.", NothingAfterThePause)
def run_is_resumed_while_everything_is_stopped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(standstill, "require_lifted", lambda _record: None)
