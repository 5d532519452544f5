"""A small story as it should go: four devices, of which one is in the region that a release is bad for.

Another one is of the model that the last release is bad for.
"""

from typing import Any, Final

import msgspec

from controller.app.views import BreachView, Counters, FactView, GateView, ModelView, RunView, StageView, TargetView
from protocol.units import Instant
from simulator.demo.scenes import (
    ALL_GO,
    BRANCH_STOPS,
    CANARY_STOPS,
    GOOD,
    MODEL_LEFT_OUT,
    PICKY,
    REGIONAL,
    TAKEN_BACK,
    UNFIT,
)
from simulator.demo.story import Asked, Played, Service, Story

EU: Final = frozenset({"box-1", "sim-0001"})
ALL: Final = EU | {"sim-0002", "sim-0003"}
FIT: Final = ALL - {"sim-0003"}


def stage(name: str, state: str, **counts: int) -> StageView:
    """Return a stage that four devices may be at work in."""
    return StageView(
        name=name,
        needs=(),
        trigger="manual",
        state=state,
        reason="1 of 4 started devices failed" if state == "failed" else "",
        counters=Counters(**counts),
        started=0,
        failures=0,
        gate=GateView(said="", exposed=0, failed=0, stops_on=1, is_breached=False, on_breach="fail"),
        bricked=0,
        max_in_flight=4,
        opened_at=None,
        ended_at=None,
    )


def with_failures(of: StageView, said: str) -> StageView:
    """Return a stage whose gate has something to say."""
    return msgspec.structs.replace(of, gate=msgspec.structs.replace(of.gate, said=said, failed=1))


def with_model(of: StageView, model: str, *, said: str = "") -> StageView:
    """Return a stage with a model more, quarantined where something is *said* of it."""
    breach = BreachView(at=Instant(0), failed=1, exposed=1, said=said) if said else None
    one = ModelView(model=model, targets=1, exposed=1, failed=1, is_quarantined=bool(said), breach=breach)
    return msgspec.structs.replace(of, gate=msgspec.structs.replace(of.gate, models=(*of.gate.models, one)))


def run(version: str, state: str, *stages: StageView) -> RunView:
    """Return a run that has ended."""
    return RunView(
        id=f"r-{version}",
        job="harbour",
        pipeline="harbour",
        revision=1,
        app="harbour",
        version=version,
        state=state,
        paused=False,
        waiting=False,
        pause_reasons=(),
        reason="",
        epoch=1,
        salt="s",
        created_at=Instant(0),
        ended_at=Instant(1),
        stages=stages,
    )


def target(device: str, *, attempt: int, **changes: Any) -> TargetView:
    """Return a device that failed, unless *changes* say something else."""
    plain = TargetView(
        device=device,
        stage="canary",
        state="failed",
        attempt=attempt,
        attempt_state="failed",
        reason="verify_failed",
        detail="answers 500",
        left="old",
        waits_for="",
        done=0,
        total=0,
        updated_at=Instant(0),
    )
    return msgspec.structs.replace(plain, **changes)


def updated(device: str, at: str) -> TargetView:
    """Return a device that succeeded in the stage *at*."""
    ends = {"state": "succeeded", "attempt_state": "succeeded", "reason": "", "detail": "", "left": "new"}
    return target(device, attempt=1, stage=at, **ends)


def changed(played: Played, **changes: Any) -> Played:
    """Return *played* with other values."""
    return msgspec.structs.replace(played, **changes)


def with_stages(played: Played, *stages: StageView) -> Played:
    """Return *played* with these stages in place of those of the same names."""
    others = {one.name: one for one in stages}
    view = msgspec.structs.replace(played.view, stages=tuple(others.get(one.name, one) for one in played.view.stages))
    return changed(played, view=view)


HELD: Final = Asked(
    device="sim-0001",
    fact=FactView(code="held", text="held by admin: on show at the fair", change="lift the hold", until=None),
)
GOOD_RUN: Final = Played(
    scene=ALL_GO,
    view=run(
        GOOD,
        "succeeded",
        stage("canary", "passed", succeeded=1),
        *(stage(name, "passed", succeeded=1) for name in ("eu", "us", "rest")),
    ),
    targets=(
        updated("box-1", "canary"),
        updated("sim-0001", "eu"),
        updated("sim-0002", "us"),
        updated("sim-0003", "rest"),
    ),
    seconds=2.0,
    meant=ALL,
    asked=HELD,
)
BAD_RUN: Final = Played(
    scene=CANARY_STOPS,
    view=run(
        CANARY_STOPS.version,
        "failed",
        with_failures(stage("canary", "failed", failed=2, cancelled=1), "2 of 3 started failed; stops on failure 2"),
        *(stage(name, "cancelled") for name in ("eu", "us", "rest")),
    ),
    targets=(target("box-1", attempt=1), target("sim-0001", attempt=1), target("sim-0002", attempt=0)),
    seconds=1.0,
    meant=frozenset(),
)
BRANCH_RUN: Final = Played(
    scene=BRANCH_STOPS,
    view=run(
        REGIONAL,
        "failed",
        stage("eu", "passed", succeeded=2),
        stage("us", "failed", failed=1),
        stage("apac", "cancelled"),
    ),
    targets=(updated("box-1", "eu"), updated("sim-0001", "eu"), target("sim-0002", attempt=1, stage="us")),
    seconds=3.0,
    meant=EU,
)
BACK_RUN: Final = Played(
    scene=TAKEN_BACK,
    view=run(GOOD, "succeeded", stage("rollback", "passed", succeeded=2)),
    targets=(updated("box-1", "rollback"), updated("sim-0001", "rollback")),
    seconds=1.0,
    meant=EU,
)
MODEL_RUN: Final = Played(
    scene=MODEL_LEFT_OUT,
    view=run(
        PICKY,
        "succeeded",
        with_model(stage("all", "passed", succeeded=3, failed=1), UNFIT, said="3 of 4 started failed"),
    ),
    targets=(
        *(updated(device, "all") for device in sorted(FIT)),
        target("sim-0003", attempt=1, stage="all", model=UNFIT),
    ),
    seconds=2.0,
    meant=FIT,
)
STORY: Final = Story(
    seconds=10.0,
    expected_devices=4,
    runs=(GOOD_RUN, BAD_RUN, BRANCH_RUN, BACK_RUN, MODEL_RUN),
    versions=dict.fromkeys(sorted(FIT), PICKY) | {"sim-0003": GOOD},
    services={"box-1": Service(status=200, version=PICKY)},
)
