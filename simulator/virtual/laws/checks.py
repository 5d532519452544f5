"""Invariant 7, of stages with checks: what was answered decides, and what nobody has said never passes.

Answers are taken from those who gave them; which of them the controller has stored is told by their words.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Final

from controller.app.records import RunRecord
from controller.domain.gates.checks import Check, CheckRun, Webhook
from controller.domain.model import StageRun
from controller.domain.pipeline import OnBreach
from simulator.virtual.laws.law import Complaints, Law, Replied
from simulator.virtual.picture import Commit, Picture

_OPEN: Final = frozenset({"rolling_out", "soaking"})
_Place = tuple[int, int, str]
"""(run id, stage, name of the check)."""


@dataclass(slots=True)
class _Heard:
    """What was stored of a check: successes and failures in a row, and the run time at which data came last.

    `is_told` once the timeline has said that it fails; `words` are the answers that were taken in.
    """

    since: int
    oks: int = 0
    failures: int = 0
    is_decided: bool = False
    is_told: bool = False
    words: set[str] = field(default_factory=set)


class ChecksHold(Law):
    """A stage passes by enough successes in a row or a person's word; failures in a row breach; silence holds the run.

    An answer counts once, and only to the question that is asked. What a check on trial finds has no effect.

    Silence is judged as often as something happens to a run. A transaction that only changes its rows, as devices come
    and go or a controller begins, may leave that to the wake-up of the run, if it stores one that is due for it.
    """

    number = 7

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._said: dict[str, Replied] = {}
        self._heard: dict[_Place, _Heard] = {}

    def replied(self, replied: Replied) -> Complaints:
        """Take note of who says what."""
        self._said[replied.answer.evidence] = replied
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Judge every check of the runs that were written."""
        # People say why they resume a run. Where a hold is over by itself, a failure is forgiven nobody.
        resumed = {event.run_id for event in commit.events if event.kind == "resumed" and event.data.get("text")}
        told = {
            (event.run_id, str(event.data["stage"]), str(event.data.get("text")))
            for event in commit.events
            if event.kind == "check_fail"
        }
        for before, run in commit.runs:
            for index, stage in enumerate(run.plan.pipeline.stages):
                was = StageRun() if before is None else before.run.stages[index]
                for check in stage.gate.checks:
                    yield from self._hear(run, index, check, was.checks.get(check.name))
                    if run.id in resumed and before is not None:
                        self._begin_anew(run, index, check, held=before.run.pause_reasons)
                    is_told = (run.id, stage.name, check.name) in told
                    yield from self._judge(run, index, check, was, is_told=is_told)
                    yield from self._silence(run, index, check, before)

    # --- what was answered --------------------------------------------------------------------------------------

    def _hear(self, run: RunRecord, index: int, check: Check, was: CheckRun | None) -> Iterator[str]:
        """Take note of the answer that was stored, if one was."""
        now, place = run.run.stages[index].checks.get(check.name), (run.id, index, check.name)
        if now is None:
            return
        heard = self._heard.setdefault(place, _Heard(since=now.heard_at))
        if now.last is None or (was is not None and was.last_at == now.last_at and was.last == now.last):
            return
        words = now.last.evidence
        said = self._said.get(words)
        if said is None or (said.run_id, said.stage, said.check) != place:
            yield from self._nobody_said(run, index, check, now)
            heard.oks = 0
            return
        if words in heard.words:
            yield f"check {check.name} of stage {index} of run {run.uid} takes {words!r} for news a second time"
        asked = None if was is None or was.asked_at is None else was.sequence
        if said.sequence not in {None, asked}:
            yield f"check {check.name} of run {run.uid} takes an answer to question {said.sequence}, and asks {asked}"
        heard.words.add(words)
        assert now.last_at is not None
        _count(heard, check, said, now.last_at)

    def _nobody_said(self, run: RunRecord, index: int, check: Check, now: CheckRun) -> Iterator[str]:
        """Look at what the controller says by itself: that nobody has answered, and nothing else."""
        if now.last is not None and now.last.kind != "no_data":
            yield f"check {check.name} of stage {index} of run {run.uid} was never told {now.last.evidence!r}"

    def _begin_anew(self, run: RunRecord, index: int, check: Check, *, held: Container[str]) -> None:
        """Wait anew for a check that held its run until somebody resumed it, and forgive it what it held it for."""
        heard = self._heard.get((run.id, index, check.name))
        place = f"{run.plan.pipeline.stages[index].name}/{check.name}"
        if heard is None:
            return
        if f"check:{place}" in held:
            heard.failures = 0
        if f"check:{place}" in held or f"no_data:{place}" in held:
            heard.since = max(heard.since, self._now(run))

    # --- what comes of it ---------------------------------------------------------------------------------------

    def _judge(self, run: RunRecord, index: int, check: Check, was: StageRun, *, is_told: bool) -> Iterator[str]:
        now, stage = run.run.stages[index], run.plan.pipeline.stages[index].name
        heard = self._heard.get((run.id, index, check.name))
        place = f"check {check.name} of stage {index} of run {run.uid}"
        reasons = {kind: f"{kind}:{stage}/{check.name}" in run.run.pause_reasons for kind in ("check", "no_data")}
        if check.dry_run:
            if any(reasons.values()):
                yield f"{place} is on trial, and holds the run"
            return
        if now.state == "passed" != was.state:
            yield from _passed(heard, check, now, place)
        heard = self._judged(run, index, check)
        if heard is None:
            return
        if heard.failures < check.fails_after:
            heard.is_told = False
            return
        heard.is_told = heard.is_told or is_told
        on_breach = run.plan.pipeline.stages[index].gate.on_breach
        if on_breach is OnBreach.FAIL or (on_breach is OnBreach.PAUSE and not reasons["check"]):
            yield f"{place} has failed {heard.failures} times in a row, and the stage goes on"
        elif on_breach is OnBreach.ALERT and not heard.is_told:
            yield f"{place} has failed {heard.failures} times in a row, and nobody is told"

    def _silence(self, run: RunRecord, index: int, check: Check, before: RunRecord | None) -> Iterator[str]:
        """Look whether a run goes on though nothing is known of a check for too long."""
        heard = self._judged(run, index, check)
        if heard is None or heard.failures >= check.fails_after or run.run.is_paused:
            return
        is_left = _is_left(before, run, due=heard.since + check.no_data_after_ms)
        if not is_left and _is_silent(heard, check, self._now(run)):
            place = f"check {check.name} of stage {index} of run {run.uid}"
            yield f"{place} has had no answer since {heard.since}, and the run goes on"

    def _judged(self, run: RunRecord, index: int, check: Check) -> _Heard | None:
        """Return what was heard of a check by which a stage is judged now; None where it is not."""
        heard, stage = self._heard.get((run.id, index, check.name)), run.run.stages[index]
        is_open = stage.state in _OPEN and stage.tally.targets and run.run.state == "running" and not run.run.reason
        is_undecided = heard is not None and not heard.is_decided
        return heard if is_open and is_undecided and not check.dry_run else None

    def _now(self, run: RunRecord) -> int:
        return run.run.clock.run_time(self.picture.wall_now())


