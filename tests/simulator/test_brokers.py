"""Starting real brokers, and saying so where there are none."""

import sys
from pathlib import Path

import pytest

from controller.clock import SystemClock
from controller.signing.installation import initialise
from protocol.ids import TenantId
from simulator import brokers
from simulator.brokers import Broker, BrokerFailed, BrokerMissing, Kind, find
from simulator.processes import Processes, ProcessFailed, left_behind
from tests.brokers import THIN, missing, needs


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "on"
    initialise(folder, tmp_path / "off", tenant=TenantId("acme"), hosts=["localhost"], at=SystemClock().now())
    return folder


def _pretend(kind: Kind, program: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program in the place of the broker's."""
    path = folder / kind.program
    path.write_text(f"#!{sys.executable}\n{program}\n")
    path.chmod(0o755)
    monkeypatch.setattr(brokers, "find", lambda _kind: path)


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=needs(kind)) for kind in Kind])
def test_a_broker_ends_with_its_processes_and_comes_back_as_the_same(kind: Kind, keys: Path, tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        broker = Broker.create(kind, tmp_path / "broker", keys=keys, processes=processes)
        where = (broker.url, broker.devices)
        first = broker.start().pid
        broker.stop()
        assert broker.start().pid != first
        broker.kill()
        processes.check()
        broker.start()
        assert (broker.url, broker.devices) == where
        assert broker.environment["TIDEGATE_BROKER_URL"] == broker.url
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "how"), [(Kind.MOSQUITTO, "mosquitto is not installed: apt-get install mosquitto"), (Kind.NATS, "make")]
)
def test_a_broker_that_is_not_there_tells_how_to_get_it(
    kind: Kind, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(brokers, "_SERVERS", ())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerMissing, match=how):
        find(kind)
    mark = needs(kind)
    assert mark.args == (True,)
    assert how in mark.kwargs["reason"]


def test_a_broker_that_ends_at_once_is_told_of_with_its_last_words(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend(Kind.MOSQUITTO, "raise SystemExit('no such directive')", tmp_path, monkeypatch)
    with Processes(tmp_path) as processes:
        broker = Broker.create(Kind.MOSQUITTO, tmp_path / "broker", keys=keys, processes=processes)
        with pytest.raises(ProcessFailed, match="no such directive"):
            broker.start()


def test_a_broker_that_takes_no_connection_is_not_waited_for_without_end(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend(Kind.MOSQUITTO, "import time; print('deaf', flush=True); time.sleep(60)", tmp_path, monkeypatch)
    monkeypatch.setattr(brokers, "START_SECONDS", 0.5)
    with Processes(tmp_path) as processes:
        broker = Broker.create(Kind.MOSQUITTO, tmp_path / "broker", keys=keys, processes=processes)
        with pytest.raises(BrokerFailed, match="not up after"):
            broker.start()


def test_the_summary_names_each_missing_broker_once() -> None:
    reasons = [f"Skipped: {THIN}: mosquitto", "Skipped: no strace", f"Skipped: {THIN}: mosquitto", f"{THIN}: nats"]
    assert list(missing(reasons)) == [f"{THIN}: mosquitto (2 tests)", f"{THIN}: nats (1 tests)"]
