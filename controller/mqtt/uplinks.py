"""What a broker delivers, read as a device's message; whatever else it delivers is told apart by a word."""

from collections.abc import Container
from typing import Final

from paho.mqtt.client import MQTTMessage

from controller.app.ports import Uplinked
from protocol.errors import MalformedMessage
from protocol.ids import TenantId, partition_of
from protocol.messages import MESSAGE_BYTES_MAX
from protocol.topics import Uplink, parse

TOPIC_SHOWN: Final = 160


class Foreign(Exception):
    """A message that no device of ours sent like this; `reason` is a constant of the code."""

    def __init__(self, reason: str, topic: str) -> None:
        """Take why, and the topic."""
        super().__init__(f"{reason}: {topic[:TOPIC_SHOWN]}")
        self.reason = reason
        self.topic = topic[:TOPIC_SHOWN]


def read(message: MQTTMessage, *, tenant: TenantId, partitions: Container[int]) -> Uplinked:
    """Return *message* as what it says and who says it.

    The name comes from the topic: the broker lets each device publish under its own name alone.

    Raises:
        Foreign: when the topic is no uplink of a device of *tenant* in *partitions*, or the message is retained, or too
            large.
    """
    try:
        text = message.topic
        topic = parse(text)
    except UnicodeDecodeError:
        raise Foreign("topic", "not UTF-8") from None
    except MalformedMessage as error:
        raise Foreign("topic", text) from error
    if not isinstance(topic, Uplink) or not topic.name.startswith(f"{tenant}:"):
        raise Foreign("topic", text)
    if partition_of(topic.name) not in partitions:
        raise Foreign("partition", text)
    if message.retain:
        raise Foreign("retained", text)
    if len(message.payload) > MESSAGE_BYTES_MAX:
        raise Foreign("oversize", text)
    return Uplinked(name=topic.name, kind=topic.kind, payload=bytes(message.payload))
