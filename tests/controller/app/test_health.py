"""What devices tell of a release after its success, from the command that asks for it to what people see."""

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from controller.app import why
from controller.domain.pipeline import FailureLimit, Gate, OnHealth
from protocol.health import HEALTH, Mark
from protocol.ids import digest_of
from protocol.units import HOUR, SECOND
from tests.controller.app.rig import Rig, stage

WATCHING = {"capabilities": ("install", HEALTH)}
SOAKED = Gate(soak_ms=int(HOUR), success_percent=50)


@pytest.fixture
def rig() -> Rig:
    """Return a rig with four devices that watch what they install."""
    rig = Rig()
    rig.enrol("a", "b", "c", "d")
    rig.connect("a", "b", "c", "d", **WATCHING)
    return rig


def test_a_device_is_asked_to_watch_for_as_long_as_the_soak(rig: Rig) -> None:
    rig.start(stage(gate=SOAKED))
    assert rig.last_install("a")[1].watch_ms == HOUR


def test_a_device_whose_agent_cannot_watch_is_not_asked_to() -> None:
    rig = Rig()
    rig.enrol("old", "new")
    rig.connect("old", capabilities=("install",))
    rig.connect("new", **WATCHING)
    rig.start(stage(gate=SOAKED))
    assert [rig.last_install(name)[1].watch_ms for name in ("old", "new")] == [0, HOUR]


@pytest.mark.parametrize("gate", [Gate(), Gate(soak_ms=int(HOUR), health=OnHealth.IGNORED)])
def test_nobody_watches_where_no_stage_wants_to_know(rig: Rig, gate: Gate) -> None:
    rig.start(stage(gate=gate))
    assert rig.last_install("a")[1].watch_ms == 0


def test_devices_that_crash_in_the_soak_stop_the_stage(rig: Rig) -> None:
    run = rig.start(stage(gate=Gate(soak_ms=int(HOUR), success_percent=50, failures=FailureLimit(count=1))))
    rig.succeed("a", "b", "c", "d")
    rig.sleep(60 * SECOND)
    rig.ail("a", Mark.CRASHED, detail="shop: out of memory")
    seen = rig.view(run).stages[0]
    assert (seen.state, seen.counters.succeeded, seen.unwell, seen.failures) == ("soaking", 4, 1, 1)
    assert seen.gate.said.startswith("1 of 4 started failed")
    rig.ail("b", Mark.UNWELL)
    seen = rig.view(run).stages[0]
    assert (seen.state, seen.unwell, rig.view(run).state) == ("failed", 2, "failed")


def test_the_log_names_the_run_of_the_command_whatever_the_device_calls_it(rig: Rig) -> None:
    run = rig.start(stage(gate=SOAKED))
    digest, content = rig.last_install("a")
    with capture_logs() as logs:
        rig.ail("a", Mark.WELL, command=(digest, replace(content, run="another")))
    assert [line["run_id"] for line in logs if line["event"] == "release_watched"] == [run]


def test_a_mark_is_stored_and_acknowledged_and_counts_once(rig: Rig) -> None:
    run = rig.start(stage(gate=SOAKED))
    rig.succeed("a", "b", "c", "d")
    rig.ail("a", Mark.CRASHED, detail="first")
    rig.ail("a", Mark.UNWELL, detail="second")
    assert rig.devices["a"].acks[-1].stored == (rig.devices["a"].report_seq,)
    assert rig.view(run).stages[0].failures == 1


def test_people_see_what_a_device_told(rig: Rig) -> None:
    run = rig.start(stage(gate=SOAKED))
    rig.succeed("a", "b", "c", "d")
    rig.ail("a", Mark.CRASHED, detail="shop: out of memory")
    rig.ail("b", Mark.WELL)
    shown = rig.target(run, "a")
    assert (shown.state, shown.health, shown.health_detail) == ("succeeded", "crashed", "shop: out of memory")
    rig.ail("c", Mark.ENDED)
    assert [rig.target(run, name).health for name in "bcd"] == ["well", "ended", ""]
    assert rig.view(run).stages[0].unwell == 1
    words = [rig.do(why.of_run, run=run, device=name).facts[0].text for name in "abc"]
    assert words == [
        "it succeeded in stage all; then it told that it crashed: shop: out of memory",
        "it succeeded in stage all",
        "it succeeded in stage all; the watch ended early, as newer work began",
    ]


def test_a_mark_of_a_command_that_nobody_gave_is_an_alarm(rig: Rig) -> None:
    run = rig.start(stage(gate=SOAKED))
    rig.succeed("a", "b", "c", "d")
    _, command = rig.last_install("a")
    rig.ail("a", Mark.CRASHED, command=(digest_of(b"forged"), command))
    rig.ail("b", Mark.CRASHED, command=rig.last_install("a"))
    assert rig.view(run).stages[0].failures == 0


def test_a_mark_after_the_end_of_the_run_is_kept(rig: Rig) -> None:
    run = rig.start(stage(gate=SOAKED))
    rig.succeed("a", "b", "c", "d")
    rig.sleep(HOUR + SECOND)
    assert rig.view(run).state == "succeeded"
    rig.ail("a", Mark.CRASHED)
    assert (rig.view(run).state, rig.view(run).stages[0].failures) == ("succeeded", 1)
