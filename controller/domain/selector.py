"""Who belongs to a stage: labels, groups, a query, lists, exclusions, and the sticky share.

>>> wanted = Targets(query='labels.region == "eu"', percent=50)
>>> kiosks = [Described(device=name, labels={"region": "eu"}) for name in ("a", "b", "c")]
>>> [exclusion(wanted, kiosk, salt="s1") for kiosk in kiosks]
[<Exclusion.PERCENT: 'percent'>, <Exclusion.PERCENT: 'percent'>, None]
"""

import hashlib
from enum import StrEnum
from typing import Final

from controller.domain.group import is_within
from controller.domain.pipeline import Targets
from controller.domain.query import Described, Formula, matches, parse
from controller.domain.query.tree import Compare, DeviceName, In, InGroup, Label, Operator, all_of, any_of
from protocol.ids import DeviceId

POSITION_BITS: Final = 63
PERCENT_ALL: Final = 100


class Exclusion(StrEnum):
    """Why a device does not belong to a stage."""

    LABELS = "labels"
    GROUPS = "groups"
    QUERY = "query"
    NOT_LISTED = "not_listed"
    EXCLUDED = "excluded"
    PERCENT = "percent"


def position(device: DeviceId, *, salt: str) -> int:
    """Return a device's place in a run's order, uniform in 0 to 2**63 - 1.

    The same salt and device always give the same place, so that shares extend each other and a run's order is
    random with respect to everything else, as gates assume.
    """
    digest = hashlib.sha256(f"{salt}\0{device}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def formula_of(targets: Targets) -> Formula:
    """Return what a device must fulfil before exclusions and the share, as one query: a database can look it up.

    Raises:
        controller.domain.query.InvalidQuery: when `targets.query` is none; `validate` lets no such pipeline pass.
    """
    parts: list[Formula] = [Compare(Label(key), Operator.EQUAL, value) for key, value in sorted(targets.labels.items())]
    if targets.groups:
        parts.append(any_of(*map(InGroup, targets.groups)))
    if targets.query:
        parts.append(parse(targets.query))
    if targets.devices:
        parts.append(In(DeviceName(), targets.devices))
    return all_of(*parts)


def is_left_out(targets: Targets, device: DeviceId, *, salt: str) -> bool:
    """Say whether a device that fulfils `formula_of` does not belong to *targets* after all."""
    return _late_exclusion(targets, device, salt=salt) is not None


def exclusion(targets: Targets, device: Described, *, salt: str) -> Exclusion | None:
    """Return why *device* does not belong to *targets*, or None where it does."""
    if device.device in targets.exclude:
        return Exclusion.EXCLUDED
    if targets.devices and device.device not in targets.devices:
        return Exclusion.NOT_LISTED
    if any(device.labels.get(key) != value for key, value in targets.labels.items()):
        return Exclusion.LABELS
    if targets.groups and not any(is_within(path, group) for path in device.groups for group in targets.groups):
        return Exclusion.GROUPS
    if targets.query and not matches(parse(targets.query), device):
        return Exclusion.QUERY
    return _late_exclusion(targets, DeviceId(device.device), salt=salt)


def _late_exclusion(targets: Targets, device: DeviceId, *, salt: str) -> Exclusion | None:
    if device in targets.exclude:
        return Exclusion.EXCLUDED
    if targets.percent < PERCENT_ALL and position(device, salt=salt) >= targets.percent / 100 * 2**POSITION_BITS:
        return Exclusion.PERCENT
    return None
