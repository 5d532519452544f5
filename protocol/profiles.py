"""How MQTT is spoken with a broker: what its kind can do, agreed between controller and devices.

The built-in endpoint and any broker of MQTT 5 take `Profile.MQTT5`; a device learns its profile when it enrols.

>>> Profile("mqtt3.1.1-qos0").downlink_qos
0
"""

from enum import StrEnum


class Profile(StrEnum):
    """One way to speak; the name is what people write in settings.

    `MQTT5` has reason codes. `MQTT311` is for brokers without MQTT 5; there a forbidden publish is acknowledged
    like any other. `MQTT311_QOS0` also gives up the acknowledgement of what goes down to a device, for brokers whose
    acknowledged subscriptions cost too much (NATS: one JetStream consumer each); what is lost is sent again.
    """

    MQTT5 = "mqtt5"
    MQTT311 = "mqtt3.1.1"
    MQTT311_QOS0 = "mqtt3.1.1-qos0"

    @property
    def is_mqtt5(self) -> bool:
        """Whether MQTT 5 is spoken, else MQTT 3.1.1."""
        return self is Profile.MQTT5

    @property
    def downlink_qos(self) -> int:
        """The QoS of what goes down to devices: of their subscriptions and of the controller's publishes."""
        return 0 if self is Profile.MQTT311_QOS0 else 1
