"""What the controller says of itself: counts for metrics, and log lines for stories.

Metrics never carry a device as a label; logs never carry secrets, tokens or payloads.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from structlog.typing import EventDict, Processor


def counted(prefix: str, counts: object, *, plain: Mapping[str, str], by_reason: Mapping[str, str]) -> Iterator[Metric]:
    """Yield what an object has counted, as metrics under *prefix*.

    Args:
        prefix: how every metric's name begins.
        counts: what has the counters as attributes.
        plain: those that are one number, with what they tell.
        by_reason: those that are mappings from a constant of the code, their label, to a number.
    """
    for name, text in plain.items():
        yield CounterMetricFamily(prefix + name, text, value=getattr(counts, name))
    for name, text in by_reason.items():
        family = CounterMetricFamily(prefix + name, text, labels=["reason"])
        for reason, count in getattr(counts, name).items():
            family.add_metric([reason], count)
        yield family


class Meters:
    """The controller's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self.published = Counter(
            "tidegate_commands_published",
            "Commands handed to a transport.",
            ["op"],
            registry=self.registry,
        )
        self.reports = Counter("tidegate_reports", "Signed reports stored.", ["state"], registry=self.registry)
        self.refused = Counter(
            "tidegate_messages_refused", "Messages of devices that were refused.", ["reason"], registry=self.registry
        )
        self.anomalies = Counter(
            "tidegate_anomalies", "Reports that did not fit and changed nothing.", ["kind"], registry=self.registry
        )
        self.refusals = Counter(
            "tidegate_command_refusals", "Commands that devices refused.", ["code"], registry=self.registry
        )
        self.batch = Histogram(
            "tidegate_ingest_batch_messages",
            "Messages in one ingest transaction.",
            buckets=(1, 5, 20, 50, 100, 200, 500),
            registry=self.registry,
        )
        self.devices = Gauge("tidegate_devices", "Enrolled devices.", ["presence"], registry=self.registry)
        self.run_targets = Gauge("tidegate_run_targets", "Devices of active runs.", ["state"], registry=self.registry)
        self.unsent = Gauge("tidegate_commands_unsent", "Commands not handed over yet.", registry=self.registry)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text form."""
        return generate_latest(self.registry)


def without_escapes(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Replace what a terminal would act on in the texts of a log line: devices chose some of them."""
    return {key: _printable(value) if isinstance(value, str) else value for key, value in event.items()}


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def set_up_logs(*, as_json: bool, level: str = "info") -> None:
    """Send structured log lines to standard error: JSON for machines, columns for people."""
    render: list[Processor] = (
        [structlog.processors.JSONRenderer()]
        if as_json
        else [without_escapes, structlog.dev.ConsoleRenderer(pad_event_to=28, colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
