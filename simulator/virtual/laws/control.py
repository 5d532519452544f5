"""Invariant 7, of control groups: who is held back is only watched, what is compared is what was told, and in order.

All of it is found from the rows of devices, as they were written one after the other, by our own arithmetic.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import exp, floor
from typing import Final

from controller.app.records import CommandRecord, RunRecord, TargetRecord
from controller.domain.control import ControlRun
from controller.domain.pipeline import Control, OnBreach
from controller.domain.target import Target, TargetState
from protocol.messages import Op
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.laws.limits import ROUNDING, share_of
from simulator.virtual.picture import Commit, Picture

_ODDS: Final = (1.5, 2, 3, 4, 6, 9, 14, 22, 35, 60, 120, 400)
_OPEN: Final = frozenset({"rolling_out", "soaking"})
_Place = tuple[int, int]
"""(run id, stage)."""


class HeldBackOnlyWatch(Law):
    """Who is held back is told to watch and never to install; all others are never told to watch.

    It is held back from the beginning, and until its stage has passed.
    """

    number = 7

    def committed(self, commit: Commit) -> Complaints:
        """Judge every command, and who comes to be held back or is no longer."""
        for command in commit.commands:
            yield from self._commanded(command)
        for before, row in commit.targets:
            stage = self.picture.runs[row.run_id].run.stages[row.stage]
            if before is not None and row.target.is_control and not before.target.is_control:
                yield f"{row.name} is held back, and was not when it joined stage {row.stage}"
            if before is not None and before.target.is_control and not row.target.is_control:
                yield from _freed(before, row, stage.state)

    def _commanded(self, command: CommandRecord) -> Iterator[str]:
        if command.target_id is None:
            return
        is_control = self.picture.targets[command.target_id].target.is_control
        if is_control is not (command.op is Op.WATCH):
            yield f"{command.name} is told to {command.op}, and is {'' if is_control else 'not '}held back"


def _freed(before: TargetRecord, row: TargetRecord, state: str) -> Iterator[str]:
    if state != "passed":
        yield f"{row.name} is held back no more, and stage {row.stage} is {state}"
    if before.target.state in {"in_progress", "removed"}:
        yield f"{row.name} is held back no more, and was {before.target.state}"
    if row.target != Target(attempt=before.target.attempt, watches=before.target.attempt):
        yield f"{row.name} is held back no more, and does not begin anew: {row.target}"


class HeldBackAreApart(Law):
    """A stage holds back no more than its share, and its numbers of them are what the rows say.

    With them all its rows are counted, each once.
    """

    number = 10

    def committed(self, commit: Commit) -> Complaints:
        """Judge the stages of each run that the commit touched."""
        touched = {row.run_id for _, row in commit.targets} | {run.id for _, run in commit.runs}
        for run_id in sorted(touched):
            run = self.picture.runs[run_id]
            for index in range(len(run.run.stages)):
                yield from self._judge(run, index)
        for before, run in commit.runs:
            for index, stage in enumerate(run.run.stages):
                if stage.is_frozen and not (before is not None and before.run.stages[index].is_frozen):
                    yield from self._frozen(run, index)

    def _judge(self, run: RunRecord, index: int) -> Iterator[str]:
        group, held = run.run.stages[index].control, self.picture.held[run.id, index]
        states = [row.target.state for row in held.values()]
        for state in TargetState:
            shown = 0 if group is None else getattr(group.tally, state.value)
            if shown != states.count(state):
                yield f"stage {index} of run {run.uid} counts {shown} {state} held back, and {states.count(state)} are"
        if run.run.stages[index].tally.targets != len(self.picture.rows[run.id, index]):
            yield f"stage {index} of run {run.uid} counts other devices than it has, beside those held back"

    def _frozen(self, run: RunRecord, index: int) -> Iterator[str]:
        rules = run.plan.pipeline.stages[index].gate.control
        held, others = len(self.picture.held[run.id, index]), len(self.picture.rows[run.id, index])
        most = 0 if rules is None else floor((held + others) * rules.share_percent / 100 + ROUNDING)
        wanted = max(most, int(rules is not None and held + others > 1))
        if held != wanted:
            yield f"stage {index} of run {run.uid} holds {held} of {held + others} back, and was to hold {wanted}"


@dataclass(slots=True)
class _Comparison:
    """What the rows of a stage have shown: who is at risk by model and kind, and the bets that crashes have decided."""

    at_risk: dict[tuple[str, bool], int] = field(default_factory=lambda: defaultdict(int))
    bets: list[float] = field(default_factory=lambda: [1.0] * len(_ODDS))
    models: set[str] = field(default_factory=set)
    crashed: int = 0
    stands: list[tuple[int, float]] = field(default_factory=list)
    """Of the last transaction: how many updated devices had crashed, and the evidence, after each change."""

    @property
    def evidence(self) -> float:
        return sum(self.bets) / len(self.bets)

    def move(self, before: TargetRecord | None, row: TargetRecord, rules: Control) -> None:
        """Take in one change of a row; who is discharged is at risk no more, and nothing else becomes of it."""
        model, was, now = row.model or "", Target() if before is None else before.target, row.target
        is_control = now.is_control if before is None else was.is_control
        if before is None and is_control:
            self.models.add(model)
        if _is_crashed(now) and not _is_crashed(was) and was.is_control is now.is_control:
            self._crash(model, rules, is_control=is_control, is_known=_is_at_risk(was))
        self.at_risk[model, is_control] += _is_at_risk(now) - _is_at_risk(was)
        self.stands.append((self.crashed, self.evidence))

    def _crash(self, model: str, rules: Control, *, is_control: bool, is_known: bool) -> None:
        updated, held = self.at_risk[model, False], self.at_risk[model, True]
        updated, held = updated + (not is_known and not is_control), held + (not is_known and is_control)
        self.crashed += not is_control
        if updated and held and model in self.models:
            share = rules.tolerated * updated / (rules.tolerated * updated + held)
            bets = zip(_ODDS, self.bets, strict=True)
            self.bets = [bet * (1 if is_control else odds) / (1 + (odds - 1) * share) for odds, bet in bets]


def _is_at_risk(target: Target) -> bool:
    is_begun = target.state == "in_progress" and not target.is_control
    return target.is_compared and target.health is None and (is_begun or target.state == "succeeded")


def _is_crashed(target: Target) -> bool:
    return target.is_compared and target.state == "succeeded" and target.health in {"crashed", "unwell"}


class ComparisonsHold(Law):
    """The evidence of a stage is what first crashes make of it, in the order in which they were told.

    Where it is enough the stage stops, unless a person has accepted as many crashes; only then it does.
    """

    number = 7

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._known: defaultdict[_Place, _Comparison] = defaultdict(_Comparison)

    def committed(self, commit: Commit) -> Complaints:
        """Take in every change of a row, and compare with what each stage knows."""
        for known in self._known.values():
            known.stands = [(known.crashed, known.evidence)]
        for before, row in commit.targets:
            rules = self.picture.runs[row.run_id].plan.pipeline.stages[row.stage].gate.control
            if rules is not None:
                self._known[row.run_id, row.stage].move(before, row, rules)
        for before_run, run in commit.runs:
            for index, stage in enumerate(run.run.stages):
                rules, was = run.plan.pipeline.stages[index].gate.control, None
                if before_run is not None:
                    was = before_run.run.stages[index].control
                if rules is not None and stage.control is not None:
                    yield from self._judge(run, index, rules, stage.control, was)

    def _judge(
        self, run: RunRecord, index: int, rules: Control, now: ControlRun, was: ControlRun | None
    ) -> Iterator[str]:
        known, place, alpha = self._known[run.id, index], f"stage {index} of run {run.uid}", share_of(run, rules)
        shown = exp(now.evidence.log)
        if now.updated.crashed != known.crashed or abs(shown - known.evidence) > 1e-6 * known.evidence:
            crashes = f"{now.updated.crashed} updated devices to crash with evidence {shown}"
            yield f"{place} knows {crashes}, and its rows show {known.crashed} with {known.evidence}"
        if now.breach is not None and (was is None or now.breach != was.breach):
            least = 0 if was is None or was.breach is None else now.accepted
            stands = [evidence for crashed, evidence in known.stands if crashed == now.breach.updated.crashed > least]
            if not any(evidence * alpha >= 1 - ROUNDING for evidence in stands):
                yield f"{place} stops for crashes, and there is no such evidence: {now.breach.evidence}"
        yield from self._goes_on(run, index, now, is_enough=known.evidence * alpha > 1 + ROUNDING)

    def _goes_on(self, run: RunRecord, index: int, now: ControlRun, *, is_enough: bool) -> Iterator[str]:
        stage, gate = run.run.stages[index], run.plan.pipeline.stages[index].gate
        is_open = stage.state in _OPEN and run.run.state == "running" and not run.run.reason
        if not (is_enough and is_open and now.updated.crashed > now.accepted):
            return
        if gate.on_breach is OnBreach.ALERT and now.breach is None:
            yield f"updated devices of stage {index} of run {run.uid} crash more, and nobody is told"
        elif gate.on_breach is not OnBreach.ALERT and not run.run.is_paused:
            yield f"stage {index} of run {run.uid} goes on, and its updated devices crash more than those held back"
