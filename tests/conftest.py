"""Settings of every test: the Hypothesis profiles, and sockets that reach no further than loopback."""

import ipaddress
import os
import signal
import socket
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.brokers import missing

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXAMPLES = {"dev": 50, "ci": 500, "soak": 20_000}

for name, max_examples in EXAMPLES.items():
    settings.register_profile(
        name,
        max_examples=max_examples,
        deadline=None,
        derandomize=name == "ci",  # a gate says the same of the same commit; who looks for faults draws at random
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],  # it measures the load of the machine
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def is_local(family: int, address: object) -> bool:
    """Say whether a socket address lies on this machine."""
    if family not in {socket.AF_INET, socket.AF_INET6}:
        return True
    host = str(address[0]) if isinstance(address, tuple) else ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def signals_stay() -> Iterator[None]:
    """Put signal handlers back: a program that a test runs in this process sets its own, and the next test has them."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(autouse=True, scope="session")
def loopback_only() -> Iterator[None]:
    """Refuse every connection that would leave this machine."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def refuse_remote(family: int, address: object) -> None:
        if not is_local(family, address):
            message = f"a test may connect to loopback only, not to {address!r}"
            raise PermissionError(message)

    def guarded_connect(self: socket.socket, address: tuple[str, int] | str | bytes) -> None:
        refuse_remote(self.family, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: tuple[str, int] | str | bytes) -> int:
        refuse_remote(self.family, address)
        return connect_ex(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Say aloud, below everything else, which brokers were not there: a skipped test is easily overlooked."""
    yield
    skipped = terminalreporter.getreports("skipped")
    for line in missing(report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)):
        terminalreporter.write_sep("!", f"WARNING: {line}", yellow=True, bold=True)
