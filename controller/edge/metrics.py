"""What the endpoint counted, as metrics: read when somebody asks for them, and kept nowhere else."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controller.edge.endpoint import Endpoint
from controller.observe import counted

PREFIX: Final = "tidegate_endpoint_"

COUNTERS: Final = {
    "accepted": "TCP connections accepted.",
    "connected": "Devices admitted.",
    "taken_over": "Sessions ended by a newer one of the same device.",
    "keepalive_ended": "Sessions ended because nothing was heard of the device.",
    "received": "Messages received.",
    "stored": "Messages stored, and acknowledged only then.",
    "written": "Messages written to devices.",
    "write_refused": "Messages that a session could not take.",
    "forbidden_publishes": "Publications refused because of their topic.",
    "forbidden_subscribes": "Subscriptions refused because of their topic.",
    "throttled": "Times that a device sent faster than it may.",
    "paused": "Times that all devices had to wait because too many messages waited.",
    "batches": "Batches of messages stored.",
    "batches_failed": "Times that a batch could not be stored and was offered again.",
    "farewells_lost": "Ends of sessions that could not be noted.",
}
"""Those that are one number; the names are those of `controller.edge.limits.Counts`."""

BY_REASON: Final = {
    "handshakes_failed": "TLS handshakes that failed.",
    "connects_refused": "Devices that were not admitted.",
    "ended": "Sessions that ended.",
    "dispositions": "Messages answered, by what became of them.",
}
"""Those with a label; its values are constants of the code."""


class EndpointMetrics(Collector):
    """Reads an endpoint on the loop that runs it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it stands."""
        yield from counted(PREFIX, self._endpoint.counts, plain=COUNTERS, by_reason=BY_REASON)
        yield GaugeMetricFamily(PREFIX + "connections", "Open TLS connections.", value=self._endpoint.connections)
        yield GaugeMetricFamily(PREFIX + "sessions", "Connected devices.", value=self._endpoint.session_count)
        yield GaugeMetricFamily(PREFIX + "waiting", "Messages that wait to be stored.", value=self._endpoint.depth)
