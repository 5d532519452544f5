"""The topic scheme, in both directions; nothing else builds or parses a topic.

```
tg/1/u/<partition>/<name>/hello | report | tick | gone    device → controller
tg/1/d/<name>/cmd | ack                                   controller → device
```

>>> up = Uplink(Name("acme:kiosk-17"), UplinkKind.REPORT)
>>> str(up)
'tg/1/u/170/acme:kiosk-17/report'
>>> parse(str(up)) == up
True
>>> str(Downlink(Name("acme:kiosk-17"), DownlinkKind.COMMAND))
'tg/1/d/acme:kiosk-17/cmd'
"""

from enum import StrEnum
from typing import Final, NamedTuple

from protocol.errors import InvalidName, MalformedMessage
from protocol.ids import Name, name_of, partition_of, split_name

__all__ = ["Downlink", "DownlinkKind", "Topic", "Uplink", "UplinkKind", "parse", "uplink_filter"]

ROOT: Final = "tg/1"
TOPIC_LENGTH_MAX: Final = 160


class UplinkKind(StrEnum):
    """What a device says."""

    HELLO = "hello"
    REPORT = "report"
    TICK = "tick"
    GONE = "gone"


class DownlinkKind(StrEnum):
    """What a device is told."""

    COMMAND = "cmd"
    ACK = "ack"


class Uplink(NamedTuple):
    """A topic that one device publishes to."""

    name: Name
    kind: UplinkKind

    def __str__(self) -> str:
        """Return the topic as it stands on the wire."""
        return f"{ROOT}/u/{partition_of(self.name)}/{self.name}/{self.kind}"


class Downlink(NamedTuple):
    """A topic that one device subscribes to."""

    name: Name
    kind: DownlinkKind

    def __str__(self) -> str:
        """Return the topic as it stands on the wire."""
        return f"{ROOT}/d/{self.name}/{self.kind}"


Topic = Uplink | Downlink


def uplink_filter(partition: int) -> str:
    """Return the topic filter for all that the devices of a partition, 0 to 255, say.

    >>> uplink_filter(170)
    'tg/1/u/170/#'
    """
    return f"{ROOT}/u/{partition}/#"


def parse(text: str) -> Topic:
    """Parse a topic of either direction.

    Raises:
        MalformedMessage: when *text* is no topic of ours, or its partition is not the name's.
    """
    if len(text) > TOPIC_LENGTH_MAX:
        raise MalformedMessage(f"topic of {len(text)} characters: expected at most {TOPIC_LENGTH_MAX}")
    try:
        match text.split("/"):
            case ["tg", "1", "u", partition, name, kind]:
                up = Uplink(name_of(*split_name(name)), UplinkKind(kind))
                if str(partition_of(up.name)) != partition:
                    raise MalformedMessage(f"topic {text!r}: expected partition {partition_of(up.name)}")
                return up
            case ["tg", "1", "d", name, kind]:
                return Downlink(name_of(*split_name(name)), DownlinkKind(kind))
    except (InvalidName, ValueError) as error:
        raise MalformedMessage(f"topic {text!r}: {error}") from error
    raise MalformedMessage(f"topic {text!r} is none of {ROOT}/u/… and {ROOT}/d/…")
