"""Plans, and a small world that carries out the effects of a run on its devices."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from controller.domain import control, dry_runs, quarantine, waves
from controller.domain import run as runs
from controller.domain import target as targets
from controller.domain.counters import Tally, folded
from controller.domain.course import Moment
from controller.domain.events import (
    CallOff,
    Cancel,
    Conclude,
    Discharge,
    Discharged,
    Effect,
    Event,
    Expire,
    Folded,
    Freeze,
    Frozen,
    Issued,
    Keep,
    Note,
    Release,
    Started,
)
from controller.domain.gates.replay import judge
from controller.domain.metrics import Pair
from controller.domain.model import Breach, Plan, Run, create
from controller.domain.pipeline import OnFailure, Operation, Pipeline, Stage
from controller.domain.rerun import Unfit, grouped
from controller.domain.states import RUN_TRANSITIONS, RunState, StageState
from controller.domain.target import Delta, Policy, Target, TargetState
from protocol.ids import AppName, DeviceId, Digest, StageName, digest_of
from protocol.messages import ReleaseRef
from protocol.outputs import Outputs
from protocol.reasons import Reason
from protocol.units import Instant

START = Instant(1_700_000_000_000)
RELEASE = ReleaseRef(path="shop/2.1", sha256=digest_of(b"shop"), length=10, counter=3)
S = TypeVar("S")


def at(offset: int) -> Instant:
    """Return the instant *offset* milliseconds after every run's start here."""
    return Instant(START + offset)


def stage(name: str, *needs: str, **changes: Any) -> Stage:
    return Stage(name=StageName(name), needs=tuple(StageName(need) for need in needs), **changes)


def plan(*stages: Stage, **changes: Any) -> Plan:
    return Plan(
        pipeline=Pipeline(name="weekly", stages=stages, **changes),
        revision=1,
        operation=Operation(app=AppName("shop"), version="2.1"),
        release=RELEASE,
        salt="salt",
    )


def digest(number: int) -> Digest:
    return digest_of(str(number).encode())


