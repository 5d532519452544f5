"""Bugs in what ends by time: leases, the work that a device has no more, limits of waiting."""

from typing import Any

import msgspec
import pytest

from controller.app import hello
from controller.domain import target
from protocol.messages import Hello
from simulator.virtual.laws.attempts import ClocksAreRunTime
from simulator.virtual.laws.idle import IdleIsNoticed
from tests.simulator.planted.planted import planted, wrap


@planted("Nobody notices that a device has its work no more.", IdleIsNoticed)
def idle_device_is_waited_for(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, hello, "_see", lambda _: lambda *_given: None)


@planted("A device that has its work no more is given no time to tell how it ended.", ClocksAreRunTime)
def idle_device_is_given_no_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(target, "IDLE_MS", 1)


@planted("A hello that came late ends work that began after it was said.", ClocksAreRunTime)
def late_hello_ends_newer_work(patch: pytest.MonkeyPatch) -> None:
    def around(see: Any) -> Any:
        def seen(advance: Any, at_work: Any, said: Hello) -> None:
            see(advance, at_work, said if said.work else msgspec.structs.replace(said, seq=2**52))

        return seen

    wrap(patch, hello, "_see", around)
