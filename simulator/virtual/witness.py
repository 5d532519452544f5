"""The witness: counts the rare paths that a world took, and tells its story for the timeline."""

from typing import Final

from msgspec.structs import replace

from agent.core.model import Phase, Work
from controller.app.records import ReportRecord, RunRecord, TargetRecord
from controller.domain.admission import BlockReason
from controller.domain.control import ControlRun
from controller.domain.metrics import NOTHING_KNOWN, MetricRun
from controller.domain.model import StageRun
from controller.domain.pipeline import OnBreach
from controller.domain.rerun import Purpose, Unfit
from controller.domain.states import RunState
from controller.domain.target import TargetState
from protocol.health import Mark
from protocol.ids import Name
from protocol.lifecycle import AttemptState, Left
from protocol.messages import Ack, HelloReply, Mode
from protocol.reasons import Reason
from simulator.virtual.laws.law import Asked, Complaints, Handed, Named, Observer, Stepped
from simulator.virtual.picture import Commit, Picture
from simulator.virtual.shapes import OUTPUT
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

_KEPT_OUT: Final = {
    BlockReason.HELD: Sometimes.KEPT_OUT_HELD,
    BlockReason.PINNED: Sometimes.KEPT_OUT_PINNED,
    BlockReason.PRECONDITION: Sometimes.KEPT_OUT_PRECONDITION,
    BlockReason.WINDOW_CLOSED: Sometimes.KEPT_OUT_WINDOW,
    BlockReason.SITE_FULL: Sometimes.KEPT_OUT_SITE,
    BlockReason.NOT_CAPABLE: Sometimes.KEPT_OUT_AGENT,
    BlockReason.NO_PATH: Sometimes.KEPT_OUT_PATH,
}
_BY_HELLO: Final = {BlockReason.NOT_CAPABLE, BlockReason.PRECONDITION, BlockReason.WINDOW_CLOSED, BlockReason.NO_PATH}
_BEGUN: Final = {
    "trigger:schedule": Sometimes.BEGAN_BY_SCHEDULE,
    "trigger:channel": Sometimes.BEGAN_BY_RELEASE,
    "trigger:hook": Sometimes.BEGAN_BY_HOOK,
}


SECOND_ROUND: Final = 2