class World:
    """A run with its devices, as the controller keeps them; every step is checked against the rules.

    Without `models` nobody knows of which model they are.
    """

    def __init__(self, plan: Plan, sizes: Sequence[int], models: Sequence[Sequence[str]] = ()) -> None:
        self.plan = plan
        self.sizes = sizes
        self.wanted = models
        self.models: list[list[str | None]] = [[] for _ in plan.pipeline.stages]
        self.now = START
        self.run = create(plan)
        self.devices: list[list[Target]] = [[] for _ in plan.pipeline.stages]
        self.moments: list[list[Moment]] = [[] for _ in plan.pipeline.stages]
        self.first_breaches: dict[int, Breach] = {}
        self.notes: list[Note] = []
        self.effects: list[Effect] = []
        self.concluded = 0
        self.commands = 0
        self.pick: Callable[[int], int] = lambda count: count
        self.cut: frozenset[int] = frozenset()

    # --- what happens ---------------------------------------------------------------------------------------

    def start(self) -> "World":
        self.happen(Started(at=self.now))
        return self

    def happen(self, event: Event) -> None:
        """Let *event* happen, and carry out what follows, releases last."""
        deltas: dict[int, tuple[Delta, ...]] = {}
        for release in self.settle(event):
            deltas[release.stage] = (*deltas.get(release.stage, ()), *self.release(release))
        if deltas:
            self.settle(Issued(at=self.now, deltas=deltas, cut=self.cut & deltas.keys()))
        self.check()

    def settle(self, event: Event) -> list[Release]:
        waiting: list[Event] = [event]
        releases: list[Release] = []
        while waiting:
            effects = self.step(waiting.pop(0))
            releases = [effect for effect in effects if isinstance(effect, Release)]
            for effect in effects:
                waiting += self.carry_out(effect)
        return releases

    def step(self, event: Event) -> tuple[Effect, ...]:
        before = self.run
        self.run, effects = runs.step(self.plan, before, event)
        for index, at_work in enumerate(self.run.stages):
            if at_work.breach is not None:
                self.first_breaches.setdefault(index, at_work.breach)
        check_step(before, self.run)
        check_releases(self.plan, self.run, effects)
        self.effects += effects
        return effects

    def carry_out(self, effect: Effect) -> list[Event]:
        match effect:
            case Freeze():
                return [self.freeze(effect.stage)]
            case Cancel():
                event = targets.CancelRequested(at=self.run_time, timed_out=effect.timed_out)
                return self.move(effect.stage, range(len(self.devices[effect.stage])), event)
            case Expire():
                queued = [i for i, d in enumerate(self.devices[effect.stage]) if d.state is TargetState.QUEUED]
                event = targets.CancelRequested(at=self.run_time, timed_out=True)
                return self.move(effect.stage, queued, event)
            case CallOff():
                return self.call_off(effect)
            case Discharge():
                return [self.discharge(effect.stage)]
            case Keep():
                self.moments[effect.stage].append(effect.moment)
            case Note():
                self.notes.append(effect)
            case Conclude():
                self.concluded += 1
            case _:
                pass
        return []

    def freeze(self, stage: int) -> Frozen:
        """Take in the devices of a stage whose model nothing keeps out."""
        assert self.devices[stage] == []
        size, out = self.sizes[stage], quarantine.barred(self.run)
        wanted = list(self.wanted[stage]) if self.wanted else [None] * size
        self.models[stage] = [model for model in wanted if not out.has(model)]
        rules, size = self.plan.pipeline.stages[stage].gate.control, len(self.models[stage])
        names = [DeviceId(f"d{index:03}") for index in range(size)]
        held = control.chosen(names, share_percent=rules.share_percent, salt="s") if rules else frozenset()
        self.devices[stage] = [Target(is_control=index < len(held)) for index in range(size)]
        counts = Counter(model for model in self.models[stage] if model is not None)
        watched = Counter(model or "" for model in self.models[stage][: len(held)])
        counts.subtract({model: count for model, count in watched.items() if model})
        rest = grouped((Unfit.QUARANTINED, DeviceId("d")) for _ in range(len(wanted) - len(self.models[stage])))
        return Frozen(
            at=self.now,
            stage=stage,
            targets=size - len(held),
            models=counts,
            control=watched if held else None,
            left_out=rest,
        )

    def discharge(self, stage: int) -> Discharged:
        """Put the control devices that are not at work into the queue."""
        is_out = {TargetState.IN_PROGRESS, TargetState.REMOVED}
        held = [i for i, one in enumerate(self.devices[stage]) if one.is_control and one.state not in is_out]
        deltas = tuple(self.moved(stage, index, targets.Discharged()) for index in held)
        models = Counter(model for model in (self.models[stage][index] for index in held) if model is not None)
        return Discharged(at=self.now, stage=stage, deltas=deltas, models=models)

    def call_off(self, effect: CallOff) -> list[Event]:
        """End the queued devices of a model, and call back what its devices have not accepted."""
        known, models = self.run.stages[effect.stage].models, self.models[effect.stage]
        meant = [i for i, model in enumerate(models) if quarantine.covers(known, effect.model, model)]
        self.move(effect.stage, meant, targets.Returned(at=self.run_time))
        queued = [i for i in meant if self.devices[effect.stage][i].state is TargetState.QUEUED]
        event = targets.CancelRequested(at=self.run_time, reason=Reason.MODEL_QUARANTINED)
        return self.move(effect.stage, queued, event)

    def release(self, release: Release) -> tuple[Delta, ...]:
        """Send commands to as many as may go, or to fewer: some are offline."""
        ready = [
            index
            for index, target in enumerate(self.devices[release.stage])
            if target.state is TargetState.QUEUED and (target.due is None or target.due <= self.run_time)
            if target.is_control is release.is_control
        ]
        deltas: list[Delta] = []
        for index in ready[: self.pick(release.count)]:
            self.commands += 1
            group, model = self.run.stages[release.stage].control, self.models[release.stage][index]
            is_compared = control.is_compared(group, model, is_control=release.is_control)
            event = targets.Released(at=self.run_time, command=digest(self.commands), is_compared=is_compared)
            deltas.append(self.moved(release.stage, index, event))
        return tuple(deltas)

    def device(self, stage: int, index: int, event: targets.Event) -> None:
        """Let *event* happen to one device."""
        for folded_event in self.move(stage, [index], event):
            self.happen(folded_event)

    def measure(self, stage: int, told: Mapping[int, Outputs]) -> None:
        """Let devices tell numbers in one batch, and compare them as the controller does."""
        new = [index for index in sorted(told) if self.devices[stage][index].measured_at is None]
        deltas = tuple(self.measured(stage, index, outputs) for index, outputs in told.items())
        pairs = tuple(pair for index in new for pair in self.paired(stage, index))
        self.happen(Folded(at=self.now, deltas={stage: deltas}, pairs={stage: pairs} if pairs else {}))

    def measured(self, stage: int, index: int, outputs: Outputs) -> Delta:
        attempt = self.devices[stage][index].attempt
        return self.moved(stage, index, targets.Measured(attempt=attempt, outputs=outputs, told_at=self.now))

    def paired(self, stage: int, index: int) -> Iterator[Pair]:
        """Pair an updated device that has just told numbers with the first that is held back, if any is."""
        devices, models = self.devices[stage], self.models[stage]
        free = [place for place, one in enumerate(devices) if is_partner(one) and models[place] == models[index]]
        if free and devices[index].measured_at is not None and not devices[index].is_control:
            yield Pair(updated=devices[index].measures, control=devices[free[0]].measures)
            for place in (index, free[0]):
                devices[place] = targets.paired(devices[place])

    def move(self, stage: int, indexes: Sequence[int], event: targets.Event) -> list[Event]:
        deltas = tuple(self.moved(stage, index, event) for index in indexes)
        return [Folded(at=self.now, deltas={stage: deltas})] if deltas else []

    def moved(self, stage: int, index: int, event: targets.Event) -> Delta:
        before = self.devices[stage][index]
        after, _ = targets.step(before, event, self.policy(stage, index))
        check_target(before, after)
        self.devices[stage][index] = after
        return targets.delta(before, after, model=self.models[stage][index])

    def policy(self, stage: int, index: int) -> Policy:
        definition = self.plan.pipeline.stages[stage]
        return Policy(
            timeouts=definition.timeouts,
            retry=definition.retry,
            watch_ms=definition.gate.watch_ms,
            jitter_key=f"{stage}/{index}",
            wave=waves.current(self.run.stages[stage].waves) if definition.gate.proof else None,
            silent_after_ms=definition.gate.silent_after_ms,
            soak_ms=definition.gate.soak_ms,
            metrics=tuple(metric.name for metric in definition.gate.metrics),
        )

    @property
    def run_time(self) -> int:
        return self.run.clock.run_time(self.now)

    def state(self, stage: int) -> StageState:
        return self.run.stages[stage].state

    # --- what must hold -------------------------------------------------------------------------------------

    def check(self) -> None:
        for index, (definition, at_work) in enumerate(zip(self.plan.pipeline.stages, self.run.stages, strict=True)):
            devices = [one for one in self.devices[index] if not one.is_control]
            self.check_control(index)
            assert tallied(devices) == at_work.tally
            assert begun(in_waves(devices)) == begun(at_work.waves)
            self.check_models(index)
            assert at_work.tally.in_progress <= definition.pace.max_in_flight
            assert all(device.attempt <= attempts_max(definition, device) for device in self.devices[index])
        self.check_replay()
        assert self.concluded == int(self.run.state.is_terminal)
        wake = runs.next_deadline(self.plan, self.run)
        is_cut = any(at_work.is_cut for at_work in self.run.stages)
        assert wake is None or is_cut or wake > self.now, "the run would be woken again and again"

    def check_models(self, index: int) -> None:
        known, out = self.run.stages[index].models, quarantine.barred(self.run)
        rows = zip(self.models[index], self.devices[index], strict=True)
        own = [(model, one) for model, one in rows if not one.is_control]
        for name, at_work in known.items():
            assert tallied([one for model, one in own if quarantine.covers(known, name, model)]) == at_work.tally
        queued = {model for model, one in zip(self.models[index], self.devices[index], strict=True) if is_queued(one)}
        assert not any(out.has(model) for model in queued), "a device waits that may never begin"

    def check_control(self, index: int) -> None:
        group, held = self.run.stages[index].control, [one for one in self.devices[index] if one.is_control]
        if group is None:
            assert not held
            return
        assert tallied(held) == group.tally
        rows = list(zip(self.models[index], self.devices[index], strict=True))
        at_risk = [(model or "", one.is_control) for model, one in rows if targets.is_at_risk(one)]
        for name, known in group.strata.items():
            assert (known.updated, known.control) == (at_risk.count((name, False)), at_risk.count((name, True)))
        assert group.updated.measured == sum(has_told(one) for one in self.devices[index] if not one.is_control)

    def check_replay(self) -> None:
        """See that a replay by the run's own gates finds the very breaches that the run kept."""
        for index, moments in enumerate(self.moments):
            stop, breach = judge(self.plan.pipeline, index, moments, is_own=True).stop, self.first_breaches.get(index)
            found = None if stop is None else (stop.at, stop.failed, stop.exposed, stop.said)
            assert found == _told(breach)
            for rule in self.plan.pipeline.stages[index].gate.dry_run:
                stop = judge(dry_runs.in_place(self.plan.pipeline, index, rule), index, moments).stop
                found = None if stop is None else (stop.at, stop.failed, stop.exposed, stop.said)
                assert found == _told(self.run.stages[index].dry_runs.get(rule.name))


