"""The gauges, as they stand after a look."""

from controller.app import metering
from simulator.virtual.scheduler import run_now
from tests.controller.app.rig import Rig, stage


def gauge(rig: Rig, name: str, **labels: str) -> float | None:
    return rig.controller.meters.registry.get_sample_value(f"tidegate_{name}", labels)


def test_devices_are_counted_by_presence() -> None:
    rig = Rig()
    rig.enrol("a", "b", "c")
    rig.connect("a", "b")
    rig.lose("b")

    run_now(metering.refresh(rig.controller))

    assert (gauge(rig, "devices", presence="online"), gauge(rig, "devices", presence="offline")) == (1, 2)


def test_devices_of_active_runs_are_counted_by_state() -> None:
    rig = Rig()
    rig.enrol("a", "b", "c")
    rig.connect("a", "b")
    rig.start(stage())
    rig.succeed("a")

    run_now(metering.refresh(rig.controller))

    found = {state: gauge(rig, "run_targets", state=state) for state in ("queued", "in_progress", "succeeded")}
    assert found == {"queued": 1, "in_progress": 1, "succeeded": 1}
