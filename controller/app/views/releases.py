"""Releases and channels."""

from controller.app.views.parts import View
from protocol.units import Instant


class ReleaseView(View, frozen=True, kw_only=True):
    """One release as the release key signed it, and its state: who made it so, when and why."""

    app: str
    version: str
    path: str
    sha256: str
    length: int
    counter: int
    floor: int
    installer: str
    hardware: tuple[str, ...]
    published_at: Instant
    channels: tuple[str, ...] = ()
    state: str = "published"
    state_reason: str = ""
    state_by: str = ""
    state_at: Instant | None = None


class UpgradePathView(View, frozen=True, kw_only=True):
    """From which versions a release may be installed; all empty where nobody has ordered anything."""

    app: str
    version: str
    allowed: str
    forbidden: str
    through: tuple[str, ...]
    reason: str
    by: str
    at: Instant | None


class ChannelView(View, frozen=True, kw_only=True):
    """A release in a channel of its app, and the runs that its appearance started."""

    app: str
    channel: str
    version: str
    at: Instant
    actor: str
    runs: tuple[str, ...] = ()
