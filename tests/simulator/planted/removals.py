"""Bugs in what becomes of devices that are taken out of the fleet."""

from typing import Any

import pytest
from msgspec.structs import replace

from controller.app import hello, removing
from controller.app.advance import Advance
from controller.domain import target
from controller.domain.target import GivenUp, Policy, Removed, Target
from protocol.ids import DeviceId
from protocol.units import Instant
from simulator.memory import devices as memory
from simulator.memory.commands import MemoryCommands
from simulator.memory.devices import MemoryDevices
from simulator.memory.groups import MemoryGroups
from simulator.virtual.laws.removals import RemovedIsGone
from simulator.virtual.laws.reports import DuplicatesChangeNothing
from simulator.virtual.trial import LIVENESS
from tests.simulator.planted.planted import planted, wrap


@planted("A removed device stays in its runs.", RemovedIsGone)
def removed_device_stays_in_its_runs(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, removing, "end_at_once", lambda _: lambda *_given: None)


def _removing_without(patch: pytest.MonkeyPatch, owner: Any, name: str, answer: Any) -> None:
    """Let a removal have *answer* of a repository and no more, and others all of it."""

    def around(remove: Any) -> Any:
        def removed(*given: Any) -> None:
            with pytest.MonkeyPatch.context() as within:
                within.setattr(owner, name, lambda *_given: answer)
                remove(*given)

        return removed

    wrap(patch, removing, "_remove", around)


@planted("A removed device stays in its groups.", RemovedIsGone)
def removed_device_stays_in_its_groups(patch: pytest.MonkeyPatch) -> None:
    _removing_without(patch, MemoryGroups, "groups_of", frozenset())


@planted(
    "That a removed device is gone is noted when its session has ended, unless the disk is full then.",
    LIVENESS,
    first_seed=570,
)
def presence_of_a_removed_device_is_left(patch: pytest.MonkeyPatch) -> None:
    _removing_without(patch, MemoryDevices, "set_gone", None)


@planted("A removed device is marked as such, and let in all the same.", RemovedIsGone)
def removed_device_is_let_in(patch: pytest.MonkeyPatch) -> None:
    def around(set_removed: Any) -> Any:
        def marked(self: MemoryDevices, device: DeviceId, *, at: Instant) -> None:
            set_removed(self, device, at=at)
            self.set_blocked(device, is_blocked=False)

        return marked

    wrap(patch, MemoryDevices, "set_removed", around)


@planted("A hello is taken of a device that was removed while it was read.", RemovedIsGone)
def hello_outlives_the_removal(patch: pytest.MonkeyPatch) -> None:
    def around(refusal: Any) -> Any:
        return lambda device, said: refusal(replace(device, is_blocked=False), said)

    wrap(patch, hello, "_refusal", around)


@planted("A new enrolment forgets which hello was the newest.", DuplicatesChangeNothing, first_seed=260)
def enrolment_forgets_the_newest_hello(patch: pytest.MonkeyPatch) -> None:
    def around(enrolled_anew: Any) -> Any:
        return lambda *given: replace(enrolled_anew(*given), incarnation="", hello_seq=0)

    wrap(patch, memory, "_enrolled_anew", around)


@planted("A device that is given up counts as removed.", RemovedIsGone)
def given_up_counts_as_removed(patch: pytest.MonkeyPatch) -> None:
    def around(step: Any) -> Any:
        def stepped(before: Target, event: target.Event, policy: Policy) -> Any:
            return step(before, Removed(at=event.at, detail="") if isinstance(event, GivenUp) else event, policy)

        return stepped

    wrap(patch, target, "step", around)


class _WithoutClosing:
    """A controller, or its transport, that closes nothing."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return _WithoutClosing(self._inner.transport) if name == "transport" else getattr(self._inner, name)

    def close(self, *_given: Any, **_how: Any) -> None:
        return


def _left_open(patch: pytest.MonkeyPatch) -> None:
    """Let the session of a device that is removed go on."""

    def around(remove: Any) -> Any:
        return lambda controller, *given, **how: remove(_WithoutClosing(controller), *given, **how)

    wrap(patch, removing, "remove", around)


@planted("The session of a device that is removed goes on.", LIVENESS)
def removal_closes_no_session(patch: pytest.MonkeyPatch) -> None:
    _left_open(patch)


@planted("The session goes on, and so does what waits to be sent over it.", RemovedIsGone)
def removal_closes_and_voids_nothing(patch: pytest.MonkeyPatch) -> None:
    def around(end_at_once: Any) -> Any:
        def ended(advance: Advance, *rest: Any) -> Any:
            with pytest.MonkeyPatch.context() as within:
                within.setattr(MemoryCommands, "close", lambda *_given: [])
                within.setattr(MemoryCommands, "open_for", lambda *_given: [])
                return end_at_once(advance, *rest)

        return ended

    _left_open(patch)
    wrap(patch, removing, "end_at_once", around)
