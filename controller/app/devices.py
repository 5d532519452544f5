"""Devices: enrolled with a claim, authenticated by signature, labelled, blocked, listed."""

from collections.abc import Mapping, Sequence
from typing import Final

from controller.app import audit, cursors, silence, tokens
from controller.app.access import Actor, Permission
from controller.app.advance import Advance
from controller.app.changes import notice
from controller.app.conditions import ANYTHING, Expected, labels_tag
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import Conflict, InvalidRequest, NotAllowed, NotAuthenticated, NotFound
from controller.app.once import once
from controller.app.ports import IssuedCertificate
from controller.app.presence import OFFLINE
from controller.app.queries import formula_from
from controller.app.records import DeviceRecord
from controller.app.repositories import Transaction
from controller.app.views import DeviceView, Enrolment, HoldView, InstalledView, Page, PinView
from controller.domain.admission import Restraints
from protocol.codec import decode
from protocol.envelope import Verified, parse, verify
from protocol.errors import InvalidName, MalformedMessage, ProtocolError
from protocol.ids import Name, device_id, digest_of, name_of, split_name
from protocol.keys import Ed25519Verify, ring_of
from protocol.messages import DeviceRequest, PayloadType
from protocol.units import MINUTE

KEY_BYTES: Final = 32
LABELS_MAX: Final = 64
LABEL_LENGTH_MAX: Final = 128
REQUEST_AGE_MS_MAX: Final = 10 * MINUTE


async def enrol(
    controller: Controller,
    *,
    claim: str,
    device: str,
    model: str,
    hardware_id: str,
    csr_pem: str,
    signing_key: bytes,
    sealing_key: bytes,
) -> Enrolment:
    """Take a device in, or take one in anew with new keys: it gets its certificate and both roots.

    That also brings a device back that was removed, be it with other hardware.

    Raises:
        InvalidRequest: when the id, a key or the signing request is not valid; the claim stays unspent.
        NotAuthenticated: when the claim is unknown, expired or used up.
        NotAllowed: when the device is blocked.
        Conflict: when the id belongs to other hardware, so that a claim alone takes over no device.
    """
    name = named(controller, device)
    _check_keys(signing_key, sealing_key)
    now = controller.clock.now()
    issued = await controller.compute.run(lambda: controller.authority.issue(csr_pem, name, at=now))
    record = DeviceRecord(
        device=split_name(name)[1],
        name=name,
        model=model,
        hardware_id=hardware_id,
        signing_key=signing_key,
        sealing_key=sealing_key,
        certificate_serial=issued.serial,
        certificate_expires_at=issued.expires,
        enrolled_at=now,
    )

    def work(tx: Transaction, after: Consequences) -> None:
        if not tx.credentials.spend_claim(tokens.hash_of(claim), at=now):
            raise NotAuthenticated("the claim is not valid: unknown, expired or used up")
        known = tx.devices.by_names([name]).get(name)
        is_removed = known is not None and known.removed_at is not None
        if known is not None and known.is_blocked and not is_removed:
            raise NotAllowed(f"device {device!r} is blocked")
        if known is not None and not is_removed and known.hardware_id != hardware_id:
            raise Conflict(f"device {device!r} is enrolled with other hardware: choose another id")
        device_id = tx.devices.add(record)
        if is_removed:
            tx.devices.set_blocked(record.device, is_blocked=False)
        tx.targets.set_ready([device_id], OFFLINE)
        advance = Advance(controller, tx, after)
        silence.shut_out(advance, device_id)
        notice(advance, [device_id])
        advance.finish()

    await controller.write(work)
    return Enrolment(
        name=name,
        certificate_pem=issued.certificate_pem,
        chain_pem=issued.chain_pem,
        fleet_root=controller.fleet_root,
        release_root=controller.release_root,
    )


def named(controller: Controller, device: str) -> Name:
    """Return the name of a device.

    Raises:
        InvalidRequest: when there is no such name.
    """
    try:
        return name_of(controller.tenant, device_id(device))
    except InvalidName as error:
        raise InvalidRequest(str(error)) from error


def _check_keys(signing_key: bytes, sealing_key: bytes) -> None:
    try:
        Ed25519Verify(signing_key)
    except MalformedMessage as error:
        raise InvalidRequest(f"signing_key: {error}") from error
    if len(sealing_key) != KEY_BYTES:
        raise InvalidRequest(f"sealing_key of {len(sealing_key)} bytes: expected {KEY_BYTES}")