def _count(heard: _Heard, check: Check, said: Replied, at: int) -> None:
    """Take an answer into account that was stored at run time *at*."""
    kind = said.answer.kind
    heard.oks = heard.oks + 1 if kind == "ok" else 0
    if kind == "no_data":
        return
    heard.since = at
    heard.failures = 0 if kind == "ok" else heard.failures + 1
    if said.is_decision:
        heard.is_decided = heard.is_decided or kind == "ok"
        heard.failures = 0 if kind == "ok" else max(heard.failures, check.fails_after)


def _passed(heard: _Heard | None, check: Check, now: StageRun, place: str) -> Iterator[str]:
    """Judge a stage that passes."""
    if heard is None or not (heard.is_decided or heard.oks >= check.needed):
        oks = 0 if heard is None else heard.oks
        yield f"{place} was told {oks} successes in a row of {check.needed}, and the stage passes"
    elif not heard.is_decided and now.ended_at is not None and _is_silent(heard, check, now.ended_at):
        yield f"{place} has had no answer since {heard.since}, and the stage passes at {now.ended_at}"


def _is_silent(heard: _Heard, check: Check, now: int) -> bool:
    """Say whether nothing was known for too long; who tells by itself need not say again that it is well."""
    is_lasting = isinstance(check.source, Webhook) and heard.oks >= check.needed
    return not is_lasting and now >= heard.since + check.no_data_after_ms


def _is_left(before: RunRecord | None, run: RunRecord, *, due: int) -> bool:
    """Say whether nothing has happened to a run, which is stored to be looked at no later than run time *due*."""
    due_at = run.run.clock.wall(due)
    is_known = run.wake_at is not None and due_at is not None and run.wake_at <= due_at
    return is_known and before is not None and before.run == run.run
