"""Who is online: a device is, while its newest hello came in this life of the transport and its session lasts.

A transport may lose sight of that: at its start, or when a broker has forgotten its session and with it hellos and
wills. Then devices count as gone first and are asked for a hello afterwards, so that one which comes in between is
asked for again rather than lost. What a crash leaves unasked, the hello that each device says now and then brings back.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final

import structlog

from controller.app import silence
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.hello import SPREAD_MS
from controller.app.ports import Priority
from controller.app.records import Sighted, TargetRecord
from controller.app.repositories import Transaction
from protocol.codec import encode
from protocol.envelope import seal
from protocol.ids import Name
from protocol.messages import Ack, Gone, PayloadType
from protocol.topics import DownlinkKind
from protocol.units import MINUTE, SECOND, Millis, later

log = structlog.get_logger()

OFFLINE: Final = 0
PAGE: Final = 500
"""The devices that one transaction of `lost_sight` takes: it holds reports up for some milliseconds."""
HELLO_COST_MS: Final = 2
"""How far apart hellos that were asked for come on average; taking one in costs about a quarter of that."""
HELLO_WITHIN_MAX_MS: Final = Millis(5 * MINUTE)
"""Well below the time after which a device says hello unasked."""
ASK_TRIES: Final = 150
"""Half a minute: a page of one lane passes even through a window of twenty, the least that brokers have by default."""
ASK_AGAIN_MS: Final = Millis(SECOND // 5)


def gone(controller: Controller, tx: Transaction, device_id: int, will: Gone) -> bool:
    """Note that a connection is gone and return True; a stale will, of an older connection, changes nothing."""
    is_current = tx.devices.save_gone(device_id, connection=will.connection, at=controller.clock.now())
    if is_current:
        tx.targets.set_ready([device_id], OFFLINE)
    return is_current


def here(controller: Controller, tx: Transaction, names: Collection[Name]) -> set[int]:
    """Return who of some devices is online."""
    devices = tx.devices.senders(names) if names else {}
    return {device.id for device in devices.values() if device.instance == controller.transport.instance}


def freed(controller: Controller, tx: Transaction, rows: Collection[TargetRecord]) -> list[int]:
    """Note of devices that are no longer at work whether they are online; return the runs that wait for one that is.

    Where they were at work there is room for others, which are judged anew. While a device is at work nobody keeps its
    row's `ready`, so it says where the device was when it was released.
    """
    for run_id, stage, site in sorted({(row.run_id, row.stage, row.site) for row in rows if row.site}):
        tx.targets.unblock_site(run_id, stage, site)
    instance = controller.transport.instance
    devices = tx.devices.senders({row.name for row in rows})
    online = [device.id for device in devices.values() if device.instance == instance]
    offline = [device.id for device in devices.values() if device.instance != instance]
    tx.targets.set_ready(offline, OFFLINE)
    return tx.targets.set_ready(online, instance)


def went(controller: Controller, tx: Transaction, after: Consequences, name: Name) -> None:
    """Note that a device has no session any more, unless it has come back in the meantime."""
    device = tx.devices.by_names([name]).get(name)
    if device is not None and controller.transport.session(name) == OFFLINE:
        gone(controller, tx, device.id, Gone(connection=device.connection))
        if device.instance == controller.transport.instance:
            silence.went(controller, tx, after, [device.id])


async def lost_sight(controller: Controller, partitions: Collection[int]) -> None:
    """Void the presence of all devices of *partitions*, and ask each that was online to say hello.

    Returns once all are asked, which takes long where the transport takes no more for a while.

    Raises:
        controller.app.errors.StorageUnavailable: when the database fails; begun anew, it goes on with the rest.
    """
    within = hello_within_ms(await controller.read(lambda tx: tx.devices.count()))
    wanted, after = frozenset(partitions), 0
    while page := await controller.read(_page(wanted, after=after)):
        await controller.write(_void(controller, page), priority=Priority.HOUSEKEEPING)
        await _ask(controller, page, within=within)
        after = page[-1].id


def hello_within_ms(enrolled: int) -> Millis:
    """Return the span over which devices scatter their hellos.

    It follows from the whole fleet, not from those asked: several lanes may lose sight at once and know nothing of
    each other, and their devices come to the one controller.

    >>> hello_within_ms(10), hello_within_ms(10_000), hello_within_ms(1_000_000)
    (10000, 20000, 300000)
    """
    return Millis(min(max(SPREAD_MS, enrolled * HELLO_COST_MS), HELLO_WITHIN_MAX_MS))


def _page(partitions: frozenset[int], *, after: int) -> Callable[[Transaction], list[Sighted]]:
    return lambda tx: tx.devices.sighted(partitions, after=after, limit=PAGE)


def _void(controller: Controller, devices: Sequence[Sighted]) -> Callable[[Transaction, Consequences], None]:
    ids, names = [device.id for device in devices], [device.name for device in devices]

    def work(tx: Transaction, after: Consequences) -> None:
        were_here = here(controller, tx, names)
        tx.devices.set_gone(ids)
        tx.targets.set_ready(ids, OFFLINE)
        silence.lost(controller, tx, after, were_here)

    return work


async def _ask(controller: Controller, devices: Sequence[Sighted], *, within: Millis) -> None:
    """Ask for hellos, and ask those again a little later whose request the transport could not take."""

    def request(device: Sighted) -> tuple[Name, bytes]:
        ack = Ack(device=device.name, incarnation=device.incarnation, hello_within_ms=within)
        return device.name, seal(encode(ack), PayloadType.ACK, controller.time_key)

    requests = await controller.compute.map(request, devices)
    for _ in range(ASK_TRIES):
        requests = [one for one in requests if not controller.transport.write(one[0], DownlinkKind.ACK, one[1])]
        if not requests:
            return
        await controller.clock.pause_until(later(controller.clock.now(), ASK_AGAIN_MS))
    log.warning("hellos_not_asked", devices=len(requests), consequence="each says hello by itself before long")
