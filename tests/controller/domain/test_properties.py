"""Whatever happens, in whatever order, the rules hold, and every run comes to its end."""

from collections.abc import Mapping
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controller.domain import run as runs
from controller.domain import target as targets
from controller.domain.events import (
    CalendarChanged,
    Folded,
    Frozen,
    Paused,
    Promoted,
    Readmitted,
    Recovered,
    Release,
    Resumed,
    Started,
    Terminated,
    Woken,
)
from controller.domain.freeze import Freeze, in_force
from controller.domain.model import Plan
from controller.domain.pipeline import (
    Control,
    Denominator,
    DryRun,
    FailureLimit,
    Gate,
    Growth,
    OnBreach,
    OnFailure,
    OnHealth,
    OnModel,
    Pace,
    Proof,
    Retry,
    Stage,
    Timeouts,
    Trigger,
)
from controller.domain.states import STAGE_TRANSITIONS, RunState, StageState
from controller.domain.target import TargetState
from controller.domain.validation import validate
from protocol.health import Mark
from protocol.ids import StageName
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import Reason, RejectCode
from protocol.units import Instant
from tests.controller.domain.kit import World, digest, may_lead, plan

AT_WORK = TargetState.IN_PROGRESS
SEEINGS = (targets.WentOffline, targets.CameOnline, targets.Unseen, targets.Excused, targets.ShutOut)
NAMES = ("a", "b", "c", "d")
MODELS = ("k1", "k2", "k3")
percents = st.sampled_from([100.0, 90.0, 50.0, 20.0, 0.0])
limits = st.one_of(
    st.builds(lambda count: FailureLimit(count=count), st.sampled_from([9, 2, 1, 0])),
    st.builds(
        lambda percent, of, sample: FailureLimit(percent=percent, of=of, min_sample=sample),
        percents,
        st.sampled_from(Denominator),
        st.integers(1, 6),
    ),
)
rates = st.sampled_from([None, None, None, 600, Growth(start=300, factor=3, every=2, max=3_000)])
proofs = st.sampled_from([Proof(below=50.0, beta_percent=50.0), Proof(below=30.0, beta_percent=50.0)])
gates = st.builds(
    Gate,
    success_percent=percents,
    straggler_after_ms=st.none() | st.integers(0, 2_000),
    soak_ms=st.sampled_from([0, 500]),
    failures=limits,
    on_breach=st.sampled_from(OnBreach),
    dry_run=st.sampled_from([(), (DryRun(name="strict", sequential=None, failures=FailureLimit(count=0)),)]),
)
proved = st.builds(Gate, proof=proofs, soak_ms=st.sampled_from([0, 500]), failures=limits)
silenced = st.builds(
    Gate,
    success_percent=st.sampled_from([0.0, 50.0, 100.0]),
    soak_ms=st.just(500),
    silent_after_ms=st.sampled_from([100, 300, 500]),
    failures=limits,
    on_breach=st.sampled_from(OnBreach),
)
by_model = st.builds(
    Gate,
    success_percent=st.sampled_from([0.0, 50.0, 100.0]),
    soak_ms=st.sampled_from([0, 500]),
    on_breach=st.sampled_from([OnBreach.ALERT, OnBreach.ALERT, OnBreach.PAUSE]),
    models=st.sampled_from([*[OnModel.QUARANTINE] * 5, OnModel.IGNORED]),
    health=st.sampled_from([OnHealth.COUNTED, OnHealth.COUNTED, OnHealth.IGNORED]),
)
compared = st.builds(
    Gate,
    success_percent=st.sampled_from([0.0, 50.0, 100.0]),
    soak_ms=st.just(500),
    on_breach=st.sampled_from(OnBreach),
    control=st.builds(Control, share_percent=st.sampled_from([10.0, 50.0]), tolerated=st.sampled_from([1.0, 2.0])),
)


clocks = st.builds(
    Timeouts,
    accept_ms=st.just(200),
    lease_ms=st.just(400),
    attempt_ms=st.sampled_from([100_000, 600]),
    queued_ms=st.none() | st.sampled_from([500, 2_000]),
    stage_ms=st.sampled_from([10_000, 1_000]),
)