def has_told(device: Target) -> bool:
    """Say whether a device has told numbers that are compared."""
    return device.measured_at is not None


def is_partner(device: Target) -> bool:
    """Say whether a device that is held back has told numbers that are not compared yet."""
    return device.is_control and device.measured_at is not None and not device.is_paired


def is_queued(device: Target) -> bool:
    return device.state is TargetState.QUEUED


def attempts_max(definition: Stage, device: Target) -> int:
    """Return how many attempts a device may have had."""
    return definition.retry.attempts_max + device.recalls + device.watches


def _told(breach: Breach | None) -> tuple[int, int, int, str] | None:
    return None if breach is None else (breach.at, breach.failed, breach.exposed, breach.evidence)


def tallied(devices: Sequence[Target]) -> Tally:
    """Count devices one by one."""
    counted = folded(Tally(queued=len(devices)), (targets.delta(Target(), device) for device in devices))
    assert counted.targets == len(devices)
    return counted


def in_waves(devices: Sequence[Target]) -> waves.Waves:
    """Count devices by the wave in which they began, one by one."""
    deltas = (targets.delta(Target(), device) for device in devices)
    return waves.counted((), ((delta.wave, delta.exposed, delta.faultless) for delta in deltas))


def begun(known: waves.Waves) -> waves.Waves:
    """Return waves without last ones of nobody: who turns a later attempt down has not begun after all."""
    return known[: 1 + max((number for number, wave in enumerate(known) if wave.begun), default=-1)]


