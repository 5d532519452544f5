"""Carrying runs forward: the pure machines decide, this module carries their effects out in the same transaction.

>>> round_of([Release(stage=0, count=2), Note(kind="opened")])
([Note(kind='opened', stage=None, text='', by='', evidence='')], [Release(stage=0, count=2, is_control=False)])
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, assert_never

import msgspec
import structlog

from controller.app import audit, heartbeat, held_back, holds, rerun_plans
from controller.app.access import Actor, Role
from controller.app.commands import Maker
from controller.app.consequences import Consequences, Question
from controller.app.controller import Controller
from controller.app.errors import CallerError
from controller.app.membership import Member, joining
from controller.app.records import EventRecord, MomentRecord, OfModel, RunRecord, TargetRecord
from controller.app.releasing import Releasing, policy_of
from controller.app.repositories import Transaction
from controller.domain import checking, newcomers, quarantine
from controller.domain import run as runs
from controller.domain import target as targets
from controller.domain.admission import BlockReason
from controller.domain.events import (
    Ask,
    CallOff,
    Cancel,
    Conclude,
    Continue,
    Discharge,
    Effect,
    Ending,
    Event,
    Expire,
    Folded,
    Freeze,
    Frozen,
    Go,
    Hold,
    Keep,
    Note,
    Recovered,
    Release,
    RollBack,
    Started,
    Suspend,
    Woken,
)
from controller.domain.model import Plan, create
from controller.domain.rerun import RollbackOrder
from controller.domain.states import RunState
from controller.domain.target import CancelRequested, Continued, Suspended, Target, TargetState, is_unaccepted
from controller.domain.trigger import ACTOR_PREFIX
from protocol.messages import Mode
from protocol.reasons import Reason
from protocol.units import DAY, Instant, Millis

log = structlog.get_logger()

MOMENTS_KEPT_MS: Final = Millis(90 * DAY)
"""How long after the end of a run another gate can judge it."""
ON_FAILURE: Final = f"{ACTOR_PREFIX}on_failure"
"""Who takes devices back where a stage says so and nobody has asked."""


def round_of(effects: Iterable[Effect]) -> tuple[list[Effect], list[Release]]:
    """Split effects into those carried out at once and the releases, which only the last decision may ask for."""
    now: list[Effect] = []
    releases: list[Release] = []
    for effect in effects:
        if isinstance(effect, Release):
            releases.append(effect)
        else:
            now.append(effect)
    return now, releases


class Advance:
    """One transaction's work on runs. Records are loaded once, and stored by `finish`.

    Before anything else, time in which nobody looked is taken out of the clock of every run.
    """

    def __init__(
        self, controller: Controller, tx: Transaction, after: Consequences, *, gap_ms: int | None = None
    ) -> None:
        self.controller = controller
        self.tx = tx
        self.after = after
        self.at: Instant = controller.clock.now()
        self.maker = Maker(tenant=controller.tenant, tx=tx, at=self.at, base_url=controller.base_url)
        self.releasing = Releasing(controller, tx, after, maker=self.maker)
        self._records: dict[int, RunRecord] = {}
        self._loaded: dict[int, RunRecord] = {}
        self._skip(heartbeat.gap_ms(tx, self.at) if gap_ms is None else gap_ms)

    def record(self, run_id: int) -> RunRecord:
        """Return a run as this transaction sees it."""
        if run_id not in self._records:
            self._records[run_id] = self._loaded[run_id] = self.tx.runs.get(run_id)
        return self._records[run_id]

    def open_to_newcomers(self) -> list[RunRecord]:
        """Return the runs of which a stage takes new devices, as this transaction sees them, by id."""
        known = {*self.tx.runs.open_to_newcomers(), *self._records}
        records = [self.record(run_id) for run_id in sorted(known)]
        return [record for record in records if newcomers.open_stages(record.plan, record.run)]

    def begin(self, plan: Plan, *, job_id: int, job: str) -> RunRecord:
        """Start a run by *plan*, and return it as it was inserted; everything that is stopped holds it, too.

        Raises:
            controller.app.errors.Conflict: when the job has an active run.
        """
        record = RunRecord(
            uid=f"r{self.controller.chance.token(5)}",
            job_id=job_id,
            job=job,
            plan=plan,
            run=create(plan, pause_reasons=holds.reasons(self.tx), freezes=holds.freezes(self.tx, plan)),
            created_at=self.at,
        )
        added = self.tx.runs.add(record)
        self._records[added.id] = added
        self.run(added.id, Started(at=self.at))
        return added

    def roll_back(self, run_id: int, order: RollbackOrder) -> RunRecord:
        """Begin the run that takes back the devices of one that has ended, and return it as it was inserted.

        Raises:
            controller.app.errors.NotFound: when the version that the order names is not published.
            controller.app.errors.Conflict: when no device can be taken back, or the job has an active run.
        """
        record = self.record(run_id)
        by = order.by or ON_FAILURE
        plan = rerun_plans.rollback_plan(self.tx, record, order, by=by)
        begun = self.begin(plan, job_id=record.job_id, job=record.job)
        run = msgspec.structs.replace(record.run, rolled_back_by=begun.uid)
        self._records[run_id] = msgspec.structs.replace(record, run=run)
        self._note(run_id, Note(kind="rolled_back", text=begun.uid, by=by))
        return begun

    def _skip(self, gap_ms: int) -> None:
        if gap_ms == 0:
            return
        self.tx.log.beat(self.at)
        recovered = Recovered(at=self.at, gap_ms=gap_ms)
        let_happen(self, dict.fromkeys(self.tx.runs.active_ids(), recovered))
        log.info("time_skipped", gap_ms=gap_ms)

    def finish(self) -> None:
        """Store every run that changed, with the time at which it must be looked at again."""
        for record in self._records.values():
            current = msgspec.structs.replace(record, wake_at=self._wake_at(record))
            if current != self._loaded.get(record.id):
                self.tx.runs.save(current)

    def _wake_at(self, record: RunRecord) -> Instant | None:
        due = self.tx.targets.next_due(record.id)
        wakes = [
            runs.next_deadline(record.plan, record.run),
            runs.next_freeze_change(record.run, self.at),
            None if due is None else record.run.clock.wall(due),
        ]
        if may_admit(record):
            wakes.append(self.tx.targets.next_check(record.id))
        return min((wake for wake in wakes if wake is not None), default=None)

    def run(self, run_id: int, event: Event) -> None:
        """Let *event* happen to a run, and carry out all that follows."""
        releases = self._settle(run_id, [event])
        if releases:
            self._settle(run_id, [self.releasing.release(self.record(run_id), releases)])

    def _settle(self, run_id: int, events: list[Event]) -> list[Release]:
        """Step through *events* and what their effects bring, until nothing but releases is left to do."""
        releases: list[Release] = []
        while events:
            record = self.record(run_id)
            run, effects = runs.step(record.plan, record.run, events.pop(0))
            if run.epoch != record.run.epoch:
                self.after.epochs[run_id] = run.epoch
            self._records[run_id] = msgspec.structs.replace(record, run=run)
            immediate, releases = round_of(effects)
            for effect in immediate:
                events += self._carry_out(run_id, effect)
        return releases

    def _carry_out(self, run_id: int, effect: Effect) -> Sequence[Event]:
        match effect:
            case Freeze():
                return (self._freeze(run_id, effect.stage),)
            case Discharge():
                return (held_back.discharge(self.tx, self.record(run_id), effect.stage, at=self.at),)
            case Cancel() | Expire() | CallOff():
                return self._end(run_id, effect)
            case Hold():
                return self._hold(run_id)
            case Go():
                return self._go(run_id)
            case Suspend():
                return self._suspend(run_id)
            case Continue():
                return self._thaw(run_id)
            case Ask() | Note() | Keep():
                return self._write_down(run_id, effect)
            case Conclude():
                return self._conclude(run_id)
            case RollBack():
                return self._roll_back(run_id)
            case Release():
                raise AssertionError("releases are carried out last")
            case _:
                assert_never(effect)

    # --- effects ------------------------------------------------------------------------------------------------

    def _freeze(self, run_id: int, stage: int) -> Frozen:
        record = self.record(run_id)
        found = joining(self.tx, record, stage)
        held, others = held_back.first(record, stage, found.members)
        first_id = record.stage_ids[stage] << 32
        self.enlist(record, stage, held, first_id=first_id, is_control=True)
        self.enlist(record, stage, others, first_id=first_id + len(held))
        return Frozen(
            at=self.at,
            stage=stage,
            targets=len(others),
            models=held_back.counts(held, others),
            control=Counter(member.model for member in held) if held else None,
            left_out=found.left_out,
        )

    def enlist(
        self, record: RunRecord, stage: int, chosen: Sequence[Member], *, first_id: int, is_control: bool = False
    ) -> None:
        """Make devices members of a stage, in this order from *first_id* on; the run is yet to be told."""
        rows = [
            TargetRecord(
                id=first_id + place,
                run_id=record.id,
                stage=stage,
                device_id=member.id,
                name=member.name,
                target=Target(is_control=is_control),
                ready=member.instance,
                updated_at=self.at,
                previous=member.previous,
                wanted=member.wanted,
                model=member.model,
            )
            for place, member in enumerate(chosen)
        ]
        assert first_id + len(rows) <= (record.stage_ids[stage] + 1) << 32, "a stage has no more positions"
        self.tx.targets.add(rows)

    def control(self, record: RunRecord, rows: Sequence[TargetRecord], mode: Mode) -> None:
        """Tell devices at work whether they may go on; the reply to its hello tells one that is not connected."""
        connected = [row for row in rows if self.controller.transport.session(row.name)]
        self.releasing.send(self.maker.control(record, connected, mode))

    def _end(self, run_id: int, effect: Ending) -> Sequence[Event]:
        match effect:
            case Cancel():
                return self._cancel(run_id, effect)
            case Expire():
                return self._expire(run_id, effect.stage)
            case CallOff():
                return self._call_off_model(run_id, effect)
            case _:
                assert_never(effect)

    def _cancel(self, run_id: int, effect: Cancel) -> Sequence[Event]:
        record = self.record(run_id)
        stage_id = record.stage_ids[effect.stage]
        self.tx.commands.void(run_id=run_id, stage=effect.stage)
        queued = self.tx.targets.in_stage(stage_id, TargetState.QUEUED)
        at_work = self.tx.targets.in_stage(stage_id, TargetState.IN_PROGRESS)
        rows = [*queued, *at_work]
        folded = self._call_off(record, rows, timed_out=effect.timed_out)
        self.control(record, at_work, Mode.CANCEL)
        return folded

    def _expire(self, run_id: int, stage: int) -> Sequence[Event]:
        record = self.record(run_id)
        queued = self.tx.targets.in_stage(record.stage_ids[stage], TargetState.QUEUED)
        return self._call_off(record, queued, timed_out=True)

    def _call_off_model(self, run_id: int, effect: CallOff) -> Sequence[Event]:
        """End whom a quarantine leaves in the queue; those at work that have not accepted go back there first."""
        record = self.record(run_id)
        stage_id, models = record.stage_ids[effect.stage], record.run.stages[effect.stage].models
        meant = OfModel(effect.model, apart_from=tuple(models) if effect.model == quarantine.OTHERS else ())
        at_work = self.tx.targets.of_model(stage_id, TargetState.IN_PROGRESS, meant)
        self.releasing.recall(record, [row for row in at_work if is_unaccepted(row.target)])
        queued = self.tx.targets.of_model(stage_id, TargetState.QUEUED, meant)
        return self._call_off(record, queued, reason=Reason.MODEL_QUARANTINED)

    def _call_off(
        self,
        record: RunRecord,
        rows: Sequence[TargetRecord],
        *,
        timed_out: bool = False,
        reason: Reason | None = None,
    ) -> Sequence[Event]:
        """Ask for the end of devices of one stage; return what comes of it."""
        event = CancelRequested(at=record.run.clock.run_time(self.at), timed_out=timed_out, reason=reason)
        ends = [targets.step(row.target, event, policy_of(record, row))[0] for row in rows]
        self.tx.targets.save([row.became(end, self.at) for row, end in zip(rows, ends, strict=True)])
        deltas = tuple(row.delta(end) for row, end in zip(rows, ends, strict=True))
        return (Folded(at=self.at, deltas={rows[0].stage: deltas}),) if deltas else ()

    def _hold(self, run_id: int) -> Sequence[Event]:
        self.tx.commands.void(run_id=run_id, stage=None)
        at_work = self.tx.targets.in_flight(run_id)
        self._control_all(self.record(run_id), at_work, Mode.HOLD)
        return ()

    def _go(self, run_id: int) -> Sequence[Event]:
        """Renew permissions; what was never accepted gets a new command, since the old one's epoch is fenced off."""
        record = self.record(run_id)
        at_work = self.tx.targets.in_flight(run_id)
        accepted = [row for row in at_work if not is_unaccepted(row.target)]
        self._control_all(record, accepted, Mode.GO)
        self._continue(run_id, [row for row in at_work if is_unaccepted(row.target)])
        return ()

    def _suspend(self, run_id: int) -> Sequence[Event]:
        self.tx.commands.void(run_id=run_id, stage=None)
        self._step(run_id, self.tx.targets.in_flight(run_id), Suspended())
        return ()

    def _thaw(self, run_id: int) -> Sequence[Event]:
        at_work = self.tx.targets.in_flight(run_id)
        self._continue(run_id, [row for row in at_work if is_unaccepted(row.target) and row.target.due is None])
        return ()

    def _continue(self, run_id: int, rows: Sequence[TargetRecord]) -> None:
        """Give attempts that no device has accepted their new commands, unless they wait for the end of a freeze."""
        record = self.record(run_id)
        if record.run.freeze is None:
            now = record.run.clock.run_time(self.at)
            self.releasing.reissue(record, self._step(run_id, rows, Continued(at=now)))

    def _step(self, run_id: int, rows: Sequence[TargetRecord], event: Suspended | Continued) -> Sequence[TargetRecord]:
        """Let *event* happen to devices, none of which leaves its counter by it; return them as they are then."""
        record = self.record(run_id)
        after = [row.became(targets.step(row.target, event, policy_of(record, row))[0], self.at) for row in rows]
        self.tx.targets.save([now for now, row in zip(after, rows, strict=True) if now.target != row.target])
        return after

    def _control_all(self, record: RunRecord, rows: Sequence[TargetRecord], mode: Mode) -> None:
        """Tell devices *mode*, and those that were called back that they still are: the new epoch voids the recall."""
        recalled = [row for row in rows if row.target.cancel_requested]
        self.control(record, recalled, Mode.CANCEL)
        self.control(record, [row for row in rows if not row.target.cancel_requested], mode)

    def _roll_back(self, run_id: int) -> Sequence[Event]:
        """Have the devices of a run that has just ended taken back; its job is free once the end is stored."""
        record = self.record(run_id)
        order = record.run.rollback
        assert order is not None
        self.tx.runs.save(record)
        try:
            self.roll_back(run_id, order)
        except CallerError as error:
            return self._note(run_id, Note(kind="not_rolled_back", text=str(error)))
        if not order.by:
            actor = Actor(name=ON_FAILURE, role=Role.OPERATOR)
            audit.record(self.tx, actor, "run.rollback", record.uid, at=self.at, reason=order.reason)
        return ()

    def _note(self, run_id: int, note: Note) -> Sequence[Event]:
        said = {"text": note.text, "stage": note.stage, "by": note.by, "evidence": note.evidence}
        data: dict[str, str | int] = {name: value for name, value in said.items() if value}
        self.tx.log.add_events([EventRecord(run_id=run_id, at=self.at, kind=note.kind, data=data)])
        return ()

    def _write_down(self, run_id: int, effect: Ask | Note | Keep) -> Sequence[Event]:
        if isinstance(effect, Ask):
            return self._ask(run_id, effect)
        if isinstance(effect, Note):
            return self._note(run_id, effect)
        self.tx.log.add_moments([MomentRecord(run_id=run_id, stage=effect.stage, at=self.at, moment=effect.moment)])
        return ()

    def _ask(self, run_id: int, ask: Ask) -> Sequence[Event]:
        check = checking.find(self.record(run_id).plan.pipeline.stages[ask.stage], ask.check)
        assert check is not None
        question = Question(run_id=run_id, stage=ask.stage, check=ask.check, sequence=ask.sequence, source=check.source)
        self.after.questions.append(question)
        return ()

    def _conclude(self, run_id: int) -> Sequence[Event]:
        self._records[run_id] = msgspec.structs.replace(self.record(run_id), ended_at=self.at)
        self.tx.log.forget_moments(ended_before=Instant(self.at - MOMENTS_KEPT_MS))
        return ()


def let_happen(advance: Advance, events: Mapping[int, Event]) -> None:
    """Let an event happen to each run, in their order."""
    for run_id in in_order(advance, events):
        advance.run(run_id, events[run_id])


def in_order(advance: Advance, run_ids: Iterable[int]) -> list[int]:
    """Return runs as they have first call on what is free: that of highest priority, then the oldest."""
    return sorted(run_ids, key=lambda run_id: (-advance.record(run_id).plan.priority, run_id))


def wake_runs(advance: Advance, run_ids: Iterable[int]) -> None:
    """Let runs look again at what they may do."""
    let_happen(advance, dict.fromkeys(run_ids, Woken(at=advance.at)))


def may_admit(record: RunRecord) -> bool:
    """Say whether a run lets devices begin at all; while it does not, there is no point in judging any."""
    return record.run.state is RunState.RUNNING and not record.run.is_paused and record.run.freeze is None


def judge_reason_again(advance: Advance, run_ids: Iterable[int], reason: BlockReason) -> None:
    """Let runs judge anew whom they refused for one reason."""
    wanted = list(run_ids)
    for run_id in wanted:
        advance.tx.targets.unblock_reason(run_id, reason)
    wake_runs(advance, wanted)
