"""What the device judges by: the pinned roots, and the release file, which never goes back."""

from http import HTTPStatus
from pathlib import Path
from typing import Final

from agent.core.model import Trust
from agent.errors import ConfigError, ReleasesRefused
from agent.files import write_whole
from agent.https import Https
from protocol.errors import ProtocolError
from protocol.trust import ReleaseFile, parse_root, read_fleet_root, read_releases
from protocol.units import Instant

RELEASES_PATH: Final = "/v1/releases/targets.json"


class TrustStore:
    """The pinned roots and the release file, on disk."""

    def __init__(self, *, fleet_root: Path, release_root: Path, releases: Path) -> None:
        """Read the pinned roots.

        Raises:
            ConfigError: when one is missing or broken.
        """
        try:
            self._release_root = release_root.read_bytes()
            self._release_root_version = parse_root(self._release_root).signed.version
            self._fleet = read_fleet_root(fleet_root.read_bytes())
        except (OSError, ProtocolError) as error:
            raise ConfigError(f"the pinned roots cannot be used, enrol the device again: {error}") from error
        self._path = releases

    def load(self, *, at: Instant, version_min: int) -> Trust:
        """Return the trust at hand: without a release file where the stored one is not to be used.

        Args:
            at: the trusted time, or the floor of it.
            version_min: the newest version of the release file ever seen.
        """
        try:
            releases = self._read(self._path.read_bytes(), at=at, version_min=version_min)
        except (OSError, ReleasesRefused):
            releases = None
        return self._trust(releases)

    def refresh(self, https: Https, *, at: Instant, version_min: int) -> Trust:
        """Fetch the release file, and keep it.

        Raises:
            ReleasesRefused: when it is missing, not to be trusted, or older than *version_min*.
            Unreachable: when the controller cannot be reached.
        """
        answer = https.call("GET", RELEASES_PATH)
        if answer.status != HTTPStatus.OK:
            raise ReleasesRefused(f"the controller answers {answer.status}: {answer.problem}")
        releases = self._read(answer.body, at=at, version_min=version_min)
        write_whole(self._path, answer.body)
        return self._trust(releases)

    def _read(self, raw: bytes, *, at: Instant, version_min: int) -> ReleaseFile:
        try:
            releases = read_releases(raw, self._release_root, at=at)
        except ProtocolError as error:
            raise ReleasesRefused(str(error)) from error
        if releases.version < version_min:
            raise ReleasesRefused(f"release file version {releases.version}: {version_min} was seen before")
        return releases

    def _trust(self, releases: ReleaseFile | None) -> Trust:
        return Trust(fleet=self._fleet, release_root_version=self._release_root_version, releases=releases)
