"""A broker that is killed, forgets everything, stands still or is restarted in mid-run."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest

from simulator.brokers import Broker, Kind
from tests.brokers import needs
from tests.chaos.chance import drawn, repeating
from tests.chaos.history import ALWAYS, CHECKS, assert_clean, unsettled
from tests.chaos.test_stopped import standing_still
from tests.chaos.world import PATIENT, VERSIONS, active_runs, define, evidence_of
from tests.integration.world import JOB, World, until, world

pytestmark = [pytest.mark.timeout(200), needs(Kind.MOSQUITTO)]

TEST: Final = "tests/chaos/test_killed_broker.py"
DEVICES: Final = 40
AGENTS: Final = 3
CONNECTED_MIN: Final = 5
STILL_SECONDS: Final = 4.0
SETTLE_SECONDS: Final = 90.0


def killed(broker: Broker) -> None:
    """Kill it, and let it come back with what its disk holds."""
    broker.kill()
    broker.start()


def wiped(broker: Broker) -> None:
    """Kill it, and let it come back knowing no session."""
    broker.kill()
    broker.forget()
    broker.start()


def stopped(broker: Broker) -> None:
    """Have it stand still for a while."""
    assert broker.child is not None
    with standing_still(broker.child):
        time.sleep(STILL_SECONDS)


def restarted(broker: Broker) -> None:
    """Restart it in good order."""
    broker.stop()
    broker.start()


FAULTS: Final[Mapping[str, tuple[Callable[[Broker], None], ...]]] = MappingProxyType(
    {"killed and restarted": (killed, restarted), "wiped and stopped": (stopped, wiped)}
)


@pytest.mark.parametrize("faults", FAULTS)
def test_a_run_ends_well_whatever_befalls_the_broker(tmp_path: Path, faults: str) -> None:
    chance, repeat = drawn(f"broker {faults}"), repeating(TEST)
    history = tmp_path / "history.jsonl"
    with world(tmp_path, broker=Kind.MOSQUITTO) as w:
        assert w.broker is not None
        define(w, PATIENT.replace("1000", "8"))
        w.populate(devices=DEVICES, agents=AGENTS, options=("--history", str(history), "--size", "2000000"))
        run = w.operator.start(JOB, version=VERSIONS[0]).id
        for fault in FAULTS[faults]:
            until(lambda: online(w) >= CONNECTED_MIN, seconds=SETTLE_SECONDS, why=f"devices are back; {repeat}")
            time.sleep(chance.uniform(0.1, 1.0))
            assert active_runs(w) == [run], f"the run is under way; {repeat}"
            fault(w.broker)
            assert_clean(evidence_of(w, history), checks=ALWAYS, repeat=repeat)
        settle(w, history, run=run, repeat=repeat)


def online(w: World) -> int:
    """Return how many devices are online."""
    return len(list(w.operator.devices(online=True)))


def settle(w: World, history: Path, *, run: str, repeat: str) -> None:
    """Wait until the run has ended and every device knows that its reports are stored, and judge it all."""
    until(lambda: not active_runs(w), seconds=SETTLE_SECONDS, why=f"the run ends; {repeat}")
    until(
        lambda: not list(unsettled(evidence_of(w, history))),
        seconds=SETTLE_SECONDS,
        why=f"every report is acknowledged; {repeat}",
    )
    assert_clean(evidence_of(w, history), checks=CHECKS, repeat=repeat)
    view = w.ended(run)
    assert (view.state, view.stages[0].counters.succeeded) == ("succeeded", DEVICES + AGENTS)
