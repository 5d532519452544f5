"""Bugs in who counts as online, behind a broker that does not tell."""

from collections.abc import Collection
from typing import Any

import pytest

from controller.app import presence
from controller.app.controller import Controller
from controller.app.hello import SPREAD_MS
from controller.app.inbox import Inbox
from controller.app.ports import Priority
from protocol.units import Instant
from simulator.memory.devices import MemoryDevices
from simulator.virtual.laws.presence import WhoIsThereIsKnown
from tests.simulator.planted.planted import planted, wrap


@planted("The will of an older connection is taken for that of the present one.", WhoIsThereIsKnown)
def stale_will_is_believed(patch: pytest.MonkeyPatch) -> None:
    def around(save_gone: Any) -> Any:
        def saved(self: MemoryDevices, device_id: int, *, connection: str, at: Instant) -> bool:
            del connection
            return bool(save_gone(self, device_id, connection=self._rows[device_id].connection, at=at))

        return saved

    wrap(patch, MemoryDevices, "save_gone", around)


@planted("Presence is void when sight is lost, and nobody is asked.", WhoIsThereIsKnown)
def nobody_is_asked_for_a_hello(patch: pytest.MonkeyPatch) -> None:
    async def silent(*_: object, **__: object) -> None:
        return

    wrap(patch, presence, "_ask", lambda _: silent)


@planted("Devices are asked for a hello first, and are void after that.", WhoIsThereIsKnown, first_seed=130)
def asked_before_they_are_void(patch: pytest.MonkeyPatch) -> None:
    async def lost_sight(self: Inbox, partitions: Collection[int]) -> None:
        controller = self._controller
        found = await controller.read(lambda tx: tx.devices.sighted(set(partitions), after=0, limit=presence.PAGE))
        await presence._ask(controller, found, within=SPREAD_MS)
        void = presence._void(controller, found)
        await controller.write(void, priority=Priority.HOUSEKEEPING)

    wrap(patch, Inbox, "lost_sight", lambda _: lost_sight)


@planted("A transport that lost sight of a lane is believed for its first partition alone.", WhoIsThereIsKnown)
def only_one_partition_is_asked(patch: pytest.MonkeyPatch) -> None:
    def around(lost_sight: Any) -> Any:
        async def lost(controller: Controller, partitions: Collection[int]) -> None:
            await lost_sight(controller, sorted(partitions)[:1])

        return lost

    wrap(patch, presence, "lost_sight", around)
