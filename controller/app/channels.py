"""Channels: named lines of releases of one app, such as ``stable``. An operator assigns; jobs may start on it."""

from collections.abc import Iterable

from controller.app import audit, withdrawn
from controller.app.access import Actor, Permission
from controller.app.advance import Advance
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import InvalidRequest, NotFound
from controller.app.once import once
from controller.app.records import ChannelRecord, ReleaseRecord
from controller.app.repositories import Transaction
from controller.app.triggers import appeared
from controller.app.views import ChannelView
from controller.domain.states import ReleaseState
from protocol.errors import InvalidName
from protocol.ids import parse_part


async def add(controller: Controller, actor: Actor, *, app: str, version: str, channel: str) -> ChannelView:
    """Put a release into a channel; one that is newer than all others in it starts the jobs that wait for that.

    Putting it there again changes nothing. One that is older than another, or deprecated, starts nothing.

    Raises:
        InvalidRequest: when the channel's name breaks the rule for names.
        NotFound: when there is no such release.
        ReleaseWithdrawn: when it was withdrawn.
    """
    actor.require(Permission.CONTROL_RUNS)
    parse(channel)

    def work(tx: Transaction, after: Consequences) -> ChannelView:
        release = _find(tx, app, version)
        withdrawn.require_usable(release)
        inside = [record for record in tx.catalog.channels(app) if record.channel == channel]
        known = next((record for record in inside if record.version == version), None)
        if known is not None:
            return _view(known, ())
        advance = Advance(controller, tx, after)
        record = ChannelRecord(app=app, channel=channel, version=version, at=advance.at, actor=actor.name)
        tx.catalog.add_to_channel(record)
        audit.record(tx, actor, "channel.add", f"{app} {version}", at=advance.at, reason=channel)
        is_newest = all(_find(tx, app, other.version).counter < release.counter for other in inside)
        is_offered = is_newest and release.state is ReleaseState.PUBLISHED
        begun = appeared(advance, release, channel) if is_offered else ()
        advance.finish()
        return _view(record, begun)

    return await once(controller, actor, work, kind=ChannelView)


async def remove(controller: Controller, actor: Actor, *, app: str, version: str, channel: str) -> None:
    """Take a release out of a channel; runs that it started go on.

    Raises:
        NotFound: when it is not in that channel.
    """
    actor.require(Permission.CONTROL_RUNS)

    def work(tx: Transaction, _after: Consequences) -> None:
        if not tx.catalog.remove_from_channel(app, channel, version):
            raise NotFound(f"release {app} {version} is not in the channel {channel!r}")
        audit.record(tx, actor, "channel.remove", f"{app} {version}", at=controller.clock.now(), reason=channel)

    await controller.write(work)


def parse(name: str) -> str:
    """Return a channel's name.

    Raises:
        InvalidRequest: when it breaks the rule for names.
    """
    try:
        return parse_part(name, what="channel")
    except InvalidName as error:
        raise InvalidRequest(str(error)) from error


def of(release: ReleaseRecord, listed: Iterable[ChannelRecord]) -> tuple[str, ...]:
    """Return the channels among those *listed* that a release is in, by name."""
    key = release.app, release.version
    return tuple(sorted(record.channel for record in listed if (record.app, record.version) == key))


def _find(tx: Transaction, app: str, version: str) -> ReleaseRecord:
    release = tx.catalog.release(app, version)
    if release is None:
        raise NotFound(f"version {version!r} of {app!r} is not published")
    return release


def _view(record: ChannelRecord, begun: tuple[str, ...]) -> ChannelView:
    return ChannelView(
        app=record.app,
        channel=record.channel,
        version=record.version,
        at=record.at,
        actor=record.actor,
        runs=begun,
    )
