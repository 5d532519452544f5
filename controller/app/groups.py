"""Groups: named sets of devices in a tree; a device may belong to any number of them."""

from collections.abc import Collection
from typing import Final

from controller.app import audit
from controller.app.access import Actor, Permission
from controller.app.advance import Advance
from controller.app.changes import notice
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import Conflict, InvalidRequest, NotFound
from controller.app.once import once
from controller.app.queries import checked_path, parsed
from controller.app.records import GroupRecord
from controller.app.repositories import Transaction
from controller.app.views import GroupChange, GroupView
from controller.domain.group import SEPARATOR, is_within, lineage
from controller.domain.query import Formula
from controller.domain.query.tree import InGroup
from controller.domain.wording import counted
from protocol.ids import DeviceId

GROUPS_MAX: Final = 10_000
NAMED_MAX: Final = 5_000
"""How many devices one request may name; a query may find any number."""
SHOWN_MAX: Final = 12


async def create(controller: Controller, actor: Actor, *, path: str) -> GroupView:
    """Make a group, and those above it that there are not yet.

    Raises:
        InvalidRequest: when the path is not valid, or there are too many groups.
        Conflict: when there is such a group.
    """
    actor.require(Permission.EDIT_DEVICES)
    checked_path(path)

    def work(tx: Transaction, _after: Consequences) -> GroupView:
        known, now = tx.groups.paths(), controller.clock.now()
        if path in known:
            raise Conflict(f"there is a group {path!r} already")
        new = [one for one in lineage(path) if one not in known]
        if len(known) + len(new) > GROUPS_MAX:
            raise InvalidRequest(f"there would be more than {GROUPS_MAX} groups: remove some first")
        tx.groups.add(new, at=now)
        audit.record(tx, actor, "group.create", path, at=now)
        return GroupView(path=path, devices=0, devices_below=0, created_at=now)

    return await once(controller, actor, work, kind=GroupView)


async def list_groups(controller: Controller, actor: Actor, *, under: str | None = None) -> tuple[GroupView, ...]:
    """Return all groups, or one and those below it, each after the one above it.

    Raises:
        InvalidRequest: when *under* is no path.
        NotFound: when there is no such group.
    """
    actor.require(Permission.READ)
    if under is not None:
        checked_path(under)
    records = await controller.read(lambda tx: tx.groups.counted())
    found = [record for record in records if under is None or is_within(record.path, under)]
    if under is not None and not found:
        raise NotFound(f"there is no group {under!r}")
    return tuple(_view(record) for record in sorted(found, key=lambda record: record.path.split(SEPARATOR)))


async def remove(controller: Controller, actor: Actor, *, path: str, recursive: bool = False) -> None:
    """Remove a group; its devices stay enrolled.

    Raises:
        NotFound: when there is none.
        Conflict: when it has devices or groups below it, and the removal is not *recursive*.
    """
    actor.require(Permission.EDIT_DEVICES)

    def work(tx: Transaction, after: Consequences) -> None:
        _require(tx, path)
        record = next(record for record in tx.groups.counted() if record.path == path)
        below = sum(is_within(one, path) for one in tx.groups.paths()) - 1
        if not recursive and (below or record.devices):
            held = f"{counted(record.devices_below, 'device')} and {counted(below, 'group')} below it"
            raise Conflict(f"group {path!r} is not empty ({held}): empty it, or remove it recursively")
        members = tx.devices.ids(InGroup(path))
        tx.groups.remove(path)
        advance = Advance(controller, tx, after)
        notice(advance, members)
        audit.record(tx, actor, "group.remove", path, at=advance.at)
        advance.finish()

    await controller.write(work)


async def add_devices(
    controller: Controller, actor: Actor, *, path: str, devices: Collection[str] = (), query: str | None = None
) -> GroupChange:
    """Make devices members of a group: the named ones and those that a query finds now.

    Raises:
        InvalidRequest: when neither is given, the query is none, or too many devices are named.
        NotFound: when there is no such group, or a named device is not enrolled; then nothing is changed.
    """
    return await _change(controller, actor, path, devices, query, is_added=True)


async def drop_devices(
    controller: Controller, actor: Actor, *, path: str, devices: Collection[str] = (), query: str | None = None
) -> GroupChange:
    """Take devices out of a group: the named ones and those that a query finds now. Groups below it stay as they are.

    Raises:
        InvalidRequest: when neither is given, the query is none, or too many devices are named.
        NotFound: when there is no such group, or a named device is not enrolled; then nothing is changed.
    """
    return await _change(controller, actor, path, devices, query, is_added=False)


async def _change(
    controller: Controller, actor: Actor, path: str, devices: Collection[str], query: str | None, *, is_added: bool
) -> GroupChange:
    actor.require(Permission.EDIT_DEVICES)
    formula = None if query is None else parsed(query)
    if formula is None and not devices:
        raise InvalidRequest("expected devices or a query")
    if len(devices) > NAMED_MAX:
        raise InvalidRequest(f"{len(devices)} devices: expected at most {NAMED_MAX}; a query may find any number")

    def work(tx: Transaction, after: Consequences) -> GroupChange:
        _require(tx, path)
        ids = _ids(tx, devices, formula)
        act = tx.groups.add_members if is_added else tx.groups.drop_members
        changed = act(path, ids)
        advance = Advance(controller, tx, after)
        notice(advance, ids)
        verb = "group.add" if is_added else "group.drop"
        audit.record(tx, actor, verb, path, at=advance.at, reason=_said(devices, query, changed))
        advance.finish()
        return GroupChange(path=path, found=len(ids), changed=changed)

    return await once(controller, actor, work, kind=GroupChange)


def _ids(tx: Transaction, devices: Collection[str], formula: Formula | None) -> set[int]:
    named = tx.groups.ids_of([DeviceId(device) for device in devices])
    unknown = sorted(set(devices) - named.keys())
    if unknown:
        more = ", …" if len(unknown) > SHOWN_MAX else ""
        raise NotFound(f"not enrolled: {', '.join(unknown[:SHOWN_MAX])}{more}")
    return {*named.values(), *(() if formula is None else tx.devices.ids(formula))}


def _said(devices: Collection[str], query: str | None, changed: int) -> str:
    """Return what was asked and what came of it, for the audit log."""
    named = [", ".join(sorted(devices)[:SHOWN_MAX]) + (", …" if len(devices) > SHOWN_MAX else "")] if devices else []
    return f"{'; '.join([*named, *([query] if query else [])])}: {changed} changed"


def _require(tx: Transaction, path: str) -> None:
    if path not in tx.groups.paths():
        raise NotFound(f"there is no group {path!r}")


def _view(record: GroupRecord) -> GroupView:
    return GroupView(
        path=record.path,
        devices=record.devices,
        devices_below=record.devices_below,
        created_at=record.created_at,
    )