def uncounted(tally: Tally) -> int:
    """Return the devices that no share counts; only they are taken off those that started."""
    return tally.rejected + tally.cancelled + tally.removed


def check_step(before: Run, after: Run) -> None:
    assert after.state is before.state or may_lead(before.state, after.state, RUN_TRANSITIONS)
    assert after.epoch >= before.epoch
    is_held = after.is_paused and not before.is_paused
    is_stopped = after.state is RunState.TERMINATING and before.state is RunState.RUNNING
    assert after.epoch > before.epoch or not (is_held or is_stopped)
    for old, new in zip(before.stages, after.stages, strict=True):
        assert new.tally.started >= old.tally.started - (uncounted(new.tally) - uncounted(old.tally))
        assert new.tally.blamed >= old.tally.blamed


def check_releases(plan: Plan, run: Run, effects: Sequence[Effect]) -> None:
    for effect in effects:
        if isinstance(effect, Release):
            at_work = run.stages[effect.stage]
            assert run.state is RunState.RUNNING
            assert not run.is_paused
            assert run.freeze is None
            group = at_work.control
            tally = group.tally if effect.is_control and group is not None else at_work.tally
            assert 0 < effect.count <= tally.queued
            assert effect.count + tally.in_progress <= plan.pipeline.stages[effect.stage].pace.max_in_flight
    for definition, at_work in zip(plan.pipeline.stages, run.stages, strict=True):
        if at_work.state not in {StageState.BLOCKED, StageState.CANCELLED, StageState.TIMED_OUT}:
            assert all(is_met(plan, run, need) for need in definition.needs)


def is_met(plan: Plan, run: Run, need: StageName) -> bool:
    index = [definition.name for definition in plan.pipeline.stages].index(need)
    state, goes_on = run.stages[index].state, plan.pipeline.stages[index].on_failure is OnFailure.CONTINUE
    return state in {StageState.PASSED, StageState.SKIPPED} or (state is StageState.FAILED and goes_on)


def check_target(before: Target, after: Target) -> None:
    if before.is_control and not after.is_control:
        assert after == Target(attempt=before.attempt, watches=before.attempt)
        return
    if after.state is not before.state and not (before.is_control and after.state is TargetState.REMOVED):
        assert after.state in targets.TRANSITIONS[before.state]
    assert after.is_started >= before.is_started
    assert after.is_blamed >= before.is_blamed
    assert after.is_paired >= before.is_paired
    assert after.attempt in {before.attempt, before.attempt + 1}
    if before.state.is_terminal:
        assert as_it_ended(after) == as_it_ended(before)


def as_it_ended(target: Target) -> Target:
    """Return a device without what may be known after its end: that it succeeded after all, and how that became it."""
    ended = msgspec.structs.replace(target, health=None, health_detail="", is_blamed=False, is_started=False)
    ended = msgspec.structs.replace(ended, measures={}, measured_at=None, is_paired=False)
    return msgspec.structs.replace(ended, late_success_at=None, watched_until=None, is_silent=False, due=None)


def may_lead(before: S, after: S, table: Mapping[S, frozenset[S]]) -> bool:
    """Say whether one step, which may change a state several times, leads from *before* to *after*."""
    reached = {before}
    for _ in table:
        reached |= {state for known in reached for state in table[known]}
    return after in reached