class Witness(Observer):
    """Judges nothing."""

    def __init__(self, world: World, picture: Picture) -> None:
        self._world = world
        self._picture = picture
        self._kept_out: dict[int, BlockReason] = {}
        """By row: what kept it out when it was judged last."""
        self._carried_out: dict[str, bool] = {}
        """By person who has named a request that was carried out: whether they know of it."""

    # --- the controller -----------------------------------------------------------------------------------------

    def committed(self, commit: Commit) -> Complaints:
        """Notice what rows, runs and reports did."""
        self._let_in(commit)
        for entry in commit.audit:
            self._carried_out.setdefault(entry.actor, False)
        for before, row in commit.targets:
            if before is None:
                self._joined(row, commit)
            elif before.target != row.target:
                self._moved(before, row)
        if any(job.waiting is not None for job in commit.jobs):
            self._world.sometimes(Sometimes.START_WAITED)
        for run_before, run in commit.runs:
            self._ran(run_before, run)
        for report in commit.reports:
            self._reported(report)
        for row in commit.kept_out:
            assert row.blocked is not None
            self._kept_out[row.id] = row.blocked
            self._world.sometimes(_KEPT_OUT[row.blocked])
            self._world.say("row", f"{row.name} waits: {row.block_text}")
        return ()

    def _joined(self, row: TargetRecord, commit: Commit) -> None:
        old = next((before for before, run in commit.runs if run.id == row.run_id), self._picture.runs[row.run_id])
        if old is not None and old.run.stages[row.stage].is_frozen:
            if any(hello.id == row.device_id for hello in commit.hellos):
                self._world.sometimes(Sometimes.JOINED_BY_HELLO)
            elif any(report.device_id == row.device_id for report in commit.reports):
                self._world.sometimes(Sometimes.JOINED_BY_REPORT)
        self._world.say("row", f"{row.name} joins run {row.run_id} at {row.stage}/{row.id & 0xFFFFFFFF}")

    def asked(self, asked: Asked) -> Complaints:
        """Notice requests that come again."""
        knows = self._carried_out.get(asked.by) if asked.is_named else None
        if knows is not None:
            self._world.sometimes(Sometimes.REPEATED if knows else Sometimes.REPEATED_UNANSWERED)
        return ()

    def named(self, named: Named) -> Complaints:
        """Notice that somebody knows that a request was carried out."""
        if not named.error:
            self._carried_out[named.by] = True
        return ()

    def _let_in(self, commit: Commit) -> None:
        """Notice who was kept out for what it had told, and begins in the transaction of its hello."""
        told = {hello.id for hello in commit.hellos}
        for _, row in commit.targets:
            is_begun = row.target.state is TargetState.IN_PROGRESS
            if is_begun and self._kept_out.pop(row.id, None) in _BY_HELLO and row.device_id in told:
                self._world.sometimes(Sometimes.LET_IN_BY_HELLO)

    def _moved(self, before: TargetRecord, row: TargetRecord) -> None:
        old, new, sometimes = before.target, row.target, self._world.sometimes
        if new.attempt_state is AttemptState.TIMED_OUT and old.attempt_state is not AttemptState.TIMED_OUT:
            sometimes(Sometimes.IDLE_ENDED if old.is_idle else Sometimes.LEASE_ENDED)
        self._timed(before, row)
        self._silent(before, row)
        self._measured(before, row)
        if new.state is TargetState.REMOVED is not old.state:
            is_at_work = old.state is TargetState.IN_PROGRESS
            sometimes(Sometimes.REMOVED_AT_WORK if is_at_work else Sometimes.REMOVED_QUEUED)
        if new.is_idle and not old.is_idle:
            sometimes(Sometimes.FOUND_IDLE)
        if new.attempt > max(1, old.attempt):
            sometimes(Sometimes.RETRIED)
        if new.attempt == old.attempt and old.command not in {None, new.command}:
            sometimes(Sometimes.REISSUED)
        if new.reason is Reason.GIVEN_UP and old.state is TargetState.IN_PROGRESS:
            sometimes(Sometimes.GIVEN_UP_AT_WORK)
        if new.attempt_state is AttemptState.SENT and new.due is None:
            sometimes(Sometimes.SUSPENDED)
        if old.returns and new.state is TargetState.QUEUED:
            sometimes(Sometimes.RETURNED)
        if new.left is Left.BROKEN:
            sometimes(Sometimes.LEFT_BROKEN)
        if new.reason is Reason.VERIFY_FAILED and old.reason is not new.reason:
            sometimes(Sometimes.VERIFY_FAILED)
        source = self._picture.runs[row.run_id].plan.source
        is_back = source is not None and source.purpose is Purpose.ROLLBACK
        if is_back and new.state is TargetState.SUCCEEDED:
            sometimes(Sometimes.WENT_BACK)
        end = f" {new.reason or ''} left {new.left}" if new.attempt_state and new.attempt_state.is_terminal else ""
        shown = f"attempt {new.attempt} {new.attempt_state}{end} due {new.due}"
        self._world.say("row", f"{row.name} {old.state} → {new.state}: {shown}")

    def _silent(self, before: TargetRecord, row: TargetRecord) -> None:
        """Notice who was away after a success."""
        old, new = before.target, row.target
        if new.is_silent and not old.is_silent:
            self._world.sometimes(Sometimes.WENT_SILENT)
        if old.watched_until is not None and old.due is not None and new.due is None and not new.is_blamed:
            self._world.sometimes(Sometimes.CAME_BACK_IN_TIME)

    def _measured(self, before: TargetRecord, row: TargetRecord) -> None:
        """Notice what a device told that is compared."""
        old, new = before.target, row.target
        if new.measured_at != old.measured_at and new.measured_at is not None:
            self._world.say("row", f"{row.name} tells {new.measures} after attempt {new.attempt}")
            is_alone = not (new.is_control or self._picture.targets[row.id].target.is_paired)
            if is_alone:
                self._world.sometimes(Sometimes.METRIC_UNPAIRED)
        if new.is_paired and not old.is_paired:
            self._world.say("row", f"{row.name} is compared")

    def _timed(self, before: TargetRecord, row: TargetRecord) -> None:
        """Notice what clocks do that most worlds do not have."""
        old, new = before.target, row.target
        run = self._picture.runs[row.run_id]
        timeouts = run.plan.pipeline.stages[row.stage].timeouts
        is_longer = old.due is not None and new.due is not None and new.due > old.due
        if is_longer and replace(old, due=None) == replace(new, due=None) and not old.is_idle:
            self._world.sometimes(Sometimes.LEASE_EXTENDED)
        is_capped = old.accepted_at is not None and old.due == old.accepted_at + timeouts.attempt_ms
        if is_capped and new.attempt_state is AttemptState.TIMED_OUT is not old.attempt_state:
            self._world.sometimes(Sometimes.ATTEMPT_CAPPED)
        is_recalled = run.run.stages[row.stage].is_recalled
        if (old.state, new.state) == (TargetState.QUEUED, TargetState.TIMED_OUT) and not is_recalled:
            self._world.sometimes(Sometimes.WENT_WITHOUT)

    def _ran(self, before: RunRecord | None, run: RunRecord) -> None:
        if before is None:
            self._begun(run)
            self._over(run)
            return
        self._froze(before, run)
        breaches = {reason for reason in run.run.pause_reasons if reason.startswith("breach:")}
        if breaches - set(before.run.pause_reasons):
            self._world.sometimes(Sometimes.GATE_BREACHED)
        if any(one.startswith("telemetry:") for one in set(run.run.pause_reasons) - set(before.run.pause_reasons)):
            self._world.sometimes(Sometimes.TELEMETRY_LOST)
        self._held(before, run)
        self._quarantined(before, run)
        for index, (was, now) in enumerate(zip(before.run.stages, run.run.stages, strict=True)):
            if was.is_frozen and now.tally.targets > was.tally.targets:
                self._world.sometimes(Sometimes.JOINED_LATE)
            if was.opened_at is None is not now.opened_at and now.approvals:
                self._world.sometimes(Sometimes.APPROVED_ENOUGH)
            if any(one.reason is Unfit.BELOW_FLOOR for one in now.left_out) and not was.left_out:
                self._world.sometimes(Sometimes.LEFT_AS_IT_IS)
            self._gated(run, index, was, now)
            if was.state is not now.state:
                self._staged(run, index)
                self._conditioned(run, index)
            if now.paced_until is not None and now.tally.queued:
                self._world.sometimes(Sometimes.PACED)
            if now.is_cut:
                self._world.sometimes(Sometimes.RELEASE_CUT)
        if (before.run.state, before.run.epoch) != (run.run.state, run.run.epoch):
            reasons = ", ".join(run.run.pause_reasons)
            self._world.say("run", f"{run.uid} {run.run.state} epoch {run.run.epoch} {reasons}")

    def _gated(self, run: RunRecord, index: int, was: StageRun, now: StageRun) -> None:
        """Notice what a gate and a ramp make of failures."""
        gate = run.plan.pipeline.stages[index].gate
        if now.breach is not None and now.breach != was.breach:
            self._world.say("stage", f"{run.uid}/{index} breached: {now.breach.evidence}")
            if gate.on_breach is OnBreach.ALERT:
                self._world.sometimes(Sometimes.ALERTED)
            elif gate.failures is None:
                self._world.sometimes(Sometimes.STOPPED_BY_TEST)
        is_passed = now.state == "passed" != was.state
        if is_passed and gate.sequential is not None and now.tally.blamed and now.breach is None:
            self._world.sometimes(Sometimes.TOLERATED)
        is_early = was.state == "rolling_out" and now.state in {"soaking", "passed"} and not now.tally.is_settled
        if gate.proof is not None and is_early:
            self._world.sometimes(Sometimes.PROVED)
        if now.control is not None:
            self._compared(was.control, now.control, is_passed=is_passed)
        if was.ramp is not None and now.ramp is not None and was.ramp.round != now.ramp.round:
            self._world.say("stage", f"{run.uid}/{index} goes into round {now.ramp.round}")
            if now.ramp.round == was.ramp.round + 1 == SECOND_ROUND:
                self._world.sometimes(Sometimes.RAMPED_ON)

    def _compared(self, was: ControlRun | None, now: ControlRun, *, is_passed: bool) -> None:
        """Notice what a stage makes of its control group."""
        if was is not None and now.breach != was.breach:
            self._world.sometimes(Sometimes.CRASHES_STOPPED)
        if is_passed and now.updated.crashed and now.control.crashed and now.breach is None:
            self._world.sometimes(Sometimes.CRASHES_COMPARED)
        for name, known in now.metrics.items():
            before = NOTHING_KNOWN if was is None else was.metrics.get(name, NOTHING_KNOWN)
            self._metric(before, known, is_passed=is_passed)
        if was is not None and now.discharged_at != was.discharged_at:
            self._world.sometimes(Sometimes.DISCHARGED_LATE if now.tally.in_progress else Sometimes.DISCHARGED)

    def _metric(self, was: MetricRun, now: MetricRun, *, is_passed: bool) -> None:
        """Notice what a stage makes of a metric."""
        if now.breach != was.breach:
            self._world.sometimes(Sometimes.METRIC_STOPPED)
        if now.accepted != was.accepted:
            self._world.sometimes(Sometimes.METRIC_ACCEPTED)
        if now.equal != was.equal:
            self._world.sometimes(Sometimes.METRIC_EQUAL)
        if is_passed and now.pairs and now.breach is None:
            self._world.sometimes(Sometimes.METRICS_COMPARED)

    def _held(self, before: RunRecord, run: RunRecord) -> None:
        """Notice ramps that hold the run, and those that go on."""
        was, now = ({reason for reason in one.run.pause_reasons if reason.startswith("ramp:")} for one in (before, run))
        if now - was:
            self._world.sometimes(Sometimes.RAMP_HELD)
        states = {f"ramp:{s.name}": one.state for s, one in zip(run.plan.pipeline.stages, run.run.stages, strict=True)}
        if any(states[reason] != "skipped" for reason in was - now) and run.run.state is RunState.RUNNING:
            self._world.sometimes(Sometimes.RAMP_OVERRIDDEN)

    def _quarantined(self, before: RunRecord, run: RunRecord) -> None:
        """Notice models that are kept out, those that are let in again, and runs that go well without some."""
        was, now = _kept_out(before), _kept_out(run)
        if now - was:
            self._world.sometimes(Sometimes.MODEL_QUARANTINED)
            self._world.say("run", f"{run.uid} keeps out {sorted(now - was)}")
        if was - now:
            self._world.sometimes(Sometimes.MODEL_READMITTED)
            self._world.say("run", f"{run.uid} lets in {sorted(was - now)}")
        if now and run.run.state is RunState.SUCCEEDED is not before.run.state:
            self._world.sometimes(Sometimes.SUCCEEDED_WITHOUT)

    def _begun(self, run: RunRecord) -> None:
        by = next((path for start, path in _BEGUN.items() if run.plan.started_by.startswith(start)), None)
        if by is not None:
            self._world.sometimes(by)
        if run.plan.source is None and any(
            value != self._default(run, name) for name, value in run.plan.parameters.items()
        ):
            self._world.sometimes(Sometimes.VALUES_GIVEN)
        self._world.say("run", f"{run.uid} of {run.job} {run.run.state}")

    def _default(self, run: RunRecord, name: str) -> object:
        return self._picture.newest(run.plan.pipeline.name).parameters[name].default

    def _conditioned(self, run: RunRecord, index: int) -> None:
        stage, now = run.plan.pipeline.stages[index], run.run.stages[index]
        if now.state == "rolling_out" and len(stage.needs) > 1:
            self._world.sometimes(Sometimes.FAN_IN)
        if f'"{OUTPUT}"' not in stage.when:
            return
        if now.state == "rolling_out":
            self._world.sometimes(Sometimes.CONDITION_HELD)
        elif now.reason.startswith("condition:"):
            is_unknown = "not known" in now.reason
            self._world.sometimes(Sometimes.CONDITION_UNKNOWN if is_unknown else Sometimes.CONDITION_FAILED)

    def _froze(self, before: RunRecord, run: RunRecord) -> None:
        if before.run.freeze == run.run.freeze:
            return
        if before.run.state is RunState.PENDING:
            self._world.sometimes(Sometimes.BEGAN_FROZEN)
        if before.run.freeze is None and any(stage.tally.in_progress for stage in run.run.stages):
            self._world.sometimes(Sometimes.FROZEN_IN_FLIGHT)
        self._world.say("run", f"{run.uid} stands in freeze {run.run.freeze}")

    def _over(self, run: RunRecord) -> None:
        """Notice what a run over an earlier run is for."""
        source = run.plan.source
        if source is None:
            return
        past = self._picture.runs[source.run_id]
        if source.purpose is Purpose.RETRY:
            self._world.sometimes(Sometimes.TRIED_AGAIN)
            if source.with_cancelled and any(stage.tally.cancelled for stage in past.run.stages):
                self._world.sometimes(Sometimes.CANCELLED_TRIED_AGAIN)
        elif past.run.rollback is None:
            self._world.sometimes(Sometimes.TAKEN_BACK_BY_HAND)
        else:
            self._world.sometimes(
                Sometimes.TAKEN_BACK_IN_RUN if past.run.rollback.by else Sometimes.TAKEN_BACK_BY_FAILING
            )
        if source.purpose is Purpose.ROLLBACK and past.plan.source and past.plan.source.purpose is Purpose.ROLLBACK:
            self._world.sometimes(Sometimes.TAKEN_BACK_TWICE)

    def _staged(self, run: RunRecord, index: int) -> None:
        stage = run.run.stages[index]
        if stage.state == "passed":
            self._world.sometimes(Sometimes.STAGE_PASSED)
        if stage.state == "skipped" and stage.tally.targets:
            self._world.sometimes(Sometimes.STAGE_SKIPPED)
        if stage.state == "failed" and stage.reason.startswith("breach"):
            self._world.sometimes(Sometimes.GATE_BREACHED)
        self._world.say("stage", f"{run.uid}/{index} {stage.state} {stage.reason}")

    def _reported(self, report: ReportRecord) -> None:
        if report.state == Mark.WELL:
            self._world.sometimes(Sometimes.STAYED_WELL)
        if report.state == Mark.ENDED:
            self._world.sometimes(Sometimes.WATCH_ENDED_EARLY)
        command = self._picture.commands.get(report.command)
        if command is None or command.target_id is None:
            return
        row = self._picture.targets[command.target_id]
        if command.attempt < row.target.attempt:
            self._world.sometimes(Sometimes.LATE_REPORT)
        others = (r for r in self._picture.targets.values() if r.device_id == row.device_id and r.run_id != row.run_id)
        if any(other.target.state is TargetState.QUEUED for other in others):
            self._world.sometimes(Sometimes.DEVICE_TURNS_BUSY)

    def handed(self, handed: Handed) -> Complaints:
        """Tell what was sent."""
        command = handed.command
        shown = "?" if command is None else f"{command.op} attempt {command.attempt} epoch {command.epoch}"
        self._world.say("transport", f"to {handed.name}: {shown}")
        return ()

    def answered_device(self, name: Name, answer: Ack | HelloReply) -> Complaints:
        """Tell what was answered."""
        if isinstance(answer, Ack) and answer.hello_within_ms:
            self._world.sometimes(Sometimes.HELLO_ASKED)
            self._world.say("transport", f"to {name}: say hello within {answer.hello_within_ms} ms")
            return ()
        shown = f"ack {answer.stored}" if isinstance(answer, Ack) else f"reply, permit {answer.work}"
        self._world.say("transport", f"to {name}: {shown}")
        return ()

    # --- devices ------------------------------------------------------------------------------------------------

    def stepped(self, stepped: Stepped) -> Complaints:
        """Notice what became of a device's work."""
        before, after = stepped.before.durable.work, stepped.after.durable.work
        if after is not None and (before is None or before.phase is not after.phase):
            self._world.say(stepped.label, f"attempt {after.attempt} of {after.run} {after.phase}")
            mode = stepped.after.durable.run(after.run).mode
            if after.phase is Phase.WAITING and mode is Mode.HOLD:
                self._world.sometimes(Sometimes.HELD)
        if before is not None and after is None:
            self._no_longer(stepped, before)
        return ()

    def _no_longer(self, stepped: Stepped, before: Work) -> None:
        """Say how work ended; a device whose journal lost it has no end of it to show."""
        if not stepped.after.durable.finals:
            self._world.say(stepped.label, f"has lost attempt {before.attempt} of {before.run}")
            return
        ended = stepped.after.durable.finals[-1]
        self._world.say(stepped.label, f"attempt {ended.attempt} of {ended.run} {ended.state} {ended.reason}")
        if ended.state is AttemptState.CANCELLED:
            self._world.sometimes(Sometimes.RECALLED)

    def installs(self, stepped: Stepped) -> Complaints:
        """Count installations."""
        del stepped
        self._world.sometimes(Sometimes.INSTALLED)
        return ()


def _kept_out(run: RunRecord) -> set[tuple[int, str]]:
    """Return which models are quarantined in a run, each with the stage that has done it."""
    stages = enumerate(run.run.stages)
    return {(index, name) for index, stage in stages for name, one in stage.models.items() if one.breach is not None}
