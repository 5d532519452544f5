"""Invariant 7, of stages that ramp: between two moments of rest no more attempts begin than what is known pays for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from math import comb, floor
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from controller.domain.pipeline import Ramp, Stage
from controller.domain.target import Target
from simulator.virtual.laws.law import Asked, Complaints, Law
from simulator.virtual.laws.limits import ROUNDING, Overrides, is_exposed, is_known, is_proof
from simulator.virtual.picture import Commit, Picture

_TILTS: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7)
_RATES: Final = tuple(step / 500 for step in range(1, 500))
"""Failure rates, so many that no wave between two of them matters."""


@cache
def batch(exposed: int, failed: int, left: int, *, risk: int, above: float, share: float) -> int:
    """Return the most attempts that break the promise with a chance of *share* at most, whatever the failure rate.

    What *exposed* devices have shown makes higher rates unlikely, and raises their shares.
    """
    paid = 0
    while paid < left and _is_paid(exposed, failed, paid + 1, risk=risk, above=above, share=share):
        paid += 1
    return paid


def _is_paid(exposed: int, failed: int, size: int, *, risk: int, above: float, share: float) -> bool:
    allowed = risk + floor(above * (exposed + size) + ROUNDING) - failed
    if risk + floor(above * exposed + ROUNDING) < failed:
        return False
    return size <= allowed or all(
        _chance_of_more(allowed, size, rate) <= share * _evidence(exposed, failed, rate) * (1 + ROUNDING)
        for rate in _RATES
    )


def _chance_of_more(allowed: int, size: int, rate: float) -> float:
    return sum(comb(size, more) * rate**more * (1 - rate) ** (size - more) for more in range(allowed + 1, size + 1))


def _evidence(exposed: int, failed: int, rate: float) -> float:
    """Return the mean over odds below one of how much likelier they make what was seen than *rate* does."""
    return sum(tilt**failed / (1 + (tilt - 1) * rate) ** exposed for tilt in _TILTS) / len(_TILTS)


@dataclass(slots=True)
class _Progress:
    """A ramp as its rows show it. What it may begin until the next rest is `left`, or the batch of a new round.

    `stands` are all numbers of exposed and failed devices since the last rest, with the most that were queued then:
    at any of these a new round may have been sized. `begun` have begun since; `accepted` count no more.
    """

    rows: dict[int, Target] = field(default_factory=dict)
    at_work: set[int] = field(default_factory=set)
    stands: dict[tuple[int, int], int] = field(default_factory=dict)
    accepted: frozenset[int] = frozenset()
    left: int = 0
    begun: int = 0
    rounds: int = 0
    rested_at: int | None = None
    is_held: bool = False

    def stand(self) -> None:
        """Take note of what is known now."""
        counted = [row for id_, row in self.rows.items() if is_proof(row) and id_ not in self.accepted]
        failed = sum(row.is_blamed or not is_known(row) for row in counted)
        key = (len(counted), failed)
        self.stands[key] = max(self.queued, self.stands.get(key, 0))

    @property
    def queued(self) -> int:
        """How many devices have not begun, or wait for another attempt."""
        return sum(row.state == "queued" for row in self.rows.values())

    def begin_anew(self) -> None:
        """Count from here on, as somebody has decided, with those that have yet to try again.

        What has become of those is accepted so far, too: the first round is sized as if nothing had happened.
        """
        self.accepted = frozenset(id_ for id_, row in self.rows.items() if is_exposed(row) and row.state != "queued")
        self.left = self.begun = self.rounds = 0
        self.rested_at, self.is_held = None, False
        self.stands = {(0, 0): self.queued}


@dataclass(slots=True)
class RunTime:
    """How long a run has gone on, in milliseconds.

    Its own clock goes back to the last heartbeat when the controller dies: what it then shows again has passed twice.
    """

    shown: int = 0
    total: int = 0

    def passed(self, shown: int) -> int:
        """Return how much has passed by now that the clock of the run shows *shown*."""
        self.total += max(0, shown - self.shown)
        self.shown = shown
        return self.total


class RampsHold(Law):
    """A round begins when the last one is over and has soaked, and is no larger than what we find by ourselves.

    A ramp that holds its run goes on when somebody has overridden it, and then begins anew.
    """

    number = 7

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._ramps: dict[tuple[int, int], _Progress] = {}
        self._overrides = Overrides()
        self._run_times: dict[int, RunTime] = {}

    def asked(self, asked: Asked) -> Complaints:
        """Take note of who lets a run go on."""
        self._overrides.asked(asked)
        return ()

    def answered(self, asked: Asked, *, is_done: bool) -> Complaints:
        """Take note that nothing more comes of it."""
        del is_done
        self._overrides.answered(asked)
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Judge whoever begins in a stage that ramps, and every hold that is over."""
        for _, run in commit.runs:
            self._run_time(run.id, self.picture.wall_now())
            yield from self._go_on(run)
        for before, row in commit.updated:
            stage = self.picture.runs[row.run_id].plan.pipeline.stages[row.stage]
            if stage.pace.ramp is not None:
                yield from self._move(stage, stage.pace.ramp, before, row)
        for _, run in commit.runs:
            self._hold(run)

    def _go_on(self, run: RunRecord) -> Iterator[str]:
        for index, stage in enumerate(run.plan.pipeline.stages):
            ramp = self._ramps.get((run.id, index))
            is_over = ramp is not None and ramp.is_held and f"ramp:{stage.name}" not in run.run.pause_reasons
            is_going = run.run.state == "running" and not run.run.reason and run.run.stages[index].state != "skipped"
            if ramp is None or not (is_over and is_going):
                continue
            ramp.begin_anew()
            if not self._overrides.of(run.uid):
                yield f"the ramp of stage {stage.name} of run {run.uid} holds it no more, and nobody has overridden it"

    def _hold(self, run: RunRecord) -> None:
        for index, stage in enumerate(run.plan.pipeline.stages):
            ramp = self._ramps.get((run.id, index))
            if ramp is not None and not ramp.is_held and f"ramp:{stage.name}" in run.run.pause_reasons:
                ramp.is_held = True
                self._overrides.held(run.uid)

    def _move(self, stage: Stage, ramp: Ramp, before: TargetRecord | None, row: TargetRecord) -> Iterator[str]:
        at = self._ramps.setdefault((row.run_id, row.stage), _Progress())
        if not at.at_work:
            at.stand()
        if before is not None and row.target.attempt > before.target.attempt:
            yield from self._begin(stage, ramp, at, row)
        at.rows[row.id] = row.target
        was_at_work = bool(at.at_work)
        (at.at_work.add if row.target.state == "in_progress" else at.at_work.discard)(row.id)
        if was_at_work and not at.at_work:
            at.left, at.begun = max(at.left, _paid(stage, ramp, at)) - at.begun, 0
            at.rested_at = self._run_time(row.run_id, row.updated_at)
            at.stands.clear()

    def _begin(self, stage: Stage, ramp: Ramp, at: _Progress, row: TargetRecord) -> Iterator[str]:
        at.begun += 1
        paid = max(at.left, _paid(stage, ramp, at))
        if at.is_held:
            yield f"{row.name} begins while the ramp of stage {row.stage} holds"
        if at.begun > paid:
            yield f"{row.name} is number {at.begun} to begin since stage {row.stage} was at rest; {paid} are paid for"
        if at.begun != at.left + 1:
            return
        at.rounds += 1
        if at.rounds > ramp.rounds:
            yield f"{row.name} begins round {at.rounds} of the {ramp.rounds} of stage {row.stage}"
        now = self._run_time(row.run_id, row.updated_at)
        if at.rested_at is not None and now < at.rested_at + ramp.soak_ms:
            yield f"{row.name} begins a round of stage {row.stage} before the last one has soaked"

    def _run_time(self, run_id: int, wall: int) -> int:
        clock = self.picture.runs[run_id].run.clock
        now = clock.base + (0 if clock.since is None else max(0, wall - clock.since))
        return self._run_times.setdefault(run_id, RunTime()).passed(now)


def _paid(stage: Stage, ramp: Ramp, at: _Progress) -> int:
    """Return the largest batch that any stand since the last rest pays for."""
    assert stage.gate.sequential is not None
    assert ramp.risk is not None, "worlds say how many failures their ramps risk"
    share, above = ramp.delta_percent / 100 / ramp.rounds, stage.gate.sequential.above / 100
    batches = (batch(n, k, left, risk=ramp.risk, above=above, share=share) for (n, k), left in at.stands.items())
    return max(batches, default=0)
