"""What the ways in promise beyond the contract that they share, and why some of them cannot.

A case of the contract that needs a promise says so; where the way in does not give it, the case is skipped with the
reason that stands here. `WITHOUT` is the whole list of differences.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """A way in that the contract is tried over."""

    BUILT_IN = "built-in"
    MOSQUITTO_5 = "mosquitto-mqtt5"
    MOSQUITTO_311 = "mosquitto-mqtt3.1.1"
    NATS = "nats-mqtt3.1.1-qos0"

    @property
    def has_broker(self) -> bool:
        """Say whether connections end at a broker, not at the controller."""
        return self is not Kind.BUILT_IN


BROKERS: Final = tuple(kind for kind in Kind if kind.has_broker)


class Promise(StrEnum):
    """Something that not every way in can do."""

    ANSWERS_AFTER_COMMIT = "a device's publish is acknowledged only once it is stored"
    TELLS_REFUSALS = "a device learns that a publish or a subscription is refused"
    KEEPS_UPLINKS = "what devices say while the controller is away comes after its return"
    SEES_CONNECTIONS = "a session begins and ends with the connection itself"
    HEARS_HELLO_ALONE = "a session begins with a hello and nothing else"
    TELLS_WILL_OF_TAKEOVER = "the will of a connection that the same device takes over is told"
    ENDS_CONNECTIONS = "closing a session ends the device's connection"
    NEEDS_SESSION_FOR_ACK = "an acknowledgement is taken only where there is a session"
    FORBIDS_BY_NAME = "a device is kept out of the topics of others"
    BINDS_CLIENT_ID = "a client id belongs to the certificate that names it"
    SURVIVES_KILL = "what was acknowledged to a device survives that the broker is killed"


_AT_BROKER: Final = "a broker acknowledges when it holds the message; the device keeps a report until its signed ack"

WITHOUT: Final[Mapping[Promise, Mapping[Kind, str]]] = {
    Promise.ANSWERS_AFTER_COMMIT: dict.fromkeys(BROKERS, _AT_BROKER),
    Promise.TELLS_REFUSALS: dict.fromkeys(
        (Kind.MOSQUITTO_311, Kind.NATS), "MQTT 3.1.1 has no reason codes: a forbidden publish is acknowledged as any"
    ),
    Promise.KEEPS_UPLINKS: {Kind.BUILT_IN: "devices are connected to the controller itself, and wait until it is back"},
    Promise.SEES_CONNECTIONS: dict.fromkeys(
        BROKERS, "a broker does not tell who is connected: a session is from the hello to the will"
    ),
    Promise.HEARS_HELLO_ALONE: {Kind.BUILT_IN: "its sessions begin with CONNECT, before any hello"},
    Promise.TELLS_WILL_OF_TAKEOVER: {Kind.NATS: "NATS drops it; the new connection's hello says all that matters"},
    Promise.ENDS_CONNECTIONS: dict.fromkeys(
        BROKERS, "the connection ends at the broker, which takes no orders from us"
    ),
    Promise.NEEDS_SESSION_FOR_ACK: dict.fromkeys(
        BROKERS, "a device of which no hello is known is asked for one by an acknowledgement"
    ),
    Promise.FORBIDS_BY_NAME: {Kind.NATS: "devices share a user at NATS, unless each is given one in its configuration"},
    Promise.BINDS_CLIENT_ID: {Kind.NATS: "NATS takes a client id from anybody with a certificate"},
    Promise.SURVIVES_KILL: {
        Kind.BUILT_IN: "there is no broker",
        Kind.MOSQUITTO_5: "mosquitto writes its store now and then; devices say again what no signed ack named",
        Kind.MOSQUITTO_311: "mosquitto writes its store now and then; devices say again what no signed ack named",
    },
}


def why_not(kind: Kind, promise: Promise) -> str | None:
    """Return why a way in does not give a promise; None where it does."""
    return WITHOUT.get(promise, {}).get(kind)
