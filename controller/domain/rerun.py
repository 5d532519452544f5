"""Runs over what an earlier run left: who of its devices belongs to them, and who is left out and why.

>>> installed = [InstalledRelease(app="shop", version="2.1", counter=5, floor=4)]
>>> releases = {"1.0": ReleaseRef(path="shop/1.0", sha256="0" * 64, length=1, counter=3)}
>>> unfit("1.0", installed, releases)
<Unfit.BELOW_FLOOR: 'below_floor'>
>>> said((LeftOut(reason=Unfit.BROKEN, devices=2, first=("a", "b")), LeftOut(reason=Unfit.BELOW_FLOOR, devices=1)))
'2 left broken (a, b); 1 may not go below its floor'
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from protocol.ids import DeviceId, StageName
from protocol.messages import InstalledRelease, ReleaseRef

FIRST_MAX: Final = 12
"""How many devices that are left out for one reason are named."""


class Purpose(StrEnum):
    """What a run over an earlier run is for."""

    RETRY = "retry"
    ROLLBACK = "rollback"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The ended run whose devices a run is over.

    `empty` are the stages of a retry that no device of the source has to be tried again in. One `with_cancelled` has
    the devices, too, that the source has cancelled. `version` is what all devices go to, or nothing where each goes to
    its own.
    """

    run: str
    run_id: int
    purpose: Purpose
    empty: tuple[StageName, ...] = ()
    with_cancelled: bool = False
    version: str = ""


class RollbackOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A rollback that begins when its run has ended; `by` is who asked for it, nobody where a stage did by failing.

    `version` is what all devices go to, or nothing where each goes to its own previous one.
    """

    reason: str
    by: str = ""
    version: str = ""


class Unfit(StrEnum):
    """Why a device of the earlier run is left out, or of any run whose model is quarantined: the first that holds."""

    BLOCKED = "blocked"
    BROKEN = "broken"
    NO_PREVIOUS = "no_previous"
    NOT_PUBLISHED = "not_published"
    UNCHANGED = "unchanged"
    BELOW_FLOOR = "below_floor"
    QUARANTINED = "quarantined"


HOPELESS: Final = frozenset({Unfit.NO_PREVIOUS, Unfit.NOT_PUBLISHED, Unfit.BELOW_FLOOR})
"""Reasons that stay, whatever the device does."""

_WORDS: Final[Mapping[Unfit, str]] = {
    Unfit.BLOCKED: "blocked",
    Unfit.BROKEN: "left broken",
    Unfit.NO_PREVIOUS: "had no version before",
    Unfit.NOT_PUBLISHED: "had a version that is not to be had any more",
    Unfit.UNCHANGED: "on that version already",
    Unfit.BELOW_FLOOR: "may not go below its floor",
    Unfit.QUARANTINED: "of a quarantined model",
}


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """How many devices are left out for one reason, and the first of them by name."""

    reason: Unfit
    devices: int
    first: tuple[DeviceId, ...] = ()


def unfit(
    wanted: str | None, installed: Iterable[InstalledRelease], releases: Mapping[str, ReleaseRef]
) -> Unfit | None:
    """Return why a device cannot be taken to a version, or None where it can.

    Args:
        wanted: the version; nothing where the device had none.
        installed: what the device has of the app.
        releases: the releases that may be installed, by version.
    """
    if not wanted:
        return Unfit.NO_PREVIOUS
    release = releases.get(wanted)
    if release is None:
        return Unfit.NOT_PUBLISHED
    here = list(installed)
    if any(one.version == wanted for one in here):
        return Unfit.UNCHANGED
    return Unfit.BELOW_FLOOR if any(release.counter < one.floor for one in here) else None


def grouped(found: Iterable[tuple[Unfit, DeviceId]]) -> tuple[LeftOut, ...]:
    """Return who is left out, by reason, in the order of `Unfit`."""
    by_reason: dict[Unfit, list[DeviceId]] = {}
    for reason, device in found:
        by_reason.setdefault(reason, []).append(device)
    return tuple(
        LeftOut(reason=reason, devices=len(by_reason[reason]), first=tuple(sorted(by_reason[reason])[:FIRST_MAX]))
        for reason in Unfit
        if reason in by_reason
    )


def said(left_out: Sequence[LeftOut]) -> str:
    """Return in words who is left out and why; devices that are broken are named."""
    return "; ".join(_said(one) for one in left_out)


def _said(one: LeftOut) -> str:
    more = "" if one.devices <= FIRST_MAX else ", …"
    named = f" ({', '.join(one.first)}{more})" if one.reason is Unfit.BROKEN and one.first else ""
    return f"{one.devices} {_WORDS[one.reason]}{named}"
