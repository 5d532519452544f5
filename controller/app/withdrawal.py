"""Deprecating and withdrawing releases. Neither is taken back: a mended release is published as a new version.

A withdrawal holds, in its own transaction, every run that installs the release, and takes it out of its channels. Once
it is answered, no command of such a run is handed to a transport. People decide what becomes of the runs.
"""

import msgspec

from controller.app import audit, channels, withdrawn
from controller.app.access import Actor, Permission
from controller.app.advance import Advance, let_happen
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import Conflict, NotFound
from controller.app.once import once
from controller.app.records import ReleaseRecord
from controller.app.releases import release_view
from controller.app.repositories import Transaction
from controller.app.standstill import require_reason
from controller.app.views import ReleaseView
from controller.domain.events import Paused
from controller.domain.states import RELEASE_TRANSITIONS, ReleaseState
from protocol.units import Instant


async def deprecate(controller: Controller, actor: Actor, *, app: str, version: str, reason: str) -> ReleaseView:
    """Have no run of a release begin unless somebody says that it may; runs that began go on. The first time counts.

    Raises:
        NotFound: when there is no such release.
        Conflict: when it was withdrawn.
        InvalidRequest: when no reason is given.
    """
    actor.require(Permission.PUBLISH)
    require_reason(reason)

    def work(tx: Transaction, _after: Consequences) -> ReleaseView:
        at = controller.clock.now()
        found = _find(tx, app, version)
        release = _changed(found, ReleaseState.DEPRECATED, actor=actor, reason=reason, at=at)
        tx.catalog.save_release(release)
        audit.record(tx, actor, "release.deprecate", f"{app} {version}", at=at, reason=reason)
        return release_view(release, channels.of(release, tx.catalog.channels(app)))

    return await once(controller, actor, work, kind=ReleaseView)


async def withdraw(controller: Controller, actor: Actor, *, app: str, version: str, reason: str) -> ReleaseView:
    """Block a release everywhere at once and for good. Withdrawing it again changes nothing: the first time counts.

    Raises:
        NotFound: when there is no such release.
        InvalidRequest: when no reason is given.
    """
    actor.require(Permission.PUBLISH)
    require_reason(reason)

    def work(tx: Transaction, after: Consequences) -> ReleaseView:
        advance = Advance(controller, tx, after)
        found = _find(tx, app, version)
        release = _changed(found, ReleaseState.WITHDRAWN, actor=actor, reason=reason, at=advance.at)
        tx.catalog.save_release(release)
        audit.record(tx, actor, "release.withdraw", f"{app} {version}", at=advance.at, reason=reason)
        _leave_channels(advance, actor, release)
        _hold(advance, actor, release)
        advance.finish()
        return release_view(release)

    return await once(controller, actor, work, kind=ReleaseView)


def _hold(advance: Advance, actor: Actor, release: ReleaseRecord) -> None:
    """Hold every run that installs a release; one that is stopped for good only waits for devices called back."""
    records = [advance.record(run_id) for run_id in advance.tx.runs.active_ids()]
    held = Paused(at=advance.at, reason=withdrawn.pause_reason(release), by=actor.name)
    going = [r for r in records if withdrawn.installs(r.plan, release) and not r.run.is_stopped]
    let_happen(advance, {record.id: held for record in going})


def _leave_channels(advance: Advance, actor: Actor, release: ReleaseRecord) -> None:
    for channel in channels.of(release, advance.tx.catalog.channels(release.app)):
        advance.tx.catalog.remove_from_channel(release.app, channel, release.version)
        subject = f"{release.app} {release.version}"
        audit.record(advance.tx, actor, "channel.remove", subject, at=advance.at, reason=channel)


def _changed(release: ReleaseRecord, state: ReleaseState, *, actor: Actor, reason: str, at: Instant) -> ReleaseRecord:
    """Return *release* in another state; the state that it is in already stands, with who made it so and why."""
    if release.state is state:
        return release
    if state not in RELEASE_TRANSITIONS[release.state]:
        raise Conflict(f"release {release.app} {release.version} is {release.state}: it cannot be {state} any more")
    return msgspec.structs.replace(release, state=state, state_reason=reason, state_by=actor.name, state_at=at)


def _find(tx: Transaction, app: str, version: str) -> ReleaseRecord:
    release = tx.catalog.release(app, version)
    if release is None:
        raise NotFound(f"version {version!r} of {app!r} is not published")
    return release
