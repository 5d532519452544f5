"""Devices and groups."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from controller.app.records import (
    Candidate,
    DeviceRecord,
    Enrolled,
    GroupRecord,
    Sender,
    Sighted,
)
from controller.domain.pipeline import Targets as Wanted
from controller.domain.query import Described, Formula
from protocol.ids import DeviceId, Name
from protocol.messages import InstalledRelease
from protocol.units import Instant


class Devices(Protocol):
    """Enrolled devices."""

    def add(self, device: DeviceRecord) -> int:
        """Insert a device, or enrol one of the same name anew; return its id.

        What stays are its id, labels and seq, which hello was its newest, and whether it is blocked; it is no longer
        removed.
        """

    def by_names(self, names: Collection[Name]) -> dict[Name, DeviceRecord]:
        """Return those that exist."""

    def senders(self, names: Collection[Name]) -> dict[Name, Sender]:
        """Return what decides about the messages of those that exist."""

    def page(
        self,
        *,
        labels: Mapping[str, str],
        online: bool | None,
        instance: int,
        app: str | None,
        version: str | None,
        after: str,
        limit: int,
        where: Formula | None = None,
    ) -> list[DeviceRecord]:
        """Return up to *limit* devices whose id sorts after *after*, in that order, that match every filter."""

    def matching(self, targets: Wanted) -> list[Candidate]:
        """Return the devices for which `formula_of` *targets* holds, by id; none that is blocked or broken.

        Exclusions and the share are left to the caller.
        """

    def candidates(self, ids: Collection[int]) -> list[tuple[Candidate, Described]]:
        """Return those that exist and are neither blocked nor broken, by id, each with what queries ask about."""

    def roll(self) -> list[Enrolled]:
        """Return every device, by id."""

    def ids(self, where: Formula) -> list[int]:
        """Return the ids of all devices that match, in their order."""

    def allocate_seqs(self, ids: Collection[int], *, at: Instant) -> dict[int, int]:
        """Give each device its next command sequence number: max(last + 1, *at*), stored."""

    def save_hello(self, device: DeviceRecord) -> None:
        """Store what a hello said: all but who the device is, its labels and its certificate."""

    def save_installed(self, told: Sequence[tuple[int, Sequence[InstalledRelease], bool | None]]) -> None:
        """Store what terminal reports said: (device id, what is installed, is the device broken), later ones win.

        None leaves it as it is whether the device is broken.
        """

    def save_gone(self, device_id: int, *, connection: str, at: Instant) -> bool:
        """Mark the device offline if *connection* is that of its newest hello; say whether it was."""

    def sighted(self, partitions: Collection[int], *, after: int, limit: int) -> list[Sighted]:
        """Return up to *limit* devices of these partitions with an id above *after*, in that order, that were online.

        Those are devices whose presence was noted in any life of the transport, and not taken back since.
        """

    def set_gone(self, ids: Collection[int]) -> None:
        """Mark devices offline, whatever their connection."""

    def set_labels(self, device: DeviceId, labels: Mapping[str, str]) -> None:
        """Replace a device's labels."""

    def set_blocked(self, device: DeviceId, *, is_blocked: bool) -> None:
        """Block or unblock a device."""

    def set_removed(self, device: DeviceId, *, at: Instant) -> None:
        """Take a device out of the fleet: it is blocked, and neither listed nor counted until it is enrolled anew."""

    def set_certificate(self, device_id: int, *, serial: str, expires_at: Instant) -> None:
        """Store a renewed certificate's particulars."""

    def count(self) -> int:
        """Return the number of devices; costs the same for any number of them."""

    def installed_counts(self, app: str) -> dict[str, int]:
        """Return the number of devices on each version of *app*."""


class Groups(Protocol):
    """Named sets of devices, in a tree by their paths."""

    def paths(self) -> set[str]:
        """Return the path of every group."""

    def counted(self) -> list[GroupRecord]:
        """Return every group with its counts, by path."""

    def add(self, paths: Sequence[str], *, at: Instant) -> None:
        """Insert groups that there are not."""

    def remove(self, path: str) -> None:
        """Delete a group and all below it, with their memberships."""

    def add_members(self, path: str, ids: Collection[int]) -> int:
        """Make devices members of a group that exists; return how many were none."""

    def drop_members(self, path: str, ids: Collection[int]) -> int:
        """Take devices out of a group; return how many were members."""

    def groups_of(self, device_id: int) -> list[str]:
        """Return the paths of a device's groups, in order."""

    def ids_of(self, devices: Collection[DeviceId]) -> dict[DeviceId, int]:
        """Return the ids of those devices that exist and were not removed."""
