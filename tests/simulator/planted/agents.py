"""Bugs on the device: what it takes, when it installs, what it remembers and what it says."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from agent.core import admit, machine, work
from agent.core.model import Durable, Fault, Phase, Work
from agent.core.turn import Turn
from agent.journal import Journal, Row
from agent.outbox import Outbox
from agent.runtime import Runtime
from protocol.envelope import parse
from protocol.ids import AppName
from protocol.lifecycle import Left
from protocol.messages import Command, Mode
from simulator.virtual.laws.fence import NothingAfterThePause
from simulator.virtual.laws.installs import FloorsRiseAtCommit, InstalledOnce, NeverBelowTheFloor, WholeOrOld
from simulator.virtual.laws.reports import AcknowledgedIsStored
from simulator.virtual.laws.sequence import SequenceRises
from simulator.virtual.trial import LIVENESS
from tests.simulator.planted.planted import planted, wrap

replace = msgspec.structs.replace

# --- what it takes ----------------------------------------------------------------------------------------------


@planted("The agent obeys commands for other devices.", SequenceRises)
def agent_obeys_commands_for_others(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, admit, "_for_this_device", lambda _: lambda _verified, _durable: None)


@planted("The agent obeys commands that have expired.", SequenceRises, first_seed=1420)
def agent_obeys_expired_commands(patch: pytest.MonkeyPatch) -> None:
    def around(in_time: Any) -> Any:
        return lambda verified, now, *, is_fresh: in_time(
            verified, now and min(now, verified.value.exp - 1), is_fresh=is_fresh
        )

    wrap(patch, admit, "_in_time", around)


class _AnyKey:
    """A key that takes everything for signed."""

    def is_signature(self, _signature: bytes, _data: bytes) -> bool:
        return True


@planted("The agent obeys commands that nobody has signed.", SequenceRises, first_seed=200)
def agent_obeys_unsigned_commands(patch: pytest.MonkeyPatch) -> None:
    def around(verify: Any) -> Any:
        def believed(raw: bytes, kind: Any, shape: Any, _keys: Any) -> Any:
            return verify(raw, kind, shape, {signature.keyid: _AnyKey() for signature in parse(raw).signatures})

        return believed

    wrap(patch, admit, "verify", around)


@planted("The agent obeys commands with an old sequence number.", SequenceRises, first_seed=40)
def agent_obeys_replayed_numbers(patch: pytest.MonkeyPatch) -> None:
    def around(in_sequence: Any) -> Any:
        return lambda verified, durable, *rest: in_sequence(verified, replace(durable, seq=0, generation=0), *rest)

    wrap(patch, admit, "_in_sequence", around)


@planted("The agent forgets which attempts have ended, and begins them again.", InstalledOnce, first_seed=2990)
def agent_forgets_ended_attempts(patch: pytest.MonkeyPatch) -> None:
    def forgetful(durable: Durable) -> Durable:
        return replace(durable, finals=(), runs={run: replace(note, ended=0) for run, note in durable.runs.items()})

    wrap(patch, admit, "_not_busy", lambda ask: lambda taken, durable: ask(taken, forgetful(durable)))


@planted("The agent takes new work while some is in hand.", InstalledOnce)
def agent_takes_work_while_busy(patch: pytest.MonkeyPatch) -> None:
    def idle(taken: tuple[Command, Any, Any], durable: Durable) -> Durable:
        is_other = durable.work is not None and not durable.work.is_of(taken[0].run, taken[0].attempt)
        return replace(durable, work=None) if is_other else durable

    wrap(patch, admit, "_not_busy", lambda ask: lambda taken, durable: ask(taken, idle(taken, durable)))


# --- when it installs -------------------------------------------------------------------------------------------


@planted("After a crash in the installation the agent installs again.", InstalledOnce)
def agent_installs_again_after_a_crash(patch: pytest.MonkeyPatch) -> None:
    def around(resume: Any) -> Any:
        def resumed(turn: Turn) -> None:
            at_hand = turn.durable.work
            if at_hand is not None and at_hand.phase is Phase.INSTALLING:
                work._ask_for(turn, at_hand)
            else:
                resume(turn)

        return resumed

    wrap(patch, machine, "resume", around)


def _settling_with(patch: pytest.MonkeyPatch, change: Any) -> None:
    """Let the permission of waiting work be judged by what *change* makes of the device's memory."""

    def around(settle: Any) -> Any:
        def settled(turn: Turn) -> None:
            at_hand = turn.durable.work
            if at_hand is None or at_hand.phase is not Phase.WAITING:
                settle(turn)
                return
            known = turn.durable.runs
            note = turn.durable.run(at_hand.run)
            turn.keep(runs={**known, at_hand.run: change(note, at_hand)})
            settle(turn)
            now = turn.durable.run(at_hand.run)
            turn.keep(runs={**known, at_hand.run: replace(note, ended=now.ended)})

        return settled

    wrap(patch, work, "settle_waiting", around)
    patch.setattr(machine, "settle_waiting", work.settle_waiting)


@planted("The agent installs though it was told to hold.", NothingAfterThePause)
def agent_ignores_a_hold(patch: pytest.MonkeyPatch) -> None:
    def changed(note: Any, at_hand: Work) -> Any:
        return replace(note, mode=Mode.GO, epoch=at_hand.epoch) if note.mode is Mode.HOLD else note

    _settling_with(patch, changed)


