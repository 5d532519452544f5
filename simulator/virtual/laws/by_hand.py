"""What people alone decide: that a stage with devices is passed over, and that a device is waited for no longer."""

from collections.abc import Iterator

from controller.app.records import RunRecord
from protocol.ids import split_name
from simulator.virtual.laws.law import Asked, Complaints, Law
from simulator.virtual.laws.models import any_left
from simulator.virtual.picture import Commit, Picture


class OnlyByHand(Law):
    """No stage that is open or could be is skipped, and no device given up, unless somebody has asked for that."""

    number = 9

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._asked: set[tuple[str, str]] = set()

    def asked(self, asked: Asked) -> Complaints:
        """Take note of what somebody wants."""
        self._asked.add((asked.act, asked.subject))
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Judge every stage that was skipped, and every device that was given up."""
        for before, run in commit.runs:
            yield from self._skipped(before, run)
        for row_before, row in commit.targets:
            is_new = row_before is None or row_before.target.reason != "given_up"
            subject = f"{self.picture.runs[row.run_id].uid}/{split_name(row.name)[1]}"
            if row.target.reason == "given_up" and is_new and ("give up", subject) not in self._asked:
                yield f"{subject} was given up, and nobody has asked for it"

    def _skipped(self, before: RunRecord | None, run: RunRecord) -> Iterator[str]:
        for index, (stage, now) in enumerate(zip(run.plan.pipeline.stages, run.run.stages, strict=True)):
            was = "blocked" if before is None else before.run.stages[index].state
            may_be_empty = stage.allow_empty or run.plan.source is not None
            is_empty = (now.is_frozen or run.plan.source is not None) and now.tally.targets == 0 and may_be_empty
            is_kept_out = now.is_frozen and not any_left(run, index, list(self.picture.rows[run.id, index].values()))
            is_judged = bool(stage.when) and now.opened_at is None and now.reason.startswith("condition:")
            is_asked = ("skip", f"{run.uid}/{stage.name}") in self._asked
            if now.state == "skipped" != was and not (is_empty or is_kept_out or is_judged or is_asked):
                yield f"stage {stage.name} of run {run.uid} was skipped, and nobody has asked for it"
