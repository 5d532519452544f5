from collections.abc import Sequence
from typing import Any, cast

import pytest

from controller.app.views import DeviceWhyView, RunView, TargetView, WhyView
from simulator.demo.exhibit import Exhibit
from simulator.demo.scenes import GOOD
from simulator.operations import Operator
from tests.simulator.demo.stories import HELD, run, stage, target
from tests.simulator.demo.test_screen import screen

ALONE = run(GOOD, "running", stage("canary", "passed", succeeded=1), stage("eu", "passed", succeeded=3, queued=1))


class Recorded:
    """An operator before whom the devices *queued* wait, and who writes down what it does."""

    def __init__(self, *queued: str) -> None:
        self.queued = queued
        self.done: list[tuple[str, str]] = []

    def hold(self, device: str, *, reason: str) -> None:
        self.done.append(("hold", f"{device}: {reason}"))

    def unhold(self, device: str, *, reason: str) -> None:
        self.done.append(("unhold", f"{device}: {reason}"))

    def targets(self, _run: str, *, state: str) -> Sequence[TargetView]:
        return [target(device, attempt=0, state=state) for device in self.queued]

    def why(self, device: str) -> DeviceWhyView:
        self.done.append(("why", device))
        about: dict[str, Any] = {"job": "harbour", "app": "harbour", "version": GOOD, "state": "running", "stage": "eu"}
        runs = (WhyView(run="r-other", facts=(), **about), WhyView(run=ALONE.id, facts=(HELD.fact,), **about))
        return DeviceWhyView(device=device, installed=(), facts=(), runs=runs)


def exhibit(operator: Recorded) -> tuple[Exhibit, Any]:
    shown, written = screen(is_terminal=False)
    return Exhibit(cast("Operator", operator), shown, device="sim-0001", reason="on show"), written


def test_the_one_that_is_left_is_asked_about_once_and_then_let_go() -> None:
    operator = Recorded("sim-0001")
    held, written = exhibit(operator)
    assert operator.done == [("hold", "sim-0001: on show")]
    held.look(ALONE)
    held.look(ALONE)
    assert held.asked == HELD
    assert operator.done[1:] == [("why", "sim-0001"), ("unhold", "sim-0001: the fair is over")]
    assert 'tidegate device hold sim-0001 --reason "on show"' in written.getvalue()
    assert "held by admin: on show at the fair" in written.getvalue()


@pytest.mark.parametrize(
    ("view", "queued"),
    [
        (ALONE, "sim-0002"),
        (run(GOOD, "running", stage("eu", "rolling_out", queued=2)), "sim-0001"),
        (run(GOOD, "running", stage("eu", "rolling_out", queued=1, in_progress=1)), "sim-0001"),
        (run(GOOD, "running", stage("eu", "rolling_out", queued=1), stage("us", "rolling_out", queued=1)), "sim-0001"),
        (run(GOOD, "succeeded", stage("eu", "passed", succeeded=4)), "sim-0001"),
    ],
)
def test_nobody_asks_while_another_is_not_through(view: RunView, queued: str) -> None:
    operator = Recorded(queued)
    held, _ = exhibit(operator)
    held.look(view)
    assert held.asked is None
    assert operator.done == [("hold", "sim-0001: on show")]
