"""Who belongs to a stage: label match, lists, exclusions, and the sticky share.

>>> wanted = Targets(labels={"region": "eu"}, percent=50)
>>> [exclusion(wanted, DeviceId(d), {"region": "eu"}, salt="s1") for d in ("a", "b", "c")]
[<Exclusion.PERCENT: 'percent'>, <Exclusion.PERCENT: 'percent'>, None]
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from controller.domain.pipeline import Targets
from protocol.ids import DeviceId

POSITION_BITS: Final = 63
PERCENT_ALL: Final = 100


class Exclusion(StrEnum):
    """Why a device does not belong to a stage."""

    LABELS = "labels"
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


def exclusion(targets: Targets, device: DeviceId, labels: Mapping[str, str], *, salt: str) -> Exclusion | None:
    """Return why *device* does not belong to *targets*, or None where it does."""
    if device in targets.exclude:
        return Exclusion.EXCLUDED
    if targets.devices and device not in targets.devices:
        return Exclusion.NOT_LISTED
    if any(labels.get(key) != value for key, value in targets.labels.items()):
        return Exclusion.LABELS
    if targets.percent < PERCENT_ALL and position(device, salt=salt) >= targets.percent / 100 * 2**POSITION_BITS:
        return Exclusion.PERCENT
    return None
