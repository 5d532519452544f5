"""When a stage takes in devices that come to match later."""

from controller.domain.events import Joined, Paused, Skipped, Terminated
from controller.domain.newcomers import open_stages
from controller.domain.pipeline import Gate, Pace, Targets
from controller.domain.states import StageState
from controller.domain.target import Target
from protocol.lifecycle import AttemptState
from tests.controller.domain.kit import World, plan, stage
from tests.controller.domain.test_run import end

NEW = Targets(include_new=True)


def begun(*sizes: int, gate: Gate | None = None) -> World:
    asked = stage("a", targets=NEW, gate=gate or Gate())
    return World(plan(asked, stage("b", "a", targets=NEW)), list(sizes)).start()


def join(world: World, stage: int, count: int) -> None:
    world.devices[stage] += [Target() for _ in range(count)]
    world.models[stage] += [None] * count
    world.happen(Joined(at=world.now, counts={stage: count}))


def test_a_stage_takes_new_devices_while_it_is_rolling_out() -> None:
    world = begun(1, 1)
    assert open_stages(world.plan, world.run) == (0,)
    join(world, 0, 2)
    assert world.run.stages[0].tally.targets == 3
    assert world.run.stages[0].tally.in_progress == 3


def test_it_ends_when_the_newcomers_are_settled_too() -> None:
    world = begun(1, 1)
    join(world, 0, 1)
    end(world, 0, 0, AttemptState.SUCCEEDED)
    assert world.state(0) is StageState.ROLLING_OUT
    end(world, 0, 1, AttemptState.SUCCEEDED)
    assert world.state(0) is StageState.PASSED
    assert open_stages(world.plan, world.run) == (1,)


def test_it_takes_none_while_it_soaks() -> None:
    world = begun(1, 1, gate=Gate(soak_ms=1_000))
    end(world, 0, 0, AttemptState.SUCCEEDED)
    assert world.state(0) is StageState.SOAKING
    assert open_stages(world.plan, world.run) == ()


def test_a_paused_run_takes_them_and_releases_none() -> None:
    world = begun(1, 1)
    world.happen(Paused(at=world.now, reason="lunch"))
    join(world, 0, 1)
    assert open_stages(world.plan, world.run) == (0,)
    assert (world.run.stages[0].tally.queued, world.run.stages[0].tally.in_progress) == (1, 1)


def test_a_run_that_ends_takes_none() -> None:
    world = begun(1, 1)
    world.happen(Terminated(at=world.now, reason="enough"))
    assert open_stages(world.plan, world.run) == ()


def test_a_stage_that_does_not_include_new_ones_takes_none() -> None:
    world = World(plan(stage("a", pace=Pace(max_in_flight=1))), [2]).start()
    assert open_stages(world.plan, world.run) == ()


def test_of_two_open_stages_the_one_that_opens_first_comes_first() -> None:
    late, early = stage("late", "gone", targets=NEW), stage("early", targets=NEW)
    gone = stage("gone", allow_empty=True)
    world = World(plan(late, gone, early), [1, 0, 1]).start()
    world.happen(Skipped(at=world.now, stage=1, reason="none"))
    names = [world.plan.pipeline.stages[index].name for index in open_stages(world.plan, world.run)]
    assert sorted(names) == ["early", "late"]
    order = {"late": 2, "gone": 1, "early": 0}
    assert [order[name] for name in names] == sorted(order[name] for name in names)
