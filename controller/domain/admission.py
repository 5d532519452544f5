"""Whether one device may begin now, and if not, why not and when to ask again.

The rules this module keeps:

1. `judge` is asked once for each change: what it says holds until `check_at`, or until something of what it is told
   changes (facts, apps, labels, groups, a hold, a pin, a path, the devices at work at the site).
2. The first of these that holds is the reason: held, pinned, not capable, no path, precondition, window, site.
3. What is not known admits nobody: a fact that was not reported, a time zone that there is not.

>>> rules = Rules(app="shop", version="2.1")
>>> kiosk = Applicant(described=Described(device="kiosk-1"), restraints=Restraints(hold=Hold(by="ann", reason="fair")))
>>> judge(kiosk, rules, Instant(0)).text
'held by ann: fair'
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from datetime import tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec

from controller.domain import query, window
from controller.domain.pipeline import PerSite
from controller.domain.query import Described, Formula, version_key
from controller.domain.ranges import fits, parse_range
from controller.domain.window import Window
from controller.domain.wording import are, counted
from protocol.units import Instant

FORMULAS_MAX: Final = 256
"""The preconditions that are kept parsed: those of the stages that are open."""


class BlockReason(StrEnum):
    """Why a queued device may not begin now."""

    HELD = "held"
    PINNED = "pinned"
    NOT_CAPABLE = "not_capable"
    NO_PATH = "no_path"
    PRECONDITION = "precondition"
    WINDOW_CLOSED = "window_closed"
    SITE_FULL = "site_full"


class Blocked(msgspec.Struct, frozen=True, kw_only=True):
    """A device may not begin: why, in words too, and when to judge it anew where time alone may change that."""

    reason: BlockReason
    text: str
    check_at: Instant | None = None


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's order that a device gets no work, for ever or `until` an instant."""

    by: str
    reason: str
    at: Instant = Instant(0)
    until: Instant | None = None


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's order that a device gets no version of an app outside a range."""

    app: str
    versions: str
    by: str
    reason: str
    at: Instant = Instant(0)


class Restraints(msgspec.Struct, frozen=True, kw_only=True):
    """What operators have ordered about one device."""

    hold: Hold | None = None
    pins: tuple[Pin, ...] = ()


class UpgradePath(msgspec.Struct, frozen=True, kw_only=True):
    """From which versions of its app a release may be installed; `through` must be had, or passed, before.

    A device that does not have the app may install the release: there is nothing that it comes from.
    """

    reason: str
    allowed: str = ""
    forbidden: str = ""
    through: tuple[str, ...] = ()
    by: str = ""
    at: Instant = Instant(0)


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage, its run's operation and its release ask of a device that is to begin."""

    app: str
    version: str
    requires: tuple[str, ...] = ()
    path: UpgradePath | None = None
    preconditions: str = ""
    windows: tuple[Window, ...] = ()
    per_site: PerSite | None = None

    @property
    def is_empty(self) -> bool:
        """Say whether only what operators have ordered about a device can block it."""
        return self == Rules(app=self.app, version=self.version)


class Applicant(msgspec.Struct, frozen=True, kw_only=True):
    """One queued device: what is known of it, what is ordered about it, its clocks and its site.

    `zone` is None where no time zone is called `zone_name`. `site` is empty where it belongs to none, and
    `at_site` counts the devices of the stage that are at work there.
    """

    described: Described
    capabilities: AbstractSet[str] = frozenset()
    restraints: Restraints = Restraints()
    zone_name: str = ""
    zone: tzinfo | None = None
    site: str = ""
    at_site: int = 0


def judge(applicant: Applicant, rules: Rules, at: Instant) -> Blocked | None:
    """Return why a device may not begin at *at*, or None where it may."""
    return next(_blocks(applicant, rules, at), None)


def _blocks(applicant: Applicant, rules: Rules, at: Instant) -> Iterator[Blocked]:
    """Yield what blocks a device, in the order of the rules."""
    yield from _restrained(applicant.restraints, rules, at)
    missing = sorted(set(rules.requires) - applicant.capabilities)
    if missing:
        text = f"its agent cannot do what the operation needs: {', '.join(missing)}"
        yield Blocked(reason=BlockReason.NOT_CAPABLE, text=text)
    if rules.path is not None:
        yield from _off_the_path(applicant.described, rules.app, rules.path)
    if rules.preconditions:
        yield from _unfit(applicant.described, rules.preconditions)
    if rules.windows:
        yield from _closed(applicant, rules.windows, at)
    site = rules.per_site
    if site is not None and applicant.site and applicant.at_site >= site.max:
        at_work = f"{applicant.at_site} of at most {counted(site.max, 'device')} {are(applicant.at_site)} at work"
        text = f"{at_work} where {site.label} is {applicant.site}"
        yield Blocked(reason=BlockReason.SITE_FULL, text=text)


def _restrained(restraints: Restraints, rules: Rules, at: Instant) -> Iterator[Blocked]:
    hold = restraints.hold
    if hold is not None and (hold.until is None or hold.until > at):
        yield Blocked(reason=BlockReason.HELD, text=f"held by {hold.by}: {hold.reason}", check_at=hold.until)
    for pin in restraints.pins:
        if pin.app == rules.app and not fits(parse_range(pin.versions), rules.version):
            text = f"{pin.app} is pinned to {pin.versions} by {pin.by}: {pin.reason}"
            yield Blocked(reason=BlockReason.PINNED, text=text)


def _off_the_path(device: Described, app: str, path: UpgradePath) -> Iterator[Blocked]:
    for version in (version for name, version in device.apps if name == app):
        step = next((step for step in path.through if version_key(version) < version_key(step)), None)
        if path.allowed and not fits(parse_range(path.allowed), version):
            yield Blocked(
                reason=BlockReason.NO_PATH, text=f"not from {version}, only from {path.allowed}: {path.reason}"
            )
        if path.forbidden and fits(parse_range(path.forbidden), version):
            yield Blocked(reason=BlockReason.NO_PATH, text=f"not from {version}: {path.reason}")
        if step is not None:
            yield Blocked(reason=BlockReason.NO_PATH, text=f"from {version} only through {step}: {path.reason}")


def _unfit(device: Described, preconditions: str) -> Iterator[Blocked]:
    formula = _formula_of(preconditions)
    unknown = [fact for fact in query.facts_needed(formula) if fact not in device.facts]
    if unknown:
        text = f"it has not reported {', '.join(unknown)}, and may begin only where {preconditions}"
        yield Blocked(reason=BlockReason.PRECONDITION, text=text)
    elif not query.matches(formula, device):
        yield Blocked(reason=BlockReason.PRECONDITION, text=f"it may begin only where {preconditions}")


@lru_cache(FORMULAS_MAX)
def _formula_of(preconditions: str) -> Formula:
    return query.parse(preconditions)


def _closed(applicant: Applicant, windows: tuple[Window, ...], at: Instant) -> Iterator[Blocked]:
    if applicant.zone is None:
        text = f"its time zone {applicant.zone_name!r} is not known"
        yield Blocked(reason=BlockReason.WINDOW_CLOSED, text=text)
    elif (opens_at := window.opening(windows, applicant.zone, at)) > at:
        text = f"it may begin only {window.told(windows)} in {applicant.zone_name}"
        yield Blocked(reason=BlockReason.WINDOW_CLOSED, text=text, check_at=opens_at)
