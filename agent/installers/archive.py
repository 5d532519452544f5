"""The built-in installer `archive`: versioned folders, an atomic switch, and a watched service.

```
<apps>/<app>/<version>-<digest12>/        an unpacked release; complete, for it got its name by rename
<apps>/<app>/<version>-<digest12>.json    how its service is run: environment and port (0600)
<apps>/<app>/current → <version>-<digest12>
<apps>/<app>/previous → <version>-<digest12>   what `current` was before the last switch; absent: nothing
<apps>/<app>/outputs/outputs.json         what the release tells of itself; emptied before each switch, also back
<apps>/<app>/lock                         while it is there, nothing is activated; anybody may make it
<apps>/<app>/service.json, service.log    the running service and what it says
```

An artifact is a ``.tar``, ``.tar.gz`` or ``.tar.xz`` with an ``app.json`` at its top; see
`agent.installers.manifest`.

The rules this module keeps:

1. What is unpacked is the staged file, hashed again right before.
2. `current` is always a whole release or absent: the switch is one rename, synced.
3. `previous` is written before the switch, so that a crash between the two rolls back to the right one.
4. The old service is stopped before the switch, and started again by a roll back.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent.core.events import Found
from agent.errors import Aborted, StepFailed
from agent.files import hash_of, link_whole, remove, sync_folder, sync_tree
from agent.installers import outputs
from agent.installers.manifest import Manifest, check_env, read_manifest
from agent.installers.port import Job
from agent.installers.probe import probe
from agent.installers.service import RunAs, Services
from agent.installers.unpack import unpack
from agent.logs import fields
from protocol.ids import AppName
from protocol.outputs import Outputs
from protocol.reasons import Reason
from protocol.trust import ReleaseInfo
from protocol.units import SECOND

log = logging.getLogger(__name__)

DIGEST_LENGTH: Final = 12
LOCK_POLL_SECONDS: Final = 0.2
FOLDER_MODE: Final = 0o755
_STAGED: Final = ".new-"
_FOLDER: Final = re.compile(r"(?!\.new-).+-[0-9a-f]{12}")
"""The name of a release's folder; an app's ``data`` is none, and never removed."""


def folder_of(release: ReleaseInfo) -> str:
    """Return the name of a release's folder."""
    safe = "".join(c if c.isalnum() or c in "._+~-" else "_" for c in release.version)[:64]
    return f"{safe or '_'}-{release.sha256[:DIGEST_LENGTH]}"


@contextmanager
def _told(job: Job) -> Iterator[None]:
    """Tell a fault of the file system as the step's."""
    try:
        yield
    except OSError as error:
        raise StepFailed(Reason.INSTALL_FAILED, f"{job.release.app}: {error}") from error


