"""The witness: counts the rare paths that a world took, and tells its story for the timeline."""

from typing import Final

from agent.core.model import Phase
from controller.app.records import ReportRecord, RunRecord, TargetRecord
from controller.domain.admission import BlockReason
from controller.domain.target import TargetState
from protocol.ids import Name
from protocol.lifecycle import AttemptState, Left
from protocol.messages import Ack, HelloReply, Mode
from protocol.reasons import Reason
from simulator.virtual.laws.law import Complaints, Handed, Observer, Stepped
from simulator.virtual.picture import Commit, Picture
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

_KEPT_OUT: Final = {
    BlockReason.HELD: Sometimes.KEPT_OUT_HELD,
    BlockReason.PINNED: Sometimes.KEPT_OUT_PINNED,
    BlockReason.PRECONDITION: Sometimes.KEPT_OUT_PRECONDITION,
    BlockReason.WINDOW_CLOSED: Sometimes.KEPT_OUT_WINDOW,
    BlockReason.SITE_FULL: Sometimes.KEPT_OUT_SITE,
}


class Witness(Observer):
    """Judges nothing."""

    def __init__(self, world: World, picture: Picture) -> None:
        self._world = world
        self._picture = picture

    # --- the controller -----------------------------------------------------------------------------------------

    def committed(self, commit: Commit) -> Complaints:
        """Notice what rows, runs and reports did."""
        for before, row in commit.targets:
            if before is not None and before.target != row.target:
                self._moved(before, row)
        for run_before, run in commit.runs:
            self._ran(run_before, run)
        for report in commit.reports:
            self._reported(report)
        for row in commit.kept_out:
            assert row.blocked is not None
            self._world.sometimes(_KEPT_OUT[row.blocked])
            self._world.say("row", f"{row.name} waits: {row.block_text}")
        return ()

    def _moved(self, before: TargetRecord, row: TargetRecord) -> None:
        old, new, sometimes = before.target, row.target, self._world.sometimes
        if new.attempt_state is AttemptState.TIMED_OUT and old.attempt_state is not AttemptState.TIMED_OUT:
            sometimes(Sometimes.LEASE_ENDED)
        if new.attempt > max(1, old.attempt):
            sometimes(Sometimes.RETRIED)
        if new.attempt == old.attempt and old.command not in {None, new.command}:
            sometimes(Sometimes.REISSUED)
        if new.reason is Reason.GIVEN_UP and old.state is TargetState.IN_PROGRESS:
            sometimes(Sometimes.GIVEN_UP_AT_WORK)
        if old.returns and new.state is TargetState.QUEUED:
            sometimes(Sometimes.RETURNED)
        if new.left is Left.BROKEN:
            sometimes(Sometimes.LEFT_BROKEN)
        if new.reason is Reason.VERIFY_FAILED and old.reason is not new.reason:
            sometimes(Sometimes.VERIFY_FAILED)
        end = f" {new.reason or ''} left {new.left}" if new.attempt_state and new.attempt_state.is_terminal else ""
        shown = f"attempt {new.attempt} {new.attempt_state}{end} due {new.due}"
        self._world.say("row", f"{row.name} {old.state} → {new.state}: {shown}")

    def _ran(self, before: RunRecord | None, run: RunRecord) -> None:
        if before is None:
            self._world.say("run", f"{run.uid} of {run.job} {run.run.state}")
            return
        breaches = {reason for reason in run.run.pause_reasons if reason.startswith("breach:")}
        if breaches - set(before.run.pause_reasons):
            self._world.sometimes(Sometimes.GATE_BREACHED)
        for index, (was, now) in enumerate(zip(before.run.stages, run.run.stages, strict=True)):
            if was.state is not now.state:
                self._staged(run, index)
            if now.is_cut:
                self._world.sometimes(Sometimes.RELEASE_CUT)
        if (before.run.state, before.run.epoch) != (run.run.state, run.run.epoch):
            reasons = ", ".join(run.run.pause_reasons)
            self._world.say("run", f"{run.uid} {run.run.state} epoch {run.run.epoch} {reasons}")

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
            ended = stepped.after.durable.finals[-1]
            self._world.say(stepped.label, f"attempt {ended.attempt} of {ended.run} {ended.state} {ended.reason}")
            if ended.state is AttemptState.CANCELLED:
                self._world.sometimes(Sometimes.RECALLED)
        return ()

    def installs(self, stepped: Stepped) -> Complaints:
        """Count installations."""
        del stepped
        self._world.sometimes(Sometimes.INSTALLED)
        return ()
