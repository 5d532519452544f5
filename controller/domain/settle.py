"""Deciding what should hold now, by looking at the whole run; see the rules in `controller.domain.run`."""

from collections.abc import Iterable, Iterator
from typing import Final

from controller.domain import condition as conditions
from controller.domain import dry_runs, graph, pace, quarantine, ramping
from controller.domain.course import is_turn, seen
from controller.domain.events import (
    CallOff,
    Cancel,
    Conclude,
    Continue,
    Effect,
    Expire,
    Freeze,
    Hold,
    Keep,
    Note,
    Release,
    RollBack,
    Suspend,
)
from controller.domain.freeze import in_force
from controller.domain.gates import judgement
from controller.domain.model import Breach, Plan, Run, StageRun, run_changed, stage_changed, thawed
from controller.domain.pipeline import OnBreach, OnFailure, Stage, Trigger
from controller.domain.rerun import RollbackOrder, Unfit
from controller.domain.states import STOPS, RunState, StageState
from protocol.ids import StageName
from protocol.units import Instant

Outcome = tuple[Run, tuple[Effect, ...]]

BREACH: Final = "breach:"
RAMP: Final = "ramp:"
STOP_EVERYTHING: Final = "stop-everything"
"""The pause reason of every run while everything is stopped."""
NOBODY_LEFT: Final = "no device of the earlier run is left for it"
ALL_QUARANTINED: Final = "its devices are of models that are quarantined in this run"
STOPPING: Final = frozenset({OnFailure.STOP_RUN, OnFailure.ROLLBACK})
"""What a stage says whose failure ends the run."""
OPEN: Final = frozenset({StageState.ROLLING_OUT, StageState.SOAKING, StageState.PASSED})
"""In these its devices may be at work: one that has passed may have a tail."""
CALLED_BACK: Final = STOPS | {StageState.SKIPPED}
"""Verdicts after which a stage's devices are called back."""


def settle(plan: Plan, run: Run, at: Instant, *, before: Run) -> Outcome:
    """Return *run* as it should stand at wall time *at*, and the effects that bring that about.

    *before* is the run as it was settled last.
    """
    decision = _Decision(plan, run, at, before=before)
    decision.calendar()
    if run.state is RunState.RUNNING:
        decision.rates()
        decision.stages()
        decision.timeout()
    if run.state is RunState.TERMINATING:
        decision.stop("terminated")
    decision.end()
    return decision.run, (*decision.effects, *_releases(plan, decision.run))


def paused(run: Run, reason: str, at: Instant, *, by: str = "", evidence: str = "") -> Outcome:
    """Return *run* held for *reason*; holding it twice for one reason is once, and only the first raises the epoch."""
    if run.state is not RunState.RUNNING or reason in run.pause_reasons:
        return run, ()
    note = Note(kind="paused", text=reason, by=by, evidence=evidence)
    reasons = (*run.pause_reasons, reason)
    if run.is_paused:
        return run_changed(run, pause_reasons=reasons), (note,)
    held = run_changed(run, pause_reasons=reasons, epoch=run.epoch + 1, clock=run.clock.stopped(at))
    return held, (Hold(), note)


def breach_of(stage: StageName) -> str:
    """Return the pause reason of a breached gate."""
    return f"{BREACH}{stage}"


def hold_of(stage: StageName) -> str:
    """Return the pause reason of a ramp that has nothing left to risk."""
    return f"{RAMP}{stage}"


def room(stage: Stage, at_work: StageRun) -> int:
    """Return how many queued devices of a stage may start, as long as nothing holds its run."""
    if at_work.paced_until is not None:
        return 0
    rate = pace.per_minute(stage.pace, succeeded=at_work.tally.succeeded)
    free = slots(stage, at_work)
    return free if rate is None else min(free, pace.group_max(rate))


def slots(stage: Stage, at_work: StageRun) -> int:
    """Return how many queued devices of a stage could start by its limit of devices at work."""
    is_open = at_work.state in {StageState.ROLLING_OUT, StageState.PASSED}
    if not is_open or not at_work.is_frozen or at_work.is_recalled:
        return 0
    free = min(stage.pace.max_in_flight - at_work.tally.in_progress, at_work.tally.queued)
    return max(0, free if at_work.ramp is None else min(free, at_work.ramp.left))


def queue_limit(stage: Stage, at_work: StageRun) -> int | None:
    """Return how long after the stage's opening its queued devices go without, or None where nothing says so."""
    is_open = at_work.state in OPEN
    return stage.timeouts.queued_ms if is_open and not at_work.is_recalled and at_work.tally.queued else None


