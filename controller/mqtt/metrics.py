"""What the way over a broker counted, as metrics: read when somebody asks for them, and kept nowhere else."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controller.mqtt.broker import Broker
from controller.observe import counted

PREFIX: Final = "tidegate_broker_"

COUNTERS: Final = {
    "connected": "Times that a lane came to stand.",
    "taken_over": "Times that somebody else used a lane.",
    "sight_lost": "Times that hellos and wills of a lane may have been missed.",
    "received": "Messages received.",
    "stored": "Messages stored, and acknowledged only then.",
    "acknowledgements_dropped": "Messages stored after their connection was gone; the broker offers them again.",
    "written": "Messages handed to the broker.",
    "write_refused": "Messages that could not be handed over.",
    "publishes_refused": "Messages that the broker refused.",
    "paused": "Times that the broker had to wait because too many messages waited.",
    "batches": "Batches of messages stored.",
    "batches_failed": "Times that a batch could not be stored and was offered again.",
    "farewells_lost": "Ends of sessions that could not be noted.",
}
"""Those that are one number; the names are those of `controller.mqtt.limits.Counts`."""

BY_REASON: Final = {
    "messages_refused": "Messages that were no device's message to this controller.",
    "ended": "Connections to the broker that ended.",
    "dispositions": "Messages answered, by what became of them.",
}
"""Those with a label; its values are constants of the code."""


class BrokerMetrics(Collector):
    """Reads the transport on the loop that runs it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it stands."""
        yield from counted(PREFIX, self._broker.counts, plain=COUNTERS, by_reason=BY_REASON)
        yield GaugeMetricFamily(PREFIX + "lanes", "Lanes that stand.", value=self._broker.lanes_standing)
        yield GaugeMetricFamily(PREFIX + "sessions", "Connected devices.", value=self._broker.session_count)
        yield GaugeMetricFamily(PREFIX + "unsettled", "Messages not acknowledged.", value=self._broker.unsettled)
        yield GaugeMetricFamily(PREFIX + "waiting", "Messages that wait to be stored.", value=self._broker.depth)
