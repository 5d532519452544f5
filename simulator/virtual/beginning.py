"""What exists before the first event: releases, trust, pipelines, jobs and enrolled devices."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from agent.core.model import Durable, Profile, Trust
from controller.app import schedules, tokens
from controller.app.records import ClaimRecord, DeviceRecord, JobRecord
from controller.app.releases import record_of
from controller.app.repositories import Transaction
from controller.domain.pipeline import Operation
from protocol.health import HEALTH
from protocol.ids import AppName, DeviceId, Name, digest_of, name_of
from protocol.messages import InstalledRelease
from protocol.trust import FleetRoot, ReleaseFile, ReleaseInfo
from protocol.units import DAY, Instant, later
from simulator.virtual.checks import HOOK
from simulator.virtual.device import INCARNATION, NEW_PROFILE, PROFILE
from simulator.virtual.draws import VERSIONS, Draws
from simulator.virtual.keys import Keys
from simulator.virtual.pipelines import GROUPS
from simulator.virtual.places import CAPABILITY, TIMEZONE
from simulator.virtual.server import DIRECTOR, TENANT, TIME
from simulator.virtual.world import START

APP: Final = AppName("shop")
INSTALLER: Final = "archive"
CLAIM: Final = "spares"
SPARES_MAX: Final = 10_000
"""More enrolments than any world lasts for."""
ISSUED: Final = Instant(START - 365 * DAY)
EXPIRES: Final = later(START, 365 * DAY)


def identity(device: DeviceId) -> Name:
    """Return a device's name on the wire."""
    return name_of(TENANT, device)


def trusts(keys: Keys, floors: Sequence[int]) -> Sequence[Trust]:
    """Return what devices may judge by: with the first release only, and with all of them."""
    fleet = FleetRoot(
        version=1,
        issued=ISSUED,
        expires=EXPIRES,
        director=keys.ring(keys.pair(DIRECTOR).public),
        time=keys.ring(keys.pair(TIME).public),
    )
    files = [_releases(1, VERSIONS[:1], floors), _releases(2, VERSIONS, floors)]
    return [Trust(fleet=fleet, release_root_version=1, releases=file) for file in files]


def _releases(version: int, versions: Sequence[str], floors: Sequence[int]) -> ReleaseFile:
    infos = _infos(versions, floors)
    return ReleaseFile(version=version, expires=EXPIRES, releases={info.path: info for info in infos})


def _infos(versions: Sequence[str], floors: Sequence[int]) -> list[ReleaseInfo]:
    return [_release(number, text, floors[number - 1]) for number, text in enumerate(versions, 1)]


def _release(number: int, version: str, floor: int) -> ReleaseInfo:
    return ReleaseInfo(
        app=APP,
        version=version,
        path=f"{APP}/{version}/{APP}.tar.gz",
        sha256=digest_of(version.encode()),
        length=10,
        counter=number,
        floor=floor,
        installer=INSTALLER,
    )


def kept(name: Name, draws: Draws) -> Durable | None:
    """Return what a device has kept from before, where it has installed something."""
    if not draws.installed:
        return None
    info = next(one for one in _infos(VERSIONS, draws.floors) if one.version == draws.installed)
    told = {field: getattr(info, field) for field in InstalledRelease.__struct_fields__}
    installed = (InstalledRelease(**told),)
    return Durable(name=name, incarnation=INCARNATION, installed=installed, floors={APP: info.floor})


def prepare(tx: Transaction, draws: Draws, keys: Keys) -> list[DeviceRecord]:
    """Store everything that exists from the beginning; return the enrolled devices with their ids."""
    infos = _infos(VERSIONS, draws.floors)
    tx.catalog.add_releases([record_of(info, START) for info in infos])
    for number, (definition, priority) in enumerate(zip(draws.pipelines, draws.priorities, strict=True)):
        tx.catalog.add_revision(definition.name, definition, author="ann", at=START)
        tx.catalog.add_job(_starting(_job(definition.name, priority, draws), draws, number))
    for number, device in enumerate(draws.devices):
        tx.devices.add(_enrolled(device, draws.models.of(number), labels_of(draws, number), keys))
    tx.groups.add(GROUPS, at=START)
    secret = tokens.hash_of(CLAIM)
    tx.credentials.add_claim(ClaimRecord(id="spares", secret_sha256=secret, uses_left=SPARES_MAX, expires_at=EXPIRES))
    found = tx.devices.by_names([identity(device) for device in draws.devices])
    for device, groups in zip(draws.devices, draws.groups, strict=True):
        for path in groups:
            tx.groups.add_members(path, [found[identity(device)].id])
    return [found[identity(device)] for device in draws.devices]


def _job(name: str, priority: int, draws: Draws) -> JobRecord:
    requires = (CAPABILITY,) if draws.places is not None and draws.places.requires else ()
    version = VERSIONS[-1] if draws.installed else VERSIONS[0]
    operation = Operation(app=APP, version=version, requires=requires)
    return JobRecord(name=name, pipeline=name, operation=operation, priority=priority, created_at=START)


def _starting(job: JobRecord, draws: Draws, number: int) -> JobRecord:
    """Return a job with what starts its runs by itself, where that is drawn."""
    if draws.checks is not None:
        return msgspec.structs.replace(job, hook=HOOK)
    if draws.shape is None:
        return job
    triggers = draws.shape.triggers[number]
    next_at = schedules.next_of(triggers, START)
    return msgspec.structs.replace(job, triggers=triggers, next_at=next_at, hook=draws.shape.hooks[number])


def labels_of(draws: Draws, number: int) -> dict[str, str]:
    """Return the labels of a device at the beginning: its ring, and where that is drawn its time zone."""
    zone = "" if draws.places is None else draws.places.zones[number]
    return {"ring": draws.rings[number]} | ({TIMEZONE: zone} if zone else {})


def profile_of(draws: Draws, number: int, *, model: str) -> Profile:
    """Return what a device is, and tells of itself, at the beginning."""
    places = draws.places
    is_new = places is not None and places.are_new[number]
    profile = NEW_PROFILE if is_new else PROFILE
    return msgspec.structs.replace(
        profile,
        model=model,
        facts={} if places is None else places.facts[number],
        capabilities=_capabilities(draws, number, profile.capabilities),
    )


def _capabilities(draws: Draws, number: int, others: tuple[str, ...]) -> tuple[str, ...]:
    able = (*others, *draws.health.capabilities(number), *draws.control.capabilities(number))
    measured = draws.metrics.capabilities(number) if HEALTH in able else ()
    return tuple(dict.fromkeys((*able, *measured)))


def _enrolled(device: DeviceId, model: str, labels: Mapping[str, str], keys: Keys) -> DeviceRecord:
    return DeviceRecord(
        device=device,
        name=identity(device),
        model=model,
        hardware_id=device,
        signing_key=keys.pair(device).public,
        sealing_key=bytes(32),
        labels=labels,
        certificate_serial="1",
        certificate_expires_at=EXPIRES,
        enrolled_at=START,
    )
