"""The listener: a witness of checks, who counts the rare paths that answers take and judges nothing."""

from controller.app.records import RunRecord
from controller.domain.gates.checks import UNANSWERED, Check, CheckRun, Verdict
from controller.domain.model import StageRun
from simulator.virtual.laws.law import Complaints, Observer, Replied
from simulator.virtual.picture import Commit, Picture
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World


class Listener(Observer):
    """Listens to those who answer, and to what becomes of it."""

    def __init__(self, world: World, picture: Picture) -> None:
        self._world = world
        self._picture = picture

    def replied(self, replied: Replied) -> Complaints:
        """Notice who answers a question that is no longer asked."""
        at = self._picture.runs[replied.run_id].run.stages[replied.stage].checks.get(replied.check)
        is_asked = at is not None and at.asked_at is not None and replied.sequence == at.sequence
        if replied.sequence is not None and not is_asked:
            self._world.sometimes(Sometimes.STALE_ANSWER)
        said = f"{replied.answer.kind}, {replied.answer.evidence}, to question {replied.sequence}"
        self._world.say("outside", f"{replied.run_id}/{replied.stage}/{replied.check}: {said}")
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Notice what became of checks."""
        for before, run in commit.runs:
            for index, (stage, now) in enumerate(zip(run.plan.pipeline.stages, run.run.stages, strict=True)):
                was = StageRun() if before is None else before.run.stages[index]
                if any(not check.dry_run for check in stage.gate.checks) and now.state == "passed" != was.state:
                    self._world.sometimes(Sometimes.CHECK_PASSED)
                for check in stage.gate.checks:
                    self._look(check, was.checks.get(check.name), now.checks.get(check.name))
            self._held(before, run)
        return ()

    def _look(self, check: Check, was: CheckRun | None, now: CheckRun | None) -> None:
        if was is None or now is None or was == now:
            return
        if now.breach != was.breach:
            self._world.sometimes(Sometimes.CHECK_FAILED)
        if check.dry_run and now.told is Verdict.FAIL is not was.told:
            self._world.sometimes(Sometimes.CHECK_ON_TRIAL)
        if now.is_settled and not was.is_settled:
            self._world.sometimes(Sometimes.CHECK_DECIDED)
        if now.last == UNANSWERED and now.last_at != was.last_at:
            self._world.sometimes(Sometimes.QUESTION_LAPSED)

    def _held(self, before: RunRecord | None, run: RunRecord) -> None:
        known = () if before is None else before.run.pause_reasons
        if any(reason.startswith("no_data:") for reason in run.run.pause_reasons if reason not in known):
            self._world.sometimes(Sometimes.CHECK_UNANSWERED)