def _releases(plan: Plan, run: Run) -> Iterator[Release]:
    if run.state is not RunState.RUNNING or run.is_paused or run.freeze is not None:
        return
    for index, (stage, at_work) in enumerate(zip(plan.pipeline.stages, run.stages, strict=True)):
        count = room(stage, at_work)
        if count:
            yield Release(stage=index, count=count)


class _Decision:
    """One settling: the run as it changes, and the effects in their order."""

    def __init__(self, plan: Plan, run: Run, at: Instant, *, before: Run) -> None:
        self.plan = plan
        self.run = run
        self.at = at
        self.unseen = {index: stage.tally for index, stage in enumerate(before.stages)}
        self.was_out = quarantine.barred(before)
        self.effects: list[Effect] = []
        self.out = quarantine.barred(run)
        self.index_of = {stage.name: index for index, stage in enumerate(plan.pipeline.stages)}

    @property
    def now(self) -> int:
        """The run's own time; a pause in the middle of a decision stops it."""
        return self.run.clock.run_time(self.at)

    def calendar(self) -> None:
        """Let the freeze begin or end that the calendar has; one that only goes over into the next does neither."""
        is_going = self.run.state is RunState.RUNNING and not self.run.is_stopped
        before, now = self.run.freeze, in_force(self.run.freezes, self.at) if is_going else None
        if before == now:
            return
        if now is None:
            self._thaw(is_going=is_going)
            return
        frozen_at = self.now if self.run.frozen_at is None else self.run.frozen_at
        self.run = run_changed(self.run, freeze=now, frozen_at=frozen_at)
        self.effects += [*(() if before else (Suspend(),)), Note(kind="frozen", text=f"{now.name}: {now.reason}")]

    def _thaw(self, *, is_going: bool) -> None:
        """End the freeze; a pause that holds now gives suspended devices their commands when it is lifted."""
        self.run = thawed(self.run, self.now)
        if is_going:
            self.effects += [*(() if self.run.is_paused else (Continue(),)), Note(kind="thawed")]

    def rates(self) -> None:
        """Let go on, at their rates, the stages that have waited long enough since they last released devices."""
        for index, at_work in enumerate(self.run.stages):
            if at_work.paced_until is not None and self.now >= at_work.paced_until:
                self.run = stage_changed(self.run, index, paced_until=None)

    def stages(self) -> None:
        """Settle every stage, each after what it needs, so that one pass reaches the end of a chain.

        Models come first, in all stages: the test of all devices leaves out whom any stage quarantines.
        """
        in_order = graph.in_order({stage.name: stage.needs for stage in self.plan.pipeline.stages})
        for name in in_order:
            self._models(self.index_of[name])
        for name in in_order:
            self._stage(self.index_of[name])

    def timeout(self) -> None:
        """Stop a run whose time is over."""
        at_work_for = self.now - self.run.frozen_for(self.now)
        if not self.run.is_paused and at_work_for >= self.plan.pipeline.timeout_ms:
            self.stop("the run's time was over", verdict=StageState.TIMED_OUT)

    def end(self) -> None:
        """Conclude a run in which every stage has a verdict and no device is left."""
        is_open = self.run.state in {RunState.RUNNING, RunState.TERMINATING}
        if not is_open or not all(stage.is_over for stage in self.run.stages):
            return
        self.run = run_changed(thawed(self.run, self.now), state=_end_state(self.run), pause_reasons=())
        self.effects += dry_runs.summary(self.plan.pipeline, self.run)
        self.effects += [Note(kind=self.run.state.value, text=self.run.reason), Conclude()]
        if self.run.rollback is not None:
            self.effects.append(RollBack())

    def stop(self, reason: str, *, verdict: StageState = StageState.CANCELLED) -> None:
        """Give every stage that has none a verdict, and call back the devices of every stage; once.

        Nothing is left that a pause could hold, and its clock must go on: recalled devices end by their leases.
        """
        for index in range(len(self.run.stages)):
            if not self.run.stages[index].state.is_verdict:
                self._verdict(index, verdict, reason)
            at_work = self.run.stages[index]
            if not at_work.is_recalled and not at_work.tally.is_settled:
                self._recall(index, timed_out=verdict is StageState.TIMED_OUT)
        if not self.run.is_stopped:
            clock = self.run.clock.started(self.at)
            run = thawed(self.run, self.now)
            self.run = run_changed(run, epoch=run.epoch + 1, reason=reason, pause_reasons=(), clock=clock)

    def _stage(self, index: int) -> None:
        at_work = self.run.stages[index]
        if at_work.skipped and not at_work.state.is_verdict:
            self._verdict(index, StageState.SKIPPED, at_work.skipped)
        match self.run.stages[index].state:
            case StageState.BLOCKED:
                self._blocked(index)
            case StageState.AWAITING_PROMOTION:
                if self.run.stages[index].is_promoted and self._may_open:
                    self._open(index)
            case StageState.ROLLING_OUT | StageState.SOAKING:
                self._open_stage(index)
            case _:
                pass
        self._queue(index)
        at_work = self.run.stages[index]
        if at_work.state is StageState.PASSED:
            self._tail(index)
            at_work = self.run.stages[index]
        elif at_work.state in CALLED_BACK and not at_work.is_recalled and not at_work.tally.is_settled:
            self._recall(index, timed_out=at_work.state is StageState.TIMED_OUT)

    def _blocked(self, index: int) -> None:
        stage, at_work = self.plan.pipeline.stages[index], self.run.stages[index]
        if self.run.is_paused:
            return
        needs = [self._need(name) for name in stage.needs]
        if False in needs:
            self._verdict(index, StageState.CANCELLED, "what it needs was not met")
        elif None not in needs and self.plan.is_without_devices(stage.name):
            self._verdict(index, StageState.SKIPPED, NOBODY_LEFT)
        elif None not in needs:
            met_at = self.now if at_work.met_at is None else at_work.met_at
            self.run = stage_changed(self.run, index, met_at=met_at)
            if self.now >= met_at + stage.delay_ms and self._may_open:
                self._trigger(index)

    @property
    def _may_open(self) -> bool:
        return not self.run.is_paused and self.run.freeze is None

    def _need(self, name: StageName) -> bool | None:
        """Say whether a needed stage is met, can no longer be, or (None) is not decided."""
        index = self.index_of[name]
        state = self.run.stages[index].state
        goes_on = self.plan.pipeline.stages[index].on_failure is OnFailure.CONTINUE
        if state in {StageState.PASSED, StageState.SKIPPED} or (state is StageState.FAILED and goes_on):
            return True
        return False if state in STOPS else None

    def _trigger(self, index: int) -> None:
        stage = self.plan.pipeline.stages[index]
        if stage.trigger is Trigger.AUTOMATIC:
            self._open(index)
            return
        self.effects.append(Note(kind="awaiting_promotion", stage=stage.name))
        self.run = stage_changed(self.run, index, state=StageState.AWAITING_PROMOTION)

    def _open(self, index: int) -> None:
        stage = self.plan.pipeline.stages[index]
        if stage.when:
            counts = {name: self._counts(name) for name in stage.needs}
            told = {name: self.run.stages[self.index_of[name]].outputs for name in stage.needs}
            judgement = conditions.judge(stage.when, counts, told)
            if not judgement.holds:
                self._verdict(index, StageState.SKIPPED, f"condition: {judgement.numbers}")
                return
        opened = {"state": StageState.ROLLING_OUT, "opened_at": self.now, "frozen_ms": self.run.frozen_ms}
        self.run = stage_changed(self.run, index, **opened)
        self.effects += [Note(kind="opened", stage=self.plan.pipeline.stages[index].name), Freeze(stage=index)]

    def _counts(self, name: StageName) -> conditions.Counts:
        tally = self.run.stages[self.index_of[name]].tally
        return {state: getattr(tally, state) for state in conditions.STATES}

    def _open_stage(self, index: int) -> None:
        if not self.run.stages[index].is_frozen:
            return
        if self._is_breached(index):
            self._breach(index)
        self._ramp(index)
        if not self.run.is_paused and not self.run.stages[index].state.is_verdict:
            self._judge(index)

    def _judge(self, index: int) -> None:
        """Give an open stage that nothing holds the verdict that it has come to, if any."""
        stage, at_work = self.plan.pipeline.stages[index], self.run.stages[index]
        if at_work.tally.targets == 0:
            self._empty(index)
        elif at_work.state is StageState.ROLLING_OUT:
            self._rolling_out(index)
        elif self.now >= (at_work.soak_at or 0) + stage.gate.soak_ms:
            self._verdict(index, StageState.PASSED, "")

    def _empty(self, index: int) -> None:
        """Judge a stage that no device belongs to; over an earlier run nobody need be left to belong to it."""
        if self.plan.source is not None:
            self._verdict(index, StageState.SKIPPED, NOBODY_LEFT)
            return
        if any(one.reason is Unfit.QUARANTINED for one in self.run.stages[index].left_out):
            self._verdict(index, StageState.SKIPPED, ALL_QUARANTINED)
            return
        is_fine = self.plan.pipeline.stages[index].allow_empty
        self._verdict(index, StageState.SKIPPED if is_fine else StageState.FAILED, "no device matched")

    def _is_breached(self, index: int) -> bool:
        """Say whether failures are too many; a breach that is only told is told once."""
        self._look(index)
        at_work, gate = self.run.stages[index], self.plan.pipeline.stages[index].gate
        is_told = gate.on_breach is OnBreach.ALERT and at_work.breach is not None
        if is_told:
            return False
        return judgement.is_breached(
            self.plan.pipeline, index, at_work.tally, accepted=at_work.accepted, excepted=self._excepted(index)
        )

    def _excepted(self, index: int) -> judgement.Excepted:
        return quarantine.excepted(self.plan.pipeline.stages[index], self.run.stages[index], self.out)

    def _models(self, index: int) -> None:
        """Quarantine models of an open stage that fail too often, and call off whom a quarantine leaves queued."""
        if self.run.is_stopped or self.run.stages[index].state not in OPEN or not self.run.stages[index].is_frozen:
            return
        for model in quarantine.refuted(self.plan, self.run, index):
            self._quarantine(index, model)
        if self.out.stages and not self.run.stages[index].is_recalled:
            self._call_off(index, quarantine.waiting(self.run.stages[index], self.out))

    def _quarantine(self, index: int, model: str) -> None:
        """Keep a model out of the run from now on; what its devices have not accepted is called back, in all stages."""
        self.run = quarantine.quarantined(self.plan, self.run, index, model=model, now=self.now)
        self.out = quarantine.barred(self.run)
        breach, stage = self.run.stages[index].models[model].breach, self.plan.pipeline.stages[index].name
        assert breach is not None
        self.effects.append(
            Note(kind="quarantined", stage=stage, text=quarantine.said(model), evidence=breach.evidence)
        )
        for other, at_work in enumerate(self.run.stages):
            if at_work.is_frozen and not at_work.is_over:
                self._call_off(other, quarantine.kept_out(at_work, self.out, model))

    def _call_off(self, index: int, models: Iterable[str]) -> None:
        """Call devices off, once in a decision; those that come to wait later are found by looking again."""
        wanted = [CallOff(stage=index, model=model) for model in models]
        self.effects += [effect for effect in wanted if effect not in self.effects]

    def _look(self, index: int) -> None:
        """Keep what the gate of a stage sees, if it turns anything; twice in one settling is once."""
        at_work, before = self.run.stages[index], self.unseen.pop(index, None)
        is_other = self.out != self.was_out and at_work.tally.blamed > 0
        if before is not None and (is_other or is_turn(before, at_work.tally)):
            moment = seen(at_work.tally, self._excepted(index), at=self.now, accepted=at_work.accepted)
            self.effects.append(Keep(stage=index, moment=moment))
            self.run, notes = dry_runs.look(self.plan.pipeline, self.run, index, moment)
            self.effects += notes

    def _breach(self, index: int, *, is_tail: bool = False) -> None:
        """Keep what the gate knows, and do what it says; a stage that has its verdict can only hold the run."""
        stage, tally = self.plan.pipeline.stages[index], self.run.stages[index].tally
        reading = judgement.read(self.plan.pipeline, index, tally, self._excepted(index))
        evidence = str(reading)
        latched = Breach(at=self.now, failed=reading.failed, exposed=reading.exposed, evidence=evidence)
        if breach_of(stage.name) not in self.run.pause_reasons:
            self.run = stage_changed(self.run, index, breach=latched)
        if stage.gate.on_breach is OnBreach.ALERT:
            self.effects.append(Note(kind="breached", stage=stage.name, evidence=evidence))
        elif stage.gate.on_breach is OnBreach.PAUSE or is_tail:
            self._pause(breach_of(stage.name), evidence=evidence)
        else:
            self._verdict(index, StageState.FAILED, f"{reading.failed} of {reading.exposed} started devices failed")

    def _ramp(self, index: int) -> None:
        """Begin the next round of a stage that ramps once the last one is over, or hold the run for a person."""
        stage = self.plan.pipeline.stages[index]
        is_held = self.run.is_paused or self.run.is_stopped or self.run.stages[index].is_recalled
        if is_held or not ramping.is_done(self.run.stages[index]):
            return
        self.run = stage_changed(self.run, index, ramp=ramping.done(self.run.stages[index], self.now))
        at_work = self.run.stages[index]
        if self.now < ramping.due(stage, at_work):
            return
        ramp = ramping.next_round(stage, at_work)
        if ramp is None:
            self._pause(hold_of(stage.name), evidence=ramping.said(stage, at_work))
        else:
            self.run = stage_changed(self.run, index, ramp=ramp)

    def _rolling_out(self, index: int) -> None:
        stage, at_work = self.plan.pipeline.stages[index], self.run.stages[index]
        open_for = self.run.open_for(index, self.now)
        is_overdue = open_for >= stage.timeouts.stage_ms
        straggler = stage.gate.straggler_after_ms
        may_leave_tail = is_overdue or (straggler is not None and open_for >= straggler)
        is_settled, rest = at_work.tally.is_settled, self._excepted(index).rest(at_work.tally)
        if judgement.is_success(stage.gate, rest) and (is_settled or may_leave_tail):
            self._succeed(index)
        elif is_settled and rest.targets == 0 and not any(one.breach for one in at_work.models.values()):
            self._verdict(index, StageState.SKIPPED, ALL_QUARANTINED)
        elif is_settled:
            share = f"{rest.succeeded} of {rest.counted} succeeded"
            self._verdict(index, StageState.FAILED, f"{share}, {stage.gate.success_percent:g} % needed")
        elif is_overdue:
            self._verdict(index, StageState.TIMED_OUT, "the stage's time was over")

    def _succeed(self, index: int) -> None:
        stage = self.plan.pipeline.stages[index]
        if stage.gate.soak_ms == 0:
            self._verdict(index, StageState.PASSED, "")
            return
        self.effects.append(Note(kind="soaking", stage=stage.name))
        self.run = stage_changed(self.run, index, state=StageState.SOAKING, soak_at=self.now)

    def _queue(self, index: int) -> None:
        """Let devices go without that have waited for too long."""
        limit = queue_limit(self.plan.pipeline.stages[index], self.run.stages[index])
        if limit is not None and self._may_open and self.run.open_for(index, self.now) >= limit:
            self.effects.append(Expire(stage=index))

    def _tail(self, index: int) -> None:
        """Watch the tail of a passed stage: what it does acts on the run and never rewrites the verdict."""
        stage, at_work = self.plan.pipeline.stages[index], self.run.stages[index]
        if not self.run.is_stopped and self._is_breached(index):
            self._breach(index, is_tail=True)
        self._ramp(index)
        is_overdue = self.run.open_for(index, self.now) >= stage.timeouts.stage_ms
        if is_overdue and not at_work.is_recalled and not at_work.tally.is_settled:
            self._recall(index, timed_out=True)

    def _pause(self, reason: str, *, evidence: str) -> None:
        self.run, effects = paused(self.run, reason, self.at, evidence=evidence)
        self.effects += effects

    def _verdict(self, index: int, verdict: StageState, reason: str) -> None:
        """Give a stage its verdict, and carry out what a bad one means for its devices and for the run."""
        stage = self.plan.pipeline.stages[index]
        self.run = stage_changed(self.run, index, state=verdict, reason=reason, ended_at=self.now)
        self.effects.append(Note(kind=verdict.value, stage=stage.name, text=reason))
        if verdict in CALLED_BACK and not self.run.stages[index].tally.is_settled:
            self._recall(index, timed_out=verdict is StageState.TIMED_OUT)
        if verdict is StageState.FAILED and stage.on_failure in STOPPING:
            self._fail(stage, f"stage {stage.name} failed: {reason}")

    def _fail(self, stage: Stage, reason: str) -> None:
        """Stop the run for a failed stage, and remember where its devices are to be taken back."""
        if stage.on_failure is OnFailure.ROLLBACK and not self.run.is_stopped:
            self.run = run_changed(self.run, rollback=RollbackOrder(reason=reason))
            self.effects.append(Note(kind="rolling_back", text=reason))
        self.stop(reason)

    def _recall(self, index: int, *, timed_out: bool) -> None:
        self.run = stage_changed(self.run, index, is_recalled=True)
        self.effects.append(Cancel(stage=index, timed_out=timed_out))


def _end_state(run: Run) -> RunState:
    if run.state is RunState.TERMINATING:
        return RunState.TERMINATED
    verdicts = {stage.state for stage in run.stages}
    if StageState.FAILED in verdicts:
        return RunState.FAILED
    return RunState.TIMED_OUT if StageState.TIMED_OUT in verdicts else RunState.SUCCEEDED
