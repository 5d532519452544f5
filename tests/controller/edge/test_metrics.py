"""What `/metrics` says of the endpoint."""

from dataclasses import fields
from pathlib import Path

from prometheus_client import CollectorRegistry

from controller.edge.limits import Counts
from controller.edge.metrics import BY_REASON, COUNTERS, EndpointMetrics
from tests.controller.edge.world import until, world


def test_everything_that_is_counted_has_a_metric() -> None:
    counts = Counts()
    assert {*COUNTERS, *BY_REASON} == {field.name for field in fields(counts)}
    assert {name for name in COUNTERS if not isinstance(getattr(counts, name), int)} == set()


async def test_metrics_follow_the_endpoint(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        registry = CollectorRegistry()
        registry.register(EndpointMetrics(w.endpoint))
        device = await w.device()
        device.publish(b"report")
        await device.packet()

        assert registry.get_sample_value("tidegate_endpoint_stored_total") == 1
        assert registry.get_sample_value("tidegate_endpoint_dispositions_total", {"reason": "stored"}) == 1
        assert registry.get_sample_value("tidegate_endpoint_sessions") == 1

        device.goodbye()
        await until(lambda: w.endpoint.counts.ended)
        [reason] = w.endpoint.counts.ended
        assert registry.get_sample_value("tidegate_endpoint_ended_total", {"reason": reason}) == 1


async def test_the_endpoint_counts_what_it_refuses(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        registry = CollectorRegistry()
        registry.register(EndpointMetrics(w.endpoint))
        w.inbox.blocked.add("acme:d1")
        await (await w.client()).connect()

        [reason] = w.endpoint.counts.connects_refused
        assert registry.get_sample_value("tidegate_endpoint_connects_refused_total", {"reason": reason}) == 1
