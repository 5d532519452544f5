"""Devices, why they are not updated, and groups."""

from collections.abc import Mapping

from controller.app.views.parts import View
from protocol.units import Instant


class InstalledView(View, frozen=True, kw_only=True):
    """One app on a device, as the device last reported."""

    app: str
    version: str
    sha256: str
    counter: int


class FactView(View, frozen=True, kw_only=True):
    """One fact about why a device is not updated; see `controller.domain.why.Fact`."""

    code: str
    text: str
    change: str
    until: Instant | None


class WhyView(View, frozen=True, kw_only=True):
    """Why a device is not updated by one run, the most decisive fact first. `stage` is empty where none has it."""

    run: str
    job: str
    app: str
    version: str
    state: str
    stage: str
    facts: tuple[FactView, ...]


class DeviceWhyView(View, frozen=True, kw_only=True):
    """The same for all runs that matter; `facts` are those that hold without a run."""

    device: str
    installed: tuple[InstalledView, ...]
    facts: tuple[FactView, ...]
    runs: tuple[WhyView, ...]


class HoldView(View, frozen=True, kw_only=True):
    """An order that a device gets no work; `ends_at` is None where it has no end."""

    by: str
    reason: str
    at: Instant
    ends_at: Instant | None


class PinView(View, frozen=True, kw_only=True):
    """An order that a device gets no version of an app outside a range."""

    app: str
    versions: str
    by: str
    reason: str
    at: Instant


class DeviceView(View, frozen=True, kw_only=True):
    """One device."""

    device: str
    name: str
    model: str
    labels: Mapping[str, str]
    facts: Mapping[str, str]
    installed: tuple[InstalledView, ...]
    online: bool
    blocked: bool
    broken: bool
    removed_at: Instant | None = None
    agent: str
    enrolled_at: Instant
    last_seen_at: Instant | None
    certificate_expires_at: Instant
    hold: HoldView | None = None
    pins: tuple[PinView, ...] = ()


class GroupView(View, frozen=True, kw_only=True):
    """One group. `devices` counts its own members; `devices_below` those of groups below it, too, each once."""

    path: str
    devices: int
    devices_below: int
    created_at: Instant


class GroupChange(View, frozen=True, kw_only=True):
    """What became of a request for members: how many devices it meant, and for how many it changed something."""

    path: str
    found: int
    changed: int


class Enrolment(View, frozen=True, kw_only=True):
    """What a device gets when it enrols."""

    name: str
    certificate_pem: str
    chain_pem: str
    fleet_root: bytes
    release_root: bytes