@st.composite
def stages(draw: st.DrawFn, index: int, *, gates: st.SearchStrategy[Gate]) -> Stage:
    needs = draw(st.lists(st.sampled_from(NAMES[:index]), unique=True, max_size=index)) if index else []
    return Stage(
        name=StageName(NAMES[index]),
        needs=tuple(StageName(need) for need in needs),
        trigger=draw(st.sampled_from([Trigger.AUTOMATIC, Trigger.AUTOMATIC, Trigger.AUTOMATIC, Trigger.MANUAL])),
        delay_ms=draw(st.sampled_from([0, 300])),
        pace=Pace(max_in_flight=draw(st.integers(1, 3)), per_minute=draw(rates)),
        gate=draw(gates),
        timeouts=draw(clocks),
        retry=Retry(attempts_max=draw(st.integers(1, 3)), backoff_ms=100),
        on_failure=draw(st.sampled_from(OnFailure)),
        allow_empty=draw(st.booleans()),
    )


@st.composite
def plans(draw: st.DrawFn, /, gates: st.SearchStrategy[Gate] = gates, **changes: Any) -> Plan:
    count = draw(st.integers(1, len(NAMES)))
    drawn = [draw(stages(index, gates=gates)) for index in range(count)]
    order = draw(st.permutations(drawn))
    timeout_ms = draw(st.sampled_from([100_000, 100_000, 3_000]))
    return plan(*order, timeout_ms=timeout_ms, **changes)


reports = st.builds(
    lambda state, reason, left, old: {"state": state, "reason": reason, "left": left, "old": old},
    st.sampled_from([*AttemptState, AttemptState.SUCCEEDED, AttemptState.SUCCEEDED]),
    st.none() | st.sampled_from(Reason),
    st.none() | st.sampled_from(Left),
    st.sampled_from([0, 0, 0, 0, 1]),
)