class ArchiveInstaller:
    """Unpacks archives, switches between them, and runs their services."""

    def __init__(self, apps: Path, services: Services, *, keep: int, bytes_max: int, lock_wait_ms: int) -> None:
        """Take the folder of the apps, who runs services, and the limits; see `agent.config.Config`."""
        self._apps = apps
        self._services = services
        self._keep = keep
        self._bytes_max = bytes_max
        self._lock_wait_ms = lock_wait_ms
        apps.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)

    # --- the steps ---

    def prepare(self, job: Job) -> None:
        """Unpack the artifact, check it, and wait for the app's lock to go."""
        home = self._apps / job.release.app
        with _told(job):
            self._staged(job)
            self._await_unlocked(job, home / "lock")

    def install(self, job: Job) -> None:
        """Stop the old service, switch, start the new one."""
        with _told(job):
            self._install(job)

    def _staged(self, job: Job) -> Manifest:
        home = self._apps / job.release.app
        home.mkdir(exist_ok=True, mode=FOLDER_MODE)
        manifest = self._stage(job, home / folder_of(job.release))
        check_env(manifest, job.work.env)
        return manifest

    def _install(self, job: Job) -> None:
        wanted = folder_of(job.release)
        home = self._apps / job.release.app
        manifest = self._staged(job)
        if (home / "lock").exists():
            raise StepFailed(Reason.LOCKED, f"{home / 'lock'} has come back")
        self._services.prepare(home, wanted, RunAs(env=dict(job.work.env)))
        self._remember(home)
        self._services.stop(home)
        outputs.forget(home)
        link_whole(home / "current", wanted)
        self._services.start(home, wanted, manifest)

    def _stage(self, job: Job, folder: Path) -> Manifest:
        """Unpack into a folder of another name, check it, and give it its own."""
        if hash_of(job.artifact) != job.release.sha256:
            raise StepFailed(Reason.HASH_MISMATCH, "the staged file is not what was downloaded")
        if not folder.exists():
            staged = folder.with_name(_STAGED + folder.name)
            remove(staged)
            unpack(job.artifact, staged, bytes_max=self._bytes_max, called_off=job.called_off)
            _check_names(read_manifest(staged), job.release)
            sync_tree(staged)
            staged.rename(folder)
            sync_folder(folder.parent)
        manifest = read_manifest(folder)
        _check_names(manifest, job.release)
        return manifest

    def _await_unlocked(self, job: Job, lock: Path) -> None:
        waited_ms = 0
        while lock.exists():
            if waited_ms >= self._lock_wait_ms:
                raise StepFailed(Reason.LOCKED, f"{lock} is still there after {waited_ms} ms")
            if job.called_off.wait(LOCK_POLL_SECONDS):
                raise Aborted("the installation was called off")
            waited_ms += int(LOCK_POLL_SECONDS * SECOND)
        if job.called_off.is_set():
            raise Aborted("the installation was called off")

    def _remember(self, home: Path) -> None:
        """Note what to go back to; that is the release itself where it is active already."""
        current = _target(home / "current")
        if current is None:
            (home / "previous").unlink(missing_ok=True)
            sync_folder(home)
        else:
            link_whole(home / "previous", current)

    def inspect(self, job: Job) -> Found:
        """Say which folder `current` names, and whether it runs as the work says it should."""
        home = self._apps / job.release.app
        current = _target(home / "current")
        if current is None:
            return Found.BROKEN if (home / "current").is_symlink() else Found.OLD
        is_same = current == folder_of(job.release) and self._services.runs_as(home, current) == dict(job.work.env)
        return Found.NEW if is_same else Found.OLD

    def verify(self, job: Job) -> None:
        """See that the service runs, and probe it until it is healthy."""
        home, wanted = self._apps / job.release.app, folder_of(job.release)
        manifest = read_manifest(home / wanted)
        try:
            self._services.ensure(home, wanted, manifest)
            probe(self._services.target(home, wanted, manifest), manifest, called_off=job.called_off)
        except OSError as error:
            raise StepFailed(Reason.VERIFY_FAILED, f"{job.release.app}: {error}") from error

    def outputs(self, job: Job) -> Outputs:
        """Return what the service or its probe wrote."""
        return self.tell(job.release.app)

    def tell(self, app: AppName) -> Outputs:
        """Return what the service or its probe wrote last."""
        return outputs.read(self._apps / app)

    def commit(self, job: Job) -> None:
        """Watch over the service from now on, and drop the oldest folders."""
        home, wanted = self._apps / job.release.app, folder_of(job.release)
        if _target(home / "current") != wanted:
            raise StepFailed(Reason.STORAGE_ERROR, f"{home / 'current'} does not name {wanted}")
        self._services.watch(home, wanted, read_manifest(home / wanted))
        try:
            self._prune(home)
        except OSError as error:  # the release is active and healthy: a leftover folder is no failure of it
            log.warning("prune_failed", extra=fields(app=job.release.app, error=error))

    def _prune(self, home: Path) -> None:
        named = {_target(home / "current"), _target(home / "previous")}
        folders = [path for path in home.iterdir() if path.is_dir() and _FOLDER.fullmatch(path.name)]
        others = [path for path in folders if path.name not in named]
        others.sort(key=lambda path: path.stat().st_ctime, reverse=True)
        for path in others[max(0, self._keep - len(named - {None})) :]:
            remove(path)
            remove(path.with_name(f"{path.name}.json"))

    def roll_back(self, job: Job) -> None:
        """Switch back to what was active before, where it was switched, and see that it runs."""
        try:
            self._roll_back(job)
        except OSError as error:
            raise StepFailed(Reason.INSTALL_FAILED, f"{job.release.app}: {error}") from error

    def _roll_back(self, job: Job) -> None:
        wanted = folder_of(job.release)
        home = self._apps / job.release.app
        if not home.exists():
            return
        current, previous = _target(home / "current"), _target(home / "previous")
        if current in {wanted, None} and previous != wanted:
            self._services.stop(home)
            if current is not None:
                outputs.forget(home)
            current = previous
            if previous is None:
                (home / "current").unlink(missing_ok=True)
                sync_folder(home)
            else:
                link_whole(home / "current", previous)
        if current is not None:
            self._services.watch(home, current, read_manifest(home / current))
        self._forget(home, wanted)

    def _forget(self, home: Path, wanted: str) -> None:
        """Remove the folder that did not work out, unless it is in use."""
        if wanted not in {_target(home / "current"), _target(home / "previous")}:
            remove(home / wanted)
            remove(home / f"{wanted}.json")

    # --- around them ---

    def clean(self) -> None:
        """Remove what was staged and never named."""
        for path in self._apps.glob(f"*/{_STAGED}*"):
            remove(path)

    def attend(self, apps: frozenset[AppName]) -> None:
        """Probe the services of these apps."""
        self._services.attend(apps)

    def start(self) -> None:
        """Adopt or start the service of every app's current release."""
        for link in sorted(self._apps.glob("*/current")):
            current = _target(link)
            if current is None:
                log.error("current_is_broken", extra=fields(app=link.parent.name))
                continue
            try:
                self._services.watch(link.parent, current, read_manifest(link.parent / current))
            except (StepFailed, OSError) as error:
                log.error("service_not_started", extra=fields(app=link.parent.name, error=error))  # noqa: TRY400

    def stop(self) -> None:
        """Stop watching, and the services where the settings say so."""
        self._services.close()


def _target(link: Path) -> str | None:
    """Return the folder that *link* names, or None where there is none."""
    if not link.is_symlink():
        return None
    name = link.readlink().name
    return name if (link.parent / name).is_dir() else None


def _check_names(manifest: Manifest, release: ReleaseInfo) -> None:
    found = (AppName(manifest.name), manifest.version)
    if found != (release.app, release.version):
        detail = f"app.json says {manifest.name} {manifest.version}, expected {release.app} {release.version}"
        raise StepFailed(Reason.VERSION_MISMATCH, detail)
