"""Devices that are watched after their success, and those beside whom their silence is judged."""

from collections.abc import Collection
from typing import Protocol

from controller.app.records import TargetRecord
from controller.domain.silence import Bystander
from protocol.units import Instant


class Watches(Protocol):
    """Devices in runs that are watched after their success."""

    def of_devices(self, device_ids: Collection[int]) -> list[TargetRecord]:
        """Return the rows of devices in active runs that are watched, by id."""

    def away(self, stage_id: int, *, instance: int, after: int, limit: int) -> list[TargetRecord]:
        """Return up to *limit* watched rows of a stage, of devices not online in *instance*.

        They have an id above *after* and come in that order.
        """

    def partners(self, stage_id: int, *, model: str, since: Instant, limit: int) -> list[TargetRecord]:
        """Return up to *limit* devices of a model that are held back and told numbers *since* then, not paired yet.

        They come in the order of their stage, by id.
        """

    def bystanders(self, run_id: int, *, instance: int, limit: int) -> list[Bystander]:
        """Return up to *limit* devices spread over the whole fleet; none that is shut out or removed.

        Online is who is so in *instance*, and a run has reached whoever was sent what it brings.
        """