async def authenticate(controller: Controller, *, envelope: bytes, method: str, path: str, body: bytes) -> Name:
    """Return which device signed this HTTP request.

    A device whose clock is not set yet says so with `at` 0; what it may then fetch is public to devices anyway.

    Raises:
        NotAuthenticated: when no enrolled, unblocked device signed exactly this request, or it is old.
    """
    try:
        claimed = decode(parse(envelope).payload, DeviceRequest).device
        # Verified in the thread that has just read the key: waking another one costs as much as the signature.
        signed = await controller.read(lambda tx: _signed_by(tx, claimed, envelope))
    except ProtocolError as error:
        raise NotAuthenticated(f"the request's signature is not valid: {error}") from error
    request = signed.value
    if (request.method, request.path, request.body_sha256) != (method, path, digest_of(body)):
        raise NotAuthenticated("the signature is for another request")
    if request.at and abs(controller.clock.now() - request.at) > REQUEST_AGE_MS_MAX:
        raise NotAuthenticated("the request was signed too long ago")
    return claimed


def _signed_by(tx: Transaction, name: Name, envelope: bytes) -> Verified[DeviceRequest]:
    device = tx.devices.senders([name]).get(name)
    if device is None or device.is_blocked:
        raise NotAuthenticated("the device is not enrolled or is blocked")
    return verify(envelope, PayloadType.REQUEST, DeviceRequest, ring_of(device.signing_key))


async def renew(controller: Controller, name: Name, *, csr_pem: str) -> IssuedCertificate:
    """Issue a new certificate to a device that has authenticated itself.

    Raises:
        InvalidRequest: when the signing request is not valid.
        NotAllowed: when the device was blocked in the meantime.
    """
    issued = await controller.compute.run(lambda: controller.authority.issue(csr_pem, name, at=controller.clock.now()))

    def work(tx: Transaction, _after: Consequences) -> None:
        device = tx.devices.by_names([name])[name]
        if device.is_blocked:
            raise NotAllowed(f"device {device.device!r} is blocked")
        tx.devices.set_certificate(device.id, serial=issued.serial, expires_at=issued.expires)

    await controller.write(work)
    return issued


