"""Runs over what an earlier run left: who is left out, what is skipped, what a failed stage brings about."""

import msgspec
import pytest

from controller.domain.events import Conclude, RollBack, RollbackAsked, Terminated
from controller.domain.model import Run
from controller.domain.pipeline import FailureLimit, Gate, OnFailure, Pipeline, Rollback, Stage
from controller.domain.rerun import FIRST_MAX, LeftOut, Purpose, RollbackOrder, Source, Unfit, grouped, said, unfit
from controller.domain.states import RunState, StageState
from controller.domain.target import Reported
from controller.domain.validation import validate
from protocol.ids import DeviceId, StageName
from protocol.lifecycle import AttemptState, Left
from protocol.messages import InstalledRelease
from protocol.reasons import Reason
from tests.controller.domain.kit import RELEASE, World, plan, stage

RELEASES = {"2.1": RELEASE}
FAILING = Gate(failures=FailureLimit(count=0))


def has(version: str, floor: int = 0) -> InstalledRelease:
    return InstalledRelease(app="shop", version=version, counter=4, floor=floor)


@pytest.mark.parametrize(
    ("wanted", "installed", "expected"),
    [
        ("2.1", [], None),
        ("2.1", [has("3")], None),
        ("2.1", [has("3", floor=3)], None),
        ("2.1", [has("3", floor=4)], Unfit.BELOW_FLOOR),
        ("2.1", [has("3"), has("2.1")], Unfit.UNCHANGED),
        ("1.0", [has("3")], Unfit.NOT_PUBLISHED),
        ("", [has("3")], Unfit.NO_PREVIOUS),
        (None, [], Unfit.NO_PREVIOUS),
    ],
)
def test_who_cannot_be_taken_to_a_version(
    wanted: str | None, installed: list[InstalledRelease], expected: Unfit | None
) -> None:
    assert unfit(wanted, installed, RELEASES) is expected


def test_who_is_left_out_is_counted_by_reason_and_the_broken_are_named() -> None:
    many = [(Unfit.BROKEN, DeviceId(f"d{number:02}")) for number in range(FIRST_MAX + 1)]
    found = grouped([*many, (Unfit.BLOCKED, DeviceId("z"))])
    assert [(one.reason, one.devices, len(one.first)) for one in found] == [
        (Unfit.BLOCKED, 1, 1),
        (Unfit.BROKEN, FIRST_MAX + 1, FIRST_MAX),
    ]
    assert said(found).startswith("1 blocked; 13 left broken (d00, ")
    assert said(found).endswith("d11, …)")
    assert said((LeftOut(reason=Unfit.BROKEN, devices=1),)) == "1 left broken"
    assert said(()) == ""


def over(world: World, *empty: str) -> World:
    """Make the run of a world one over an earlier run."""
    names = tuple(StageName(name) for name in empty)
    source = Source(run="r1", run_id=1, purpose=Purpose.RETRY, empty=names)
    world.plan = msgspec.structs.replace(world.plan, source=source)
    return world


def test_a_stage_that_has_nobody_to_try_again_is_skipped_before_it_opens() -> None:
    world = over(World(plan(stage("a"), stage("b", "a")), [0, 0]), "a").start()
    assert [s.state for s in world.run.stages] == [StageState.SKIPPED, StageState.SKIPPED]
    assert [s.opened_at is None for s in world.run.stages] == [True, False]
    assert world.run.state is RunState.SUCCEEDED


def failed(world: World) -> World:
    """Let the first device of the first stage fail for a reason that the build is to blame for."""
    end = Reported(at=world.run_time, attempt=1, state=AttemptState.FAILED, reason=Reason.VERIFY_FAILED, left=Left.OLD)
    world.device(0, 0, end)
    return world


def test_a_failed_stage_brings_about_a_rollback_when_all_devices_have_ended() -> None:
    world = World(plan(stage("a", gate=FAILING, on_failure=OnFailure.ROLLBACK), stage("b", "a")), [2, 1]).start()
    failed(world)
    assert world.run.rollback == RollbackOrder(reason="stage a failed: 1 of 1 started device failed")
    assert not any(isinstance(effect, RollBack) for effect in world.effects)
    world.device(0, 1, Reported(at=1, attempt=1, state=AttemptState.SUCCEEDED, left=Left.NEW))
    assert world.run.state is RunState.FAILED
    assert world.effects[-2:] == [Conclude(), RollBack()]


def test_the_first_of_two_stages_that_fail_says_why() -> None:
    wanted = plan(
        stage("a", gate=FAILING), stage("b", gate=FAILING, on_failure=OnFailure.ROLLBACK), stage("c", "a", "b")
    )
    world = World(wanted, [2, 2, 1]).start()
    failed(world)
    assert world.run.rollback is None
    assert world.run.is_stopped


def ending(world: World) -> Run:
    world.happen(RollbackAsked(at=world.now, reason="crashes", by="ann", version="1.0"))
    return world.run


def test_a_rollback_that_is_asked_for_ends_the_run_first() -> None:
    world = World(plan(stage("a")), [1]).start()
    run = ending(world)
    assert (run.state, run.reason) == (RunState.TERMINATING, "crashes")
    assert run.rollback == RollbackOrder(reason="crashes", by="ann", version="1.0")
    again = RollbackAsked(at=world.now, reason="again", by="bob")
    world.happen(again)
    assert world.run.rollback == run.rollback
    world.device(0, 0, Reported(at=1, attempt=1, state=AttemptState.SUCCEEDED, left=Left.NEW))
    assert world.run.state is RunState.TERMINATED
    assert world.effects[-1] == RollBack()


def test_it_can_be_asked_for_while_the_run_ends_and_a_plain_termination_takes_back_what_a_stage_asked_for() -> None:
    world = World(plan(stage("a", gate=FAILING, on_failure=OnFailure.ROLLBACK)), [2]).start()
    failed(world)
    world.happen(Terminated(at=world.now, reason="wait"))
    assert world.run.rollback is None
    assert ending(world).reason == "wait"
    assert world.run.rollback is not None


def test_nothing_is_asked_of_a_run_that_has_not_begun_or_has_ended() -> None:
    world = World(plan(stage("a")), [1])
    world.settle(RollbackAsked(at=world.now, reason="x", by="ann"))
    assert world.run.rollback is None


def test_a_gate_of_a_rollback_names_one_limit() -> None:
    wrong = Gate(failures=FailureLimit(count=1, percent=1.0))
    [fault] = validate(Pipeline(name="p", stages=(Stage(name=StageName("a")),), rollback=Rollback(gate=wrong)))
    assert fault.place == "rollback.gate.failures"
