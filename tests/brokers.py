"""Which tests need a real broker, and how the summary says that there was none."""

from collections.abc import Iterable, Iterator

import pytest

from simulator.brokers import BrokerMissing, Kind, find

THIN = "NOT TESTED with a real broker"


def needs(kind: Kind) -> pytest.MarkDecorator:
    """Return the mark that skips a test where the broker is not installed; `missing` makes it heard."""
    try:
        find(kind)
    except BrokerMissing as error:
        return pytest.mark.skipif(True, reason=f"{THIN}: {error}")
    return pytest.mark.skipif(False, reason="")


def missing(reasons: Iterable[str]) -> Iterator[str]:
    """Yield a line for each broker that tests were skipped for, out of the *reasons* of all skipped tests."""
    heard = [reason.removeprefix("Skipped: ") for reason in reasons]
    for reason in sorted({reason for reason in heard if reason.startswith(THIN)}):
        yield f"{reason} ({heard.count(reason)} tests)"