@planted("The agent begins work of an epoch that is over.", NothingAfterThePause, first_seed=170)
def agent_begins_at_an_old_epoch(patch: pytest.MonkeyPatch) -> None:
    _settling_with(patch, lambda note, at_hand: replace(note, epoch=min(note.epoch, at_hand.epoch)))


@planted("The agent goes on though it was called back.", NothingAfterThePause)
def agent_ignores_a_recall(patch: pytest.MonkeyPatch) -> None:
    def changed(note: Any, at_hand: Work) -> Any:
        return replace(note, mode=Mode.GO, epoch=at_hand.epoch) if note.mode is Mode.CANCEL else note

    _settling_with(patch, changed)


# --- what it remembers ------------------------------------------------------------------------------------------


def _journalling_with(patch: pytest.MonkeyPatch, make: Callable[[Journal], Journal]) -> None:
    """Give every agent a journal that *make* makes of its own."""

    def around(init: Any) -> Any:
        return lambda self, *, journal, **rest: init(self, journal=make(journal), **rest)

    wrap(patch, Runtime, "__init__", around)


class _Behind:
    """A journal that writes each commit with the next one."""

    def __init__(self, inner: Journal) -> None:
        self._inner = inner
        self._waiting: tuple[Durable, Sequence[Row], Sequence[int]] | None = None

    def load(self) -> tuple[Durable | None, list[Row]]:
        return self._inner.load()

    def commit(self, durable: Durable, *, add: Sequence[Row] = (), drop: Sequence[int] = ()) -> None:
        if self._waiting is not None:
            self._inner.commit(self._waiting[0], add=self._waiting[1], drop=self._waiting[2])
        self._waiting = (durable, add, drop)


@planted("The agent journals a step with the next one, after its effects.", InstalledOnce)
def agent_acts_before_it_journals(patch: pytest.MonkeyPatch) -> None:
    _journalling_with(patch, _Behind)


@planted("The floor rises when a command is accepted.", FloorsRiseAtCommit)
def floor_rises_at_accept(patch: pytest.MonkeyPatch) -> None:
    def around(begin: Any) -> Any:
        def begun(turn: Turn, at_hand: Work) -> None:
            floors = {**turn.durable.floors}
            for release in at_hand.releases:
                floors[AppName(release.app)] = max(release.floor, floors.get(AppName(release.app), 0))
            turn.keep(floors=floors)
            begin(turn, at_hand)

        return begun

    wrap(patch, machine, "begin", around)


@planted("The floor is that of the last release, also where it is lower.", FloorsRiseAtCommit, first_seed=250)
def floor_falls_with_an_older_release(patch: pytest.MonkeyPatch) -> None:
    def around(take: Any) -> Any:
        def taken(turn: Turn, at_hand: Work) -> None:
            turn.keep(floors={})
            take(turn, at_hand)

        return taken

    wrap(patch, work, "_take_commit", around)


# --- what it says -----------------------------------------------------------------------------------------------


class _Careless:
    """A journal that also drops, with the next commit, what the transport has taken."""

    def __init__(self, inner: Journal) -> None:
        self._inner = inner
        self.taken: list[int] = []

    def load(self) -> tuple[Durable | None, list[Row]]:
        return self._inner.load()

    def commit(self, durable: Durable, *, add: Sequence[Row] = (), drop: Sequence[int] = ()) -> None:
        self._inner.commit(durable, add=add, drop=[*drop, *self.taken])
        self.taken.clear()


@planted("The agent drops a report when the transport has taken it.", AcknowledgedIsStored)
def reports_are_dropped_by_the_transport(patch: pytest.MonkeyPatch) -> None:
    def around(released: Any) -> Any:
        def dropped(self: Runtime, report_seq: int, *, at: int) -> None:
            released(self, report_seq, at=at)
            assert isinstance(self._journal, _Careless)
            self._journal.taken.append(report_seq)
            self._outbox.drop(report_seq)

        return dropped

    _journalling_with(patch, _Careless)
    wrap(patch, Runtime, "released", around)


@planted("A report that was in flight when the connection broke is never sent again.", LIVENESS)
def outbox_is_not_sent_again_after_a_reconnect(patch: pytest.MonkeyPatch) -> None:
    def connected(self: Outbox) -> None:
        self._is_open = True

    wrap(patch, Outbox, "connected", lambda _: connected)


@planted("A device that could not roll back says that the old release is whole.", WholeOrOld)
def broken_is_taken_for_old(patch: pytest.MonkeyPatch) -> None:
    def around(fail: Any) -> Any:
        def failed(turn: Turn, at_hand: Work, fault: Fault, *, left: Left) -> None:
            fail(turn, at_hand, fault, left=Left.OLD if left is Left.BROKEN else left)

        return failed

    wrap(patch, work, "fail", around)


@planted("A release that was not healthy is left where it is, and called the old one.", WholeOrOld)
def failed_release_is_not_rolled_back(patch: pytest.MonkeyPatch) -> None:
    def around(take: Any) -> Any:
        def taken(turn: Turn, at_hand: Work, fault: Fault) -> None:
            if at_hand.phase is Phase.VERIFYING:
                work.fail(turn, at_hand, fault, left=Left.OLD)
            else:
                take(turn, at_hand, fault)

        return taken

    wrap(patch, work, "_take_fault", around)


@planted("The agent installs a release that lies below its floor.", NeverBelowTheFloor)
def agent_goes_below_its_floor(patch: pytest.MonkeyPatch) -> None:
    def around(released: Any) -> Any:
        return lambda taken, durable, *rest, **more: released(taken, replace(durable, floors={}), *rest, **more)

    wrap(patch, admit, "_released", around)