class Rollout(RuleBasedStateMachine):
    """A run, its devices and its operators, acting in any order."""

    @initialize(
        plan=plans(gates | proved | silenced),
        sizes=st.lists(st.sampled_from([6, 5, 4, 3, 2, 1, 0]), min_size=4, max_size=4),
    )
    def begin(self, plan: Plan, sizes: list[int]) -> None:
        self.begin_with(World(plan, sizes[: len(plan.pipeline.stages)]))

    def begin_with(self, world: World) -> None:
        assert validate(world.plan.pipeline) == ()
        self.world = world
        self.before = self.world.run.stages
        self.world.start()

    # --- devices ----------------------------------------------------------------------------------------------

    def chosen(self, draw: int) -> tuple[int, int] | None:
        """Return a device, one at work where there is any."""
        places = [(stage, index) for stage, row in enumerate(self.world.devices) for index in range(len(row))]
        at_work = [place for place in places if self.world.devices[place[0]][place[1]].state is AT_WORK]
        places = at_work if at_work and draw % 4 else places
        return places[draw % len(places)] if places else None

    @rule(said=st.lists(st.tuples(st.integers(0, 99), reports), min_size=1, max_size=5))
    def reports(self, said: list[tuple[int, Mapping[str, Any]]]) -> None:
        for draw, report in said:
            self.report(draw, report)

    def report(self, draw: int, report: Mapping[str, Any]) -> None:
        if (place := self.chosen(draw)) is None:
            return
        before = self.world.devices[place[0]][place[1]]
        attempt = max(0, before.attempt - report["old"])
        event = targets.Reported(
            at=self.world.run_time,
            attempt=attempt,
            state=report["state"],
            reason=report["reason"],
            left=report["left"],
        )
        after, _ = targets.step(before, event, self.world.policy(*place))
        assert attempt == before.attempt or after == before, "a report of an old attempt changed the current one"
        self.world.device(*place, event)

    @rule(draw=st.integers(0, 99), code=st.sampled_from(RejectCode), is_current=st.booleans())
    def refuse(self, draw: int, code: RejectCode, is_current: bool) -> None:
        if (place := self.chosen(draw)) is None:
            return
        before = self.world.devices[place[0]][place[1]]
        command = before.command if is_current and before.command else digest(-1)
        event = targets.RefusedCommand(at=self.world.run_time, command=command, code=code)
        after, _ = targets.step(before, event, self.world.policy(*place))
        assert is_current or after == before, "a refusal of another command changed the current one"
        self.world.device(*place, event)

    @rule(draw=st.integers(0, 99))
    def hear_of_the_recall(self, draw: int) -> None:
        if (place := self.chosen(draw)) is not None:
            self.world.device(*place, targets.RecallHeard(at=self.world.run_time))

    @rule(draw=st.integers(0, 99), attempt=st.integers(0, 3), mark=st.sampled_from(Mark))
    def mark(self, draw: int, attempt: int, mark: Mark) -> None:
        if (place := self.chosen(draw)) is None:
            return
        before = self.world.devices[place[0]][place[1]]
        self.world.device(*place, targets.Marked(attempt=attempt, mark=mark))
        after = self.world.devices[place[0]][place[1]]
        assert after.is_blamed or after.is_compared or not after.is_unwell, "harm was told, and is not counted"
        assert after.health_detail == "" or after.is_unwell
        assert not before.is_unwell or after == before, "only the first bad mark counts"

    @rule(draw=st.integers(0, 99), seen=st.sampled_from(list(SEEINGS)))
    def see(self, draw: int, seen: type[targets.Seeing]) -> None:
        if (place := self.chosen(draw)) is None:
            return
        before = self.world.devices[place[0]][place[1]]
        [event] = self.world.move(place[0], [place[1]], seen(at=self.world.run_time))
        after = self.world.devices[place[0]][place[1]]
        self.world.happen(event)
        assert after == before or before.watched_until is not None, "who is not watched may come and go"
        assert (after.is_blamed, after.is_silent) == (before.is_blamed, before.is_silent), "to go is no silence yet"
        assert after.state is TargetState.SUCCEEDED or after.due == before.due, "the deadline of work was changed"

    # --- time -------------------------------------------------------------------------------------------------

    @rule(span=st.sampled_from([1, 20, 50, 100, 150, 250, 300, 450, 1_000, 4_000]), count=st.integers(0, 3))
    def pass_time(self, span: int, count: int) -> None:
        self.world.pick = lambda wanted: min(wanted, count)
        self.world.now = Instant(self.world.now + span)
        self.deadlines()
        self.world.pick = lambda wanted: wanted

    def deadlines(self) -> None:
        """Judge the devices that are due, then the run, as the controller does when it wakes."""
        world = self.world
        for stage, row in enumerate(world.devices):
            for index in range(len(row)):
                world.device(stage, index, targets.DueReached(at=world.run_time))
        world.happen(Woken(at=world.now))

    @rule(gap=st.sampled_from([0, 200, 10_000]))
    def recover(self, gap: int) -> None:
        self.world.happen(Recovered(at=self.world.now, gap_ms=gap))

    @rule(spans=st.lists(st.tuples(st.integers(-500, 500), st.sampled_from([1, 100, 700])), max_size=2))
    def freeze(self, spans: list[tuple[int, int]]) -> None:
        """Change the calendar around now."""
        now = self.world.now
        freezes = tuple(
            Freeze(name=f"f{start}", starts_at=Instant(now + start), ends_at=Instant(now + start + span), reason="sale")
            for start, span in spans
        )
        self.world.happen(CalendarChanged(at=now, freezes=freezes))

    # --- operators --------------------------------------------------------------------------------------------

    @rule(reason=st.sampled_from(["operator", "freeze"]))
    def pause(self, reason: str) -> None:
        self.world.happen(Paused(at=self.world.now, reason=reason))

    @rule()
    def resume(self) -> None:
        self.world.happen(Resumed(at=self.world.now))

    @rule(stage=st.integers(0, 3))
    def promote(self, stage: int) -> None:
        if stage < len(self.world.devices):
            self.world.happen(Promoted(at=self.world.now, stage=stage))

    @precondition(lambda self: self.world.now > self.world.run.clock.base)
    @rule(dice=st.integers(0, 9))
    def terminate(self, dice: int) -> None:
        if dice == 0:
            self.world.happen(Terminated(at=self.world.now, reason="enough"))

    @rule(stage=st.integers(0, 3), size=st.integers(0, 3))
    def repeat_itself(self, stage: int, size: int) -> None:
        """What happens once can be said twice."""
        self.world.happen(Started(at=self.world.now))
        if stage < len(self.world.devices) and self.world.run.stages[stage].is_frozen:
            self.world.happen(Frozen(at=self.world.now, stage=stage, targets=size))

    # --- rules ------------------------------------------------------------------------------------------------

    @invariant()
    def stages_move_along_their_table(self) -> None:
        if not hasattr(self, "world"):
            return
        for before, after in zip(self.before, self.world.run.stages, strict=True):
            assert after.state is before.state or may_lead(before.state, after.state, STAGE_TRANSITIONS)
            if before.state.is_verdict:
                assert (after.state, after.reason, after.ended_at) == (before.state, before.reason, before.ended_at)
        self.before = self.world.run.stages

    @invariant()
    def looking_again_changes_nothing(self) -> None:
        if not hasattr(self, "world"):
            return
        once, _ = runs.step(self.world.plan, self.world.run, Woken(at=self.world.now))
        again, effects = runs.step(self.world.plan, once, Woken(at=self.world.now))
        assert once == again == self.world.run
        assert all(isinstance(effect, Release) for effect in effects)
        assert runs.step(self.world.plan, once, Folded(at=self.world.now, deltas={})) == (once, effects)

    @invariant()
    def a_freeze_is_known_as_long_as_it_holds(self) -> None:
        if hasattr(self, "world") and self.world.run.state is RunState.RUNNING and not self.world.run.is_stopped:
            assert self.world.run.freeze == in_force(self.world.run.freezes, self.world.now)

    @invariant()
    def an_ended_run_has_ended_everywhere(self) -> None:
        if hasattr(self, "world") and self.world.run.state.is_terminal:
            assert all(stage.state.is_verdict for stage in self.world.run.stages)
            assert all(device.state.is_terminal for row in self.world.devices for device in row)
            assert runs.next_deadline(self.world.plan, self.world.run) is None

    def teardown(self) -> None:
        """Let devices answer, operators promote and resume, and time pass: then the run ends."""
        if not hasattr(self, "world"):
            return
        world = self.world
        for _ in range(200):
            if world.run.state.is_terminal:
                return
            world.happen(Resumed(at=world.now))
            for stage in range(len(world.devices)):
                world.happen(Promoted(at=world.now, stage=stage))
            self.devices_end()
            wakes = (runs.next_deadline(world.plan, world.run), runs.next_freeze_change(world.run, world.now))
            world.now = Instant(max(world.now + 50, min((wake for wake in wakes if wake is not None), default=0)))
            self.deadlines()
        raise AssertionError(f"the run does not end: {world.run}")

    def devices_end(self) -> None:
        world = self.world
        for stage, row in enumerate(world.devices):
            for index, device in enumerate(row):
                if device.state is TargetState.IN_PROGRESS:
                    event = targets.Reported(
                        at=world.run_time, attempt=device.attempt, state=AttemptState.SUCCEEDED, left=Left.NEW
                    )
                    world.device(stage, index, event)
        assert all(stage.tally.in_progress == 0 or stage.state is not StageState.BLOCKED for stage in world.run.stages)


