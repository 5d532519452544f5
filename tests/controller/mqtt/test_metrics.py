"""What `/metrics` says of the way over a broker."""

from dataclasses import fields

from prometheus_client import CollectorRegistry

from controller.mqtt.limits import LANES, Counts
from controller.mqtt.metrics import BY_REASON, COUNTERS, BrokerMetrics
from protocol.topics import DownlinkKind
from tests.controller.edge.world import D1, until
from tests.controller.mqtt.fake_broker import fake_broker, over


def test_everything_that_is_counted_has_a_metric() -> None:
    counts = Counts()
    assert {*COUNTERS, *BY_REASON} == {field.name for field in fields(counts)}
    assert {name for name in COUNTERS if not isinstance(getattr(counts, name), int)} == set()


async def test_metrics_follow_the_lanes() -> None:
    async with fake_broker() as fake, over(fake) as w:
        registry = CollectorRegistry()
        registry.register(BrokerMetrics(w.broker))
        await w.stand()
        fake.answers_publishes = False
        assert w.broker.write(D1, DownlinkKind.ACK, b"ack")

        assert registry.get_sample_value("tidegate_broker_lanes") == LANES
        assert registry.get_sample_value("tidegate_broker_written_total") == 1
        assert registry.get_sample_value("tidegate_broker_unsettled") == 1

        next(iter(fake.writers.values())).close()
        await until(lambda: w.broker.counts.ended)
        assert registry.get_sample_value("tidegate_broker_ended_total", {"reason": "lost"}) == 1
