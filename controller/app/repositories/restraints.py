"""What operators have ordered about devices and about the ways between releases."""

from collections.abc import Collection
from typing import Protocol

from controller.domain.admission import Hold, Pin, Restraints, UpgradePath


class RestraintsKept(Protocol):
    """Holds and pins of devices, and the upgrade paths of releases."""

    def of(self, device_ids: Collection[int]) -> dict[int, Restraints]:
        """Return what is ordered about those of these devices about which anything is, pins by app."""

    def hold(self, device_id: int, hold: Hold) -> None:
        """Store that a device is held; another hold takes the place of the one before."""

    def unhold(self, device_id: int) -> bool:
        """Forget that a device is held; say whether it was."""

    def pin(self, device_id: int, pin: Pin) -> None:
        """Store a pin; another one of the same app takes the place of the one before."""

    def unpin(self, device_id: int, app: str) -> bool:
        """Forget a pin; say whether there was one."""

    def path(self, app: str, version: str) -> UpgradePath | None:
        """Return what is ordered about the way to a release, or None."""

    def set_path(self, app: str, version: str, path: UpgradePath | None) -> None:
        """Store what is ordered about the way to a release, or forget it."""
