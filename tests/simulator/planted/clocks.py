"""Bugs in what ends by time: leases, the work that a device has no more, limits of waiting."""

from typing import Any

import msgspec
import pytest

from controller.app import hello
from controller.domain import run
from controller.domain.model import StageRun
from controller.domain.pipeline import Stage
from controller.domain.settle import whole
from controller.domain.target import machine
from protocol.messages import Hello
from simulator.virtual.laws.attempts import ClocksAreRunTime
from simulator.virtual.laws.clocks import AttemptsHaveAnEnd, WaitingHasAnEnd
from simulator.virtual.laws.idle import IdleIsNoticed
from tests.simulator.planted.planted import planted, wrap


@planted("Nobody notices that a device has its work no more.", IdleIsNoticed)
def idle_device_is_waited_for(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, hello, "_see", lambda _: lambda *_given: None)


@planted("A device that has its work no more is given no time to tell how it ended.", ClocksAreRunTime)
def idle_device_is_given_no_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "IDLE_MS", 1)


@planted("A hello that came late ends work that began after it was said.", ClocksAreRunTime, first_seed=5560)
def late_hello_ends_newer_work(patch: pytest.MonkeyPatch) -> None:
    def around(see: Any) -> Any:
        def seen(advance: Any, at_work: Any, said: Hello) -> None:
            see(advance, at_work, said if said.work else msgspec.structs.replace(said, seq=2**52))

        return seen

    wrap(patch, hello, "_see", around)


@planted(
    "Every sign of life renews the lease, whatever the time that an attempt may take.",
    AttemptsHaveAnEnd,
    first_seed=200,
)
def attempt_takes_for_ever(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, machine, "_lease_end", lambda _: lambda _row, at, policy: at + policy.timeouts.lease_ms)


@planted("Progress keeps nobody at work.", ClocksAreRunTime)
def progress_does_not_count(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, machine, "_ticked", lambda _: lambda row, *_given: row)


@planted("Devices wait for their turn for ever.", WaitingHasAnEnd)
def waiting_has_no_end(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, whole, "_queue", lambda _: lambda _self, _index: None)
    patch.setattr(run, "queue_limit", lambda *_given: None)


@planted("Devices go without when they have waited for half of their time.", WaitingHasAnEnd)
def waiting_ends_too_soon(patch: pytest.MonkeyPatch) -> None:
    def around(queue_limit: Any) -> Any:
        def halved(stage: Stage, at_work: StageRun) -> Any:
            limit_ms = queue_limit(stage, at_work)
            return limit_ms and limit_ms // 2

        return halved

    wrap(patch, whole, "queue_limit", around)
    wrap(patch, run, "queue_limit", around)