class Quarantines(Rollout):
    """Stages of several models, of which some devices fail on purpose."""

    @initialize(
        plan=plans(by_model | compared, alpha_percent=50.0),
        sizes=st.lists(st.integers(1, 9), min_size=4, max_size=4),
    )
    def begin(self, plan: Plan, sizes: list[int]) -> None:
        used = sizes[: len(plan.pipeline.stages)]
        models = [[MODELS[number % len(MODELS)] for number in range(size)] for size in used]
        self.begin_with(World(plan, used, models))

    @rule(model=st.sampled_from(MODELS))
    def break_on_a_model(self, model: str) -> None:
        for stage, row in enumerate(self.world.devices):
            for index, device in enumerate(row):
                if device.state is AT_WORK and self.world.models[stage][index] == model:
                    event = targets.Reported(
                        at=self.world.run_time,
                        attempt=device.attempt,
                        state=AttemptState.FAILED,
                        reason=Reason.VERIFY_FAILED,
                    )
                    self.world.device(stage, index, event)

    @rule(model=st.sampled_from(MODELS))
    def readmit(self, model: str) -> None:
        self.world.happen(Readmitted(at=self.world.now, model=model, reason="why not"))


TestRollout = pytest.mark.no_cover(Rollout.TestCase)
TestRollout.settings = settings(stateful_step_count=60)
TestQuarantines = pytest.mark.no_cover(Quarantines.TestCase)
TestQuarantines.settings = settings(stateful_step_count=60)
