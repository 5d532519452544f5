"""Upgrade paths: from which versions of its app a release may be installed, as an operator orders it."""

from collections.abc import Sequence
from typing import Final

from controller.app import audit
from controller.app.access import Actor, Permission
from controller.app.advance import Advance, judge_reason_again
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import InvalidRequest, NotFound
from controller.app.repositories import Transaction
from controller.app.standstill import require_reason
from controller.app.views import UpgradePathView
from controller.domain.admission import BlockReason, UpgradePath
from controller.domain.ranges import LENGTH_MAX, InvalidRange, parse_range

THROUGH_MAX: Final = 16


async def order(
    controller: Controller,
    actor: Actor,
    *,
    app: str,
    version: str,
    allowed: str = "",
    forbidden: str = "",
    through: Sequence[str] = (),
    reason: str,
) -> UpgradePathView:
    """Say from which versions a release may be installed, in place of what was said before; with nothing, from all.

    What devices have been sent is not taken back.

    Args:
        controller: the controller.
        actor: who orders it.
        app: the release's app.
        version: the release's version.
        allowed: the range of the only versions that it may be installed over; empty for all.
        forbidden: the range of versions that it may not be installed over; empty for none.
        through: versions that a device must have, or have passed, before.
        reason: what devices that wait for it say; kept in the audit log.

    Raises:
        NotFound: when there is no such release.
        InvalidRequest: when a range is none, or no reason is given.
    """
    actor.require(Permission.PUBLISH)
    require_reason(reason)
    _check(allowed, forbidden, through)

    def work(tx: Transaction, after: Consequences) -> UpgradePathView:
        _require(tx, app, version)
        advance = Advance(controller, tx, after)
        path = UpgradePath(
            reason=reason,
            allowed=allowed,
            forbidden=forbidden,
            through=tuple(through),
            by=actor.name,
            at=advance.at,
        )
        is_order = bool(allowed or forbidden or through)
        tx.restraints.set_path(app, version, path if is_order else None)
        judge_reason_again(advance, _runs_of(advance, app, version), BlockReason.NO_PATH)
        audit.record(tx, actor, "release.path", f"{app} {version}", at=advance.at, reason=_said(path))
        advance.finish()
        return _view(tx, app, version)

    return await controller.write(work)


async def get(controller: Controller, actor: Actor, *, app: str, version: str) -> UpgradePathView:
    """Return from which versions a release may be installed.

    Raises:
        NotFound: when there is no such release.
    """
    actor.require(Permission.READ)

    def work(tx: Transaction) -> UpgradePathView:
        _require(tx, app, version)
        return _view(tx, app, version)

    return await controller.read(work)


def _check(allowed: str, forbidden: str, through: Sequence[str]) -> None:
    if len(through) > THROUGH_MAX or any(not step or len(step) > LENGTH_MAX for step in through):
        raise InvalidRequest(f"expected at most {THROUGH_MAX} versions that must be passed")
    try:
        for versions in filter(None, (allowed, forbidden)):
            parse_range(versions)
    except InvalidRange as error:
        raise InvalidRequest(str(error)) from error


def _require(tx: Transaction, app: str, version: str) -> None:
    if tx.catalog.release(app, version) is None:
        raise NotFound(f"there is no release {app} {version}")


def _runs_of(advance: Advance, app: str, version: str) -> list[int]:
    operations = {run_id: advance.record(run_id).plan.operation for run_id in advance.tx.runs.active_ids()}
    return [run_id for run_id, one in operations.items() if (one.app, one.version) == (app, version)]


def _said(path: UpgradePath) -> str:
    parts = [f"from {path.allowed}"] if path.allowed else []
    parts += [f"not from {path.forbidden}"] if path.forbidden else []
    parts += [f"through {', '.join(path.through)}"] if path.through else []
    return f"{'; '.join(parts) or 'from all'}: {path.reason}"


def _view(tx: Transaction, app: str, version: str) -> UpgradePathView:
    path = tx.restraints.path(app, version) or UpgradePath(reason="")
    return UpgradePathView(
        app=app,
        version=version,
        allowed=path.allowed,
        forbidden=path.forbidden,
        through=path.through,
        reason=path.reason,
        by=path.by,
        at=path.at or None,
    )
