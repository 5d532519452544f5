"""Devices, groups and enrolment."""

from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
)

from controller.app.groups import NAMED_MAX
from controller.domain.query import LENGTH_MAX
from controller.http.schemas.parts import (
    GROUP_PATH_LENGTH_MAX,
    Answer,
    Base64,
    Body,
    Key,
    Moment,
    Pem,
    Reason,
    Time,
    Word,
)
from protocol.profiles import Profile


class Installed(Answer):
    """One app on a device, as the device last reported."""

    app: str
    version: str
    sha256: str
    counter: int


class HoldOrder(Answer):
    """An order that a device gets no work; `ends_at` is null where it has no end."""

    by: str
    reason: str
    at: Time
    ends_at: Time | None


class PinOrder(Answer):
    """An order that a device gets no version of an app outside a range."""

    app: str
    versions: str
    by: str
    reason: str
    at: Time


class Device(Answer):
    """One device."""

    device: str
    name: str
    model: str
    labels: dict[str, str]
    facts: dict[str, str]
    installed: list[Installed]
    online: bool
    blocked: bool
    broken: bool
    removed_at: Time | None
    agent: str
    enrolled_at: Time
    last_seen_at: Time | None
    certificate_expires_at: Time
    hold: HoldOrder | None
    pins: list[PinOrder]


class NewHold(Body):
    """Why a device gets no work, and until when; without an end until somebody lifts it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"reason": "trade fair", "until": "2026-05-04T06:00:00Z"}]}
    )

    reason: Reason
    until: Moment | None = None


class NewPin(Body):
    """The only versions of an app that a device may get, and why."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"app": "shop", "versions": ">=2.0, <3", "reason": "audit"}]}
    )

    app: Word
    versions: Annotated[str, Field(max_length=LENGTH_MAX)]
    reason: Reason


class NoPin(Body):
    """The app of which a device may get any version again, and why."""

    app: Word
    reason: Reason


class Labels(Body):
    """All labels of a device; those not named are removed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"labels": {"region": "eu", "ring": "canary"}}]})

    labels: dict[Word, Annotated[str, Field(max_length=256)]]


class Group(Answer):
    """One group. `devices` counts its own members; `devices_below` those of groups below it, too, each once."""

    path: str
    devices: int
    devices_below: int
    created_at: Time


class NewGroup(Body):
    """A group, named by its path; groups above it are made with it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"path": "eu/berlin"}]})

    path: Annotated[str, Field(max_length=GROUP_PATH_LENGTH_MAX)]


class Members(Body):
    """Devices by their ids, those that a query finds now, or both."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"devices": ["kiosk-1"]}, {"query": 'labels.city == "berlin"'}]}
    )

    devices: Annotated[list[Word], Field(max_length=NAMED_MAX)] = Field(default_factory=list)
    query: Annotated[str, Field(max_length=LENGTH_MAX)] | None = None


class MembersChanged(Answer):
    """How many devices were meant, and how many of them were not as asked for before."""

    path: str
    found: int
    changed: int


class Enrol(Body):
    """A device's request to join, with its claim token, certificate request and public keys."""

    token: Word
    device: Word
    model: Word
    hardware_id: Word
    csr: Pem
    signing_key: Key
    sealing_key: Key


class Enrolled(BaseModel):
    """What a device gets when it joins."""

    name: str
    certificate: str
    ca_chain: str
    fleet_root: Base64
    release_root: Base64
    mqtt_host: str
    mqtt_port: int
    mqtt_profile: Profile


class Renew(Body):
    """A device's request for its next certificate."""

    csr: Pem


class Renewed(BaseModel):
    """A device's next certificate and the chain to the tenant's CA, in PEM."""

    certificate: str
    ca_chain: str
