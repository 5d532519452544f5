"""Where a broker is, as whom the probe may come, and how long it may take: what every check is given.

Client ids and topics of the probe are its own: no lane of a controller at work listens to them, and no device has them.
"""

import math
import ssl
from collections.abc import Callable
from typing import Final

import msgspec
from paho.mqtt.enums import MQTTProtocolVersion

from controller.mqtt.check.peer import Door, Manner, Peer, Refused
from protocol.ids import DeviceId, Name, TenantId, name_of
from protocol.topics import ROOT, Downlink, DownlinkKind

FIRST: Final = DeviceId("check-a")
SECOND: Final = DeviceId("check-b")
THIRD: Final = DeviceId("check-c")
DEVICES: Final = (FIRST, SECOND, THIRD)
PARTITION: Final = "check"
"""A level that no lane subscribes to, so that a controller at work hears nothing of the probe."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much, and how long."""

    whole_s: float = 55.0
    """All checks but that of a restart. Cleaning up may take a little more."""
    settle_s: float = 0.3
    """How long something that must not come is waited for, once what was sent after it has come."""
    will_s: float = 3.0
    queued: int = 5_000
    redelivered: int = 300
    redelivery_s: float = 35.0
    """NATS waits 30 s by default before it sends again."""
    prompt_s: float = 8.0
    clients: int = 200
    restart_s: float = 30.0
    plain_port: int = 1_883
    """Where brokers listen without TLS unless told otherwise."""


class Identities(msgspec.Struct, frozen=True, kw_only=True):
    """TLS contexts: of throw-away devices, the controller, a device of another CA, and somebody without certificate.

    `dated` is a device that offers old TLS alone; it has a certificate, since a handshake of old TLS fails without.
    """

    devices: dict[DeviceId, ssl.SSLContext]
    controller: ssl.SSLContext
    stranger: ssl.SSLContext
    nobody: ssl.SSLContext
    dated: ssl.SSLContext


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A broker and the means to ask it. `restart` restarts it, where that is allowed."""

    tenant: TenantId
    controller: Door
    devices: Door
    identities: Identities
    now_s: Callable[[], float]
    restart: Callable[[], None] | None = None
    limits: Limits = Limits()
    version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5
    until_s: float = math.inf
    """When the probe's time is over, by `now_s`."""

    @property
    def is_mqtt5(self) -> bool:
        """Whether MQTT 5 is spoken, else 3.1.1."""
        return self.version == MQTTProtocolVersion.MQTTv5

    def name(self, device: DeviceId) -> Name:
        """Return the name of a throw-away device."""
        return name_of(self.tenant, device)

    def client_id(self, purpose: str) -> str:
        """Return a client id of the controller, as its lanes have them, for a purpose of the probe."""
        return f"tidegate-{self.tenant}-check-{purpose}"

    def uplink(self, device: DeviceId, kind: str) -> str:
        """Return a topic that a device may write."""
        return f"{ROOT}/u/{PARTITION}/{self.name(device)}/{kind}"

    def downlink(self, device: DeviceId) -> str:
        """Return the topic of a device's commands."""
        return str(Downlink(self.name(device), DownlinkKind.COMMAND))

    def manner(self, *, session_s: int = 0, is_acking: bool = True, will: tuple[str, bytes] | None = None) -> Manner:
        """Return how to connect, in the version that was found."""
        return Manner(version=self.version, session_s=session_s, is_acking=is_acking, will=will)

    def door(self, device: DeviceId) -> Door:
        """Return the devices' door as a throw-away device comes to it."""
        return _as(self.devices, self.identities.devices[device])

    def device(self, device: DeviceId, manner: Manner | None = None) -> Peer:
        """Connect as a throw-away device.

        Raises:
            Refused: when it is not let in.
        """
        return self.peer(self.door(device), self.name(device), manner)

    def lane(self, purpose: str, manner: Manner | None = None) -> Peer:
        """Connect as the controller, under a client id for *purpose*.

        Raises:
            Refused: when it is not let in.
        """
        return self.peer(self.controller, self.client_id(purpose), manner)

    def peer(self, door: Door, client_id: str, manner: Manner | None = None) -> Peer:
        """Connect at *door* under *client_id*.

        Raises:
            Refused: when it is not let in.
        """
        return Peer(door, client_id, manner or self.manner(), now_s=self.now_s, until_s=self.until_s).connect()

    def doors(self, context: ssl.SSLContext) -> tuple[Door, ...]:
        """Return both doors, or the one that is both, for somebody with *context*."""
        both = (_as(self.devices, context), _as(self.controller, context))
        is_one = (self.devices.host, self.devices.port) == (self.controller.host, self.controller.port)
        return both[:1] if is_one else both

    def forget(self, purpose: str) -> None:
        """Have the broker drop the session for *purpose* and all it keeps for it, also when time is over.

        Raises:
            Refused: when it does not answer.
        """
        client_id = self.client_id(purpose)
        try:
            Peer(self.controller, client_id, self.manner(), now_s=self.now_s).connect().leave()
        except Refused as error:
            raise Refused(f"the broker may still keep the session of client id {client_id}: {error}") from error


def _as(door: Door, context: ssl.SSLContext) -> Door:
    """Return *door* for somebody else, without a password; where no TLS is spoken there are no certificates."""
    return Door(host=door.host, port=door.port, context=None if door.context is None else context)
