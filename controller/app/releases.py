"""Releases: signed offline, checked here under the pinned release root, and never changed afterwards."""

from collections.abc import AsyncIterator

from controller.app import audit, channels
from controller.app.access import Actor, Permission
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import Conflict, InvalidRequest, NotFound
from controller.app.records import ReleaseRecord
from controller.app.repositories import Transaction
from controller.app.views import ReleaseView
from protocol.errors import ProtocolError
from protocol.ids import Digest
from protocol.trust import ReleaseFile, ReleaseInfo, read_releases
from protocol.units import Instant


async def upload(
    controller: Controller, actor: Actor, *, digest: Digest, length: int, chunks: AsyncIterator[bytes]
) -> None:
    """Store an artifact's bytes; see `controller.app.ports.Artifacts.put` for what it raises."""
    actor.require(Permission.PUBLISH)
    await controller.artifacts.put(chunks, expected=digest, length=length)


async def publish(controller: Controller, actor: Actor, *, document: bytes) -> tuple[ReleaseView, ...]:
    """Take over a new release file and return what it newly publishes.

    Raises:
        InvalidRequest: when the release keys did not sign it, it has expired, an artifact is missing or of another
            length, or a counter does not rise.
        Conflict: when it is no newer version, or changes or drops a release that is published.
    """
    actor.require(Permission.PUBLISH)
    now = controller.clock.now()
    try:
        parsed = await controller.compute.run(lambda: read_releases(document, controller.release_root, at=now))
    except ProtocolError as error:
        raise InvalidRequest(f"the release file is not acceptable: {error}") from error

    def work(tx: Transaction, _after: Consequences) -> list[ReleaseRecord]:
        new = _new_releases(controller, tx, parsed, now)
        tx.catalog.add_release_document(parsed.version, document, at=now)
        tx.catalog.add_releases(new)
        for release in new:
            audit.record(tx, actor, "release.publish", f"{release.app} {release.version}", at=now)
        return new

    return tuple(release_view(release) for release in await controller.write(work))


def _new_releases(controller: Controller, tx: Transaction, parsed: ReleaseFile, now: Instant) -> list[ReleaseRecord]:
    stored = tx.catalog.release_document()
    newest = 0 if stored is None else stored[0]
    if parsed.version <= newest:
        raise Conflict(f"release file version {parsed.version}: {newest} is published; fetch that and sign again")
    known = {release.path: release for release in tx.catalog.releases()}
    for path, release in known.items():
        if path not in parsed.releases or not _is_same(parsed.releases[path], release):
            raise Conflict(f"release {release.app} {release.version} is published and cannot be changed or dropped")
    new = [info for path, info in parsed.releases.items() if path not in known]
    for info in sorted(new, key=lambda info: (info.app, info.counter)):
        _check_new(controller, tx, info)
    return [record_of(info, now) for info in new]


def _is_same(info: ReleaseInfo, release: ReleaseRecord) -> bool:
    """Say whether a release is signed as it is stored; its state is ours, and in no release file."""
    signed = record_of(info, release.published_at)
    return all(getattr(signed, name) == getattr(release, name) for name in ReleaseInfo.__struct_fields__)


def _check_new(controller: Controller, tx: Transaction, info: ReleaseInfo) -> None:
    what = f"release {info.app} {info.version}"
    size = controller.artifacts.size(info.sha256)
    if size != info.length:
        found = "not uploaded" if size is None else f"of {size} bytes"
        raise InvalidRequest(f"{what}: its artifact is {found}, expected {info.length} bytes of {info.sha256}")
    published = tx.catalog.releases(info.app)
    if any(release.version == info.version for release in published):
        raise Conflict(f"{what} is published already under another path")
    highest = max((release.counter for release in published), default=0)
    if info.counter <= highest:
        raise InvalidRequest(f"{what}: counter {info.counter}, expected more than {highest}")


async def list_releases(controller: Controller, actor: Actor, *, app: str | None = None) -> tuple[ReleaseView, ...]:
    """Return releases, by app and counter."""
    actor.require(Permission.READ)
    records, listed = await controller.read(lambda tx: (tx.catalog.releases(app), tx.catalog.channels(app)))
    return tuple(release_view(record, channels.of(record, listed)) for record in records)


async def document(controller: Controller) -> bytes:
    """Return the newest release file, as it was signed.

    Raises:
        NotFound: when nothing was ever published.
    """
    stored = await controller.read(lambda tx: tx.catalog.release_document())
    if stored is None:
        raise NotFound("no release has been published yet")
    return stored[1]


def record_of(info: ReleaseInfo, published_at: Instant) -> ReleaseRecord:
    """Return a signed release as it is stored."""
    return ReleaseRecord(
        app=info.app,
        version=info.version,
        path=info.path,
        sha256=info.sha256,
        length=info.length,
        counter=info.counter,
        floor=info.floor,
        installer=info.installer,
        hardware=info.hardware,
        published_at=published_at,
    )


def release_view(record: ReleaseRecord, in_channels: tuple[str, ...] = ()) -> ReleaseView:
    """Return a release as people see it."""
    return ReleaseView(
        app=record.app,
        version=record.version,
        path=record.path,
        sha256=record.sha256,
        length=record.length,
        counter=record.counter,
        floor=record.floor,
        installer=record.installer,
        hardware=record.hardware,
        published_at=record.published_at,
        channels=in_channels,
        state=record.state.value,
        state_reason=record.state_reason,
        state_by=record.state_by,
        state_at=record.state_at,
    )
