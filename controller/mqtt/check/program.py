"""Make all checks, in an order that harms no broker's good name: what may break one comes last."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
from paho.mqtt.enums import MQTTProtocolVersion

from controller.mqtt.check.basics import check_basics
from controller.mqtt.check.capacity import check_capacity
from controller.mqtt.check.catalogue import CHECKS, Family, Verdict
from controller.mqtt.check.doors import accepted_versions, check_doors
from controller.mqtt.check.findings import Finding, Report, not_checked
from controller.mqtt.check.peer import OutOfTime, Refused
from controller.mqtt.check.redelivery import check_redelivery
from controller.mqtt.check.restart import check_restart
from controller.mqtt.check.rights import check_rights
from controller.mqtt.check.sessions import check_sessions
from controller.mqtt.check.shared import check_shared
from controller.mqtt.check.site import Site
from controller.mqtt.check.speed import check_speed
from controller.mqtt.check.theft import check_ids
from controller.mqtt.check.wills import check_wills
from protocol.profiles import Profile

Checker = Callable[[Site], Iterator[Finding]]

IN_ORDER: Final[tuple[tuple[Family, Checker], ...]] = (
    (Family.BASICS, check_basics),
    (Family.RIGHTS, check_rights),
    (Family.IDS, check_ids),
    (Family.WILLS, check_wills),
    (Family.SESSIONS, check_sessions),
    (Family.CAPACITY, check_capacity),
    (Family.SPEED, check_speed),
    (Family.SHARED, check_shared),
)


def probe(site: Site, *, say: Callable[[str], None] = lambda _text: None) -> Report:
    """Make all checks at a broker.

    Args:
        site: the broker.
        say: told what is being checked.
    """
    site = msgspec.structs.replace(site, until_s=site.now_s() + site.limits.whole_s)
    say(f"checking {Family.DOORS}")
    found = list(_family(Family.DOORS, check_doors, site, say=say))
    versions = accepted_versions(found)
    if not versions:
        why = f"nobody was let in; {found[-1].found}"
        return _report([*found, *_missing(found, why)], None)
    spoken = msgspec.structs.replace(site, version=versions[0])
    with ThreadPoolExecutor(1) as beside:  # it may wait half a minute for the broker to send again
        redelivery = beside.submit(lambda: list(_family(Family.REDELIVERY, check_redelivery, spoken, say=say)))
        for family, checker in IN_ORDER:
            say(f"checking {family}")
            found += _family(family, checker, spoken, say=say)
        say(f"checking {Family.REDELIVERY}")
        found += redelivery.result()
    say(f"checking {Family.RESTART}")
    patient = msgspec.structs.replace(spoken, until_s=math.inf)
    found += _family(Family.RESTART, check_restart, patient, say=say)
    return _report(found, _profile(found, versions))


def _family(family: Family, checker: Checker, site: Site, *, say: Callable[[str], None]) -> Iterator[Finding]:
    """Yield a finding for each check of a family, also where the broker stops answering half-way."""
    found = []
    try:
        for finding in checker(site):
            found.append(finding)
            yield finding
    except (Refused, OutOfTime) as error:
        say(f"{family}: {error}")
        yield from _missing_of(family, found, str(error))


def _missing_of(family: Family, found: Iterable[Finding], why: str) -> list[Finding]:
    return [finding for finding in _missing(found, why) if finding.check.family is family]


def _missing(found: Iterable[Finding], why: str) -> list[Finding]:
    names = {finding.name for finding in found}
    return [not_checked(check.name, why) for check in CHECKS if check.name not in names]


def _profile(found: Iterable[Finding], versions: Collection[MQTTProtocolVersion]) -> Profile:
    verdicts = {finding.name: finding.verdict for finding in found}
    if verdicts["subscriptions"] is Verdict.WARNING and MQTTProtocolVersion.MQTTv311 in versions:
        return Profile.MQTT311_QOS0
    return Profile.MQTT5 if MQTTProtocolVersion.MQTTv5 in versions else Profile.MQTT311


def _report(found: Iterable[Finding], profile: Profile | None) -> Report:
    order = {check.name: place for place, check in enumerate(CHECKS)}
    return Report(findings=sorted(found, key=lambda finding: order[finding.name]), profile=profile)