async def list_devices(
    controller: Controller,
    actor: Actor,
    *,
    labels: Mapping[str, str],
    online: bool | None = None,
    app: str | None = None,
    version: str | None = None,
    query: str | None = None,
    group: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[DeviceView]:
    """Return devices that match every filter, by id; *group* takes in the groups below it.

    Raises:
        InvalidRequest: when *query* is no query, *group* no path, or *cursor* none that a page gave.
    """
    actor.require(Permission.READ)
    where = formula_from(query, group)
    after = "" if cursor is None else cursors.decode(cursor)
    instance = controller.transport.instance

    def work(tx: Transaction) -> tuple[DeviceView, ...]:
        records = tx.devices.page(
            labels=labels,
            online=online,
            instance=instance,
            app=app,
            version=version,
            after=after,
            limit=limit,
            where=where,
        )
        return views_of(controller, tx, records)

    found = await controller.read(work)
    next_cursor = cursors.encode(found[-1].device) if len(found) == limit else None
    return Page(items=found, cursor=next_cursor)


async def get(controller: Controller, actor: Actor, *, device: str) -> DeviceView:
    """Return a device.

    Raises:
        NotFound: when it is not enrolled.
    """
    actor.require(Permission.READ)
    return await controller.read(lambda tx: view_of(controller, tx, find(controller, tx, device)))


async def set_labels(
    controller: Controller, actor: Actor, *, device: str, labels: Mapping[str, str], expected: Expected = ANYTHING
) -> DeviceView:
    """Replace a device's labels.

    Raises:
        NotFound: when it is not enrolled.
        PreconditionFailed: when it would change something, and the labels are not as *expected*.
        InvalidRequest: when there are too many labels, or one is too long.
    """
    actor.require(Permission.EDIT_DEVICES)
    longest = max((len(text) for pair in labels.items() for text in pair), default=0)
    if len(labels) > LABELS_MAX or longest > LABEL_LENGTH_MAX or "" in labels:
        raise InvalidRequest(f"expected at most {LABELS_MAX} labels, keys and values up to {LABEL_LENGTH_MAX} long")

    def work(tx: Transaction, after: Consequences) -> DeviceView:
        found = find_present(controller, tx, device)
        if found.labels != labels:
            expected.require(labels_tag(found.labels), what=f"the labels of device {device!r}")
            tx.devices.set_labels(found.device, labels)
            advance = Advance(controller, tx, after)
            audit.record(tx, actor, "device.label", device, at=advance.at)
            notice(advance, [found.id])
            advance.finish()
        return view_of(controller, tx, find(controller, tx, device))

    return await controller.write(work)


async def block(controller: Controller, actor: Actor, *, device: str, reason: str) -> None:
    """Shut a device out: nothing is sent to it, nothing of it is taken, its session is closed.

    Raises:
        NotFound: when it is not enrolled.
        Conflict: when it was removed.
    """
    await _set_blocked(controller, actor, device, reason, is_blocked=True)
    controller.transport.close(named(controller, device), reason="blocked")


async def unblock(controller: Controller, actor: Actor, *, device: str, reason: str) -> None:
    """Let a device in again.

    Raises:
        NotFound: when it is not enrolled.
        Conflict: when it was removed.
    """
    await _set_blocked(controller, actor, device, reason, is_blocked=False)


async def _set_blocked(controller: Controller, actor: Actor, device: str, reason: str, *, is_blocked: bool) -> None:
    actor.require(Permission.EDIT_DEVICES)

    def work(tx: Transaction, after: Consequences) -> None:
        found = find_present(controller, tx, device)
        tx.devices.set_blocked(found.device, is_blocked=is_blocked)
        advance = Advance(controller, tx, after)
        verb = "device.block" if is_blocked else "device.unblock"
        audit.record(tx, actor, verb, device, at=advance.at, reason=reason)
        if is_blocked:
            silence.shut_out(advance, found.id)
        notice(advance, [found.id])
        advance.finish()

    await once(controller, actor, work, kind=type(None))


def find(controller: Controller, tx: Transaction, device: str) -> DeviceRecord:
    """Return a device.

    Raises:
        NotFound: when it was never enrolled.
        InvalidRequest: when there is no such name.
    """
    name = named(controller, device)
    found = tx.devices.by_names([name]).get(name)
    if found is None:
        raise NotFound(f"device {device!r} is not enrolled")
    return found


def find_present(controller: Controller, tx: Transaction, device: str) -> DeviceRecord:
    """Return a device about which something can be ordered.

    Raises:
        NotFound: when it was never enrolled.
        Conflict: when it was removed.
        InvalidRequest: when there is no such name.
    """
    found = find(controller, tx, device)
    if found.removed_at is not None:
        raise Conflict(f"device {device!r} was removed: enrol it anew to bring it back")
    return found


def view_of(controller: Controller, tx: Transaction, record: DeviceRecord) -> DeviceView:
    """Return a device as people see it."""
    [view] = views_of(controller, tx, [record])
    return view


def views_of(controller: Controller, tx: Transaction, records: Sequence[DeviceRecord]) -> tuple[DeviceView, ...]:
    """Return devices as people see them."""
    restraints = tx.restraints.of([record.id for record in records])
    return tuple(_view(controller, record, restraints.get(record.id, Restraints())) for record in records)


def _view(controller: Controller, record: DeviceRecord, restraints: Restraints) -> DeviceView:
    hold = restraints.hold
    is_held = hold is not None and (hold.until is None or hold.until > controller.clock.now())
    is_online = record.instance == controller.transport.instance
    return DeviceView(
        device=record.device,
        name=record.name,
        model=record.model,
        labels=record.labels,
        facts=record.facts,
        installed=tuple(
            InstalledView(app=i.app, version=i.version, sha256=i.sha256, counter=i.counter) for i in record.installed
        ),
        online=is_online,
        blocked=record.is_blocked,
        broken=record.is_broken,
        removed_at=record.removed_at,
        agent=record.agent,
        enrolled_at=record.enrolled_at,
        last_seen_at=controller.clock.now() if is_online else record.last_seen_at,
        certificate_expires_at=record.certificate_expires_at,
        hold=HoldView(by=hold.by, reason=hold.reason, at=hold.at, ends_at=hold.until) if hold and is_held else None,
        pins=tuple(
            PinView(app=pin.app, versions=pin.versions, by=pin.by, reason=pin.reason, at=pin.at)
            for pin in restraints.pins
        ),
    )
