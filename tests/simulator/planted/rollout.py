"""Bugs in how a run proceeds: stages, gates, pace, leases, attempts and counters."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import pytest

from controller.app import advance, giving_up, membership, wakeups
from controller.app.advance import Advance
from controller.app.controller import Controller
from controller.app.records import RunRecord, TargetRecord
from controller.domain import clock, run, target
from controller.domain.gates import judgement
from controller.domain.model import Plan, Run
from controller.domain.pipeline import Pace, Targets
from controller.domain.query import evaluate
from controller.domain.settle import opening, whole
from controller.domain.settle.decision import Decision
from controller.domain.states import StageState
from controller.domain.target import Policy, Reported, Target, TargetState
from protocol.lifecycle import AttemptState
from protocol.messages import Mode
from simulator.memory import devices as memory
from simulator.memory.devices import MemoryDevices
from simulator.memory.targets import MemoryTargets
from simulator.virtual.laws.attempts import AttemptsFollowEachOther, ClocksAreRunTime, OneWorkPerDevice
from simulator.virtual.laws.by_hand import OnlyByHand
from simulator.virtual.laws.counters import CountersAddUp
from simulator.virtual.laws.fence import NothingAfterThePause
from simulator.virtual.laws.membership import NobodyIsLeftOut, OnlyMembers
from simulator.virtual.laws.pace import InFlightIsBounded
from simulator.virtual.laws.recalls import StopsAreTold
from simulator.virtual.laws.reports import AcknowledgedIsStored
from simulator.virtual.laws.stages import GatesHold, StagesOpenInOrder
from simulator.virtual.laws.tables import StatesFollowTables
from simulator.virtual.trial import LIVENESS
from tests.simulator.planted.planted import planted, wrap

replace = msgspec.structs.replace

# --- pace -------------------------------------------------------------------------------------------------------


def _with_pace(plan: Plan, more: Callable[[int], int]) -> Plan:
    stages = tuple(
        replace(stage, pace=Pace(max_in_flight=stage.pace.max_in_flight + more(index)))
        for index, stage in enumerate(plan.pipeline.stages)
    )
    return replace(plan, pipeline=replace(plan.pipeline, stages=stages))


@planted("One device too many may be in flight.", InFlightIsBounded)
def one_too_many_in_flight(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, whole, "releases", lambda releases: lambda plan, now: releases(_with_pace(plan, lambda _: 1), now))


@planted("Who is in flight is counted in memory, and forgotten by a crash.", InFlightIsBounded)
def in_flight_is_forgotten_by_a_crash(patch: pytest.MonkeyPatch) -> None:
    forgotten: dict[tuple[str, int], int] = {}

    def releasing(releases: Any) -> Any:
        def released(plan: Plan, now: Run) -> Iterator[Any]:
            for index, stage in enumerate(now.stages):
                forgotten.setdefault((plan.salt, index), stage.tally.in_progress)
            return iter(releases(_with_pace(plan, lambda index: forgotten[plan.salt, index]), now))

        return released

    def recovering(recover: Any) -> Any:
        def recovered(controller: Controller) -> Any:
            forgotten.clear()
            return recover(controller)

        return recovered

    wrap(patch, whole, "releases", releasing)
    wrap(patch, wakeups, "recover", recovering)


@planted("Devices are released while their run is paused.", NothingAfterThePause)
def devices_are_released_in_a_pause(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, whole, "releases", lambda releases: lambda plan, now: releases(plan, replace(now, pause_reasons=())))


# --- stages and gates -------------------------------------------------------------------------------------------


@planted("A stage passes as soon as one device has succeeded.", GatesHold)
def stage_passes_before_its_gate_is_met(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, judgement, "is_success", lambda _: lambda _gate, tally: tally.succeeded > 0)


@planted("The devices that failed are left out of the share that must succeed.", GatesHold)
def failures_are_left_out_of_the_share(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, judgement, "is_success", lambda ask: lambda rule, tally: ask(rule, replace(tally, failed=0)))


@planted("A gate never stops a stage.", GatesHold)
def breach_is_ignored(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, judgement, "is_breached", lambda _: lambda *_args, **_kwargs: False)


@planted("One failure more than the limit is let through.", GatesHold)
def one_failure_too_many_is_allowed(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, judgement, "_limit", lambda allowed: lambda *given: allowed(*given) + 1)


@planted("A stage opens before what it needs has a verdict.", StagesOpenInOrder)
def stage_opens_before_its_need(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, opening, "_need", lambda need: lambda self, name: need(self, name) is not False)


@planted("A stage opens though what it needs has failed.", StagesOpenInOrder)
def failed_need_is_taken_for_met(patch: pytest.MonkeyPatch) -> None:
    def around(need: Any) -> Any:
        return lambda self, name: None if need(self, name) is None else True

    wrap(patch, opening, "_need", around)


@planted("A manual stage opens without a promotion.", StagesOpenInOrder)
def manual_stage_opens_by_itself(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, opening, "_trigger", lambda _: opening._open)


# --- who belongs ------------------------------------------------------------------------------------------------


@planted("A device that the stage excludes is frozen into it.", OnlyMembers)
def excluded_device_is_frozen(patch: pytest.MonkeyPatch) -> None:
    def around(is_left_out: Any) -> Any:
        def chosen(wanted: Targets, *rest: Any, salt: str) -> Any:
            return is_left_out(replace(wanted, exclude=()), *rest, salt=salt)

        return chosen

    wrap(patch, membership, "is_left_out", around)


@planted("A stage takes devices whatever their labels.", OnlyMembers)
def labels_are_ignored(patch: pytest.MonkeyPatch) -> None:
    def around(formula_of: Any) -> Any:
        return lambda wanted: formula_of(replace(wanted, labels={}))

    wrap(patch, memory, "formula_of", around)


@planted("The versions of a query are compared as text.", OnlyMembers, NobodyIsLeftOut)
def versions_are_compared_as_text(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, evaluate, "version_key", lambda _: lambda text: text)


@planted("A group takes in all whose names begin like its own: europe belongs to eu.", OnlyMembers, NobodyIsLeftOut)
def group_takes_in_its_namesakes(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, evaluate, "is_within", lambda _: lambda path, group: path.startswith(group))


@planted("A stage takes devices whatever their groups.", OnlyMembers)
def groups_are_ignored(patch: pytest.MonkeyPatch) -> None:
    def around(formula_of: Any) -> Any:
        return lambda wanted: formula_of(replace(wanted, groups=()))

    wrap(patch, memory, "formula_of", around)


@planted("A device that was blocked after the freeze is commanded.", OnlyMembers, first_seed=150)
def blocked_device_is_commanded(patch: pytest.MonkeyPatch) -> None:
    def may_go(self: MemoryTargets, row: TargetRecord, now: int) -> bool:
        due = row.target.due
        return (due is None or due <= now) and row.device_id not in self._at_work

    wrap(patch, MemoryTargets, "_may_go", lambda _: may_go)


@planted("A device that is at work in one run is released in another.", OneWorkPerDevice)
def device_is_released_in_two_runs(patch: pytest.MonkeyPatch) -> None:
    def may_go(self: MemoryTargets, row: TargetRecord, now: int) -> bool:
        due = row.target.due
        return (due is None or due <= now) and self._devices.is_fit(row.device_id)

    def noting(note: Any) -> Any:
        def noted(self: MemoryTargets, before: TargetRecord | None, after: TargetRecord) -> None:
            if before is None or before.target.state is not TargetState.IN_PROGRESS:
                self._at_work.pop(after.device_id, None)
            note(self, before, after)

        return noted

    wrap(patch, MemoryTargets, "_may_go", lambda _: may_go)
    wrap(patch, MemoryTargets, "_note_work", noting)


# --- leases and clocks ------------------------------------------------------------------------------------------


def _before_each_step(patch: pytest.MonkeyPatch, change: Callable[..., tuple[Target, Any, Policy]]) -> None:
    """Let *change* have its way with what `target.step` is given."""
    wrap(patch, target, "step", lambda step: lambda *given: step(*change(*given)))


@planted("An attempt is given up, and tried again, when half of its lease is over.", ClocksAreRunTime)
def retry_comes_before_the_lease_ends(patch: pytest.MonkeyPatch) -> None:
    def halved(row: Target, event: Any, policy: Policy) -> tuple[Target, Any, Policy]:
        spans = policy.timeouts
        half = replace(spans, accept_ms=spans.accept_ms // 2, lease_ms=spans.lease_ms // 2)
        return row, event, replace(policy, timeouts=half)

    _before_each_step(patch, halved)


@planted("A report does not renew the lease.", ClocksAreRunTime)
def reports_do_not_renew_the_lease(patch: pytest.MonkeyPatch) -> None:
    def around(step: Any) -> Any:
        def stepped(row: Target, event: Any, policy: Policy) -> Any:
            after, effects = step(row, event, policy)
            is_renewed = isinstance(event, Reported) and after.state is TargetState.IN_PROGRESS
            return (replace(after, due=row.due) if is_renewed else after), effects

        return stepped

    wrap(patch, target, "step", around)


@planted("The clock of a run goes on while the run is paused.", ClocksAreRunTime)
def run_clock_ticks_in_a_pause(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, clock.RunClock, "stopped", lambda _: lambda self, _at: self)


@planted("The time in which the controller was down counts against leases.", ClocksAreRunTime)
def downtime_is_not_taken_out(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Advance, "_skip", lambda skip: lambda self, _gap_ms: skip(self, 0))


@planted("The deadlines of devices are left out of what a run is woken for.", LIVENESS)
def wake_up_is_missed(patch: pytest.MonkeyPatch) -> None:
    def wake_at(_self: Advance, record: RunRecord) -> Any:
        return run.next_deadline(record.plan, record.run)

    wrap(patch, Advance, "_wake_at", lambda _: wake_at)


@planted("The deadlines of stages are left out of what a run is woken for.", LIVENESS)
def stage_deadline_is_missed(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, run, "next_deadline", lambda _: lambda _plan, _run: None)


# --- attempts ---------------------------------------------------------------------------------------------------


@planted("A device gets one attempt more than its budget.", AttemptsFollowEachOther)
def budget_is_off_by_one(patch: pytest.MonkeyPatch) -> None:
    def richer(row: Target, event: Any, policy: Policy) -> tuple[Target, Any, Policy]:
        return row, event, replace(policy, retry=replace(policy.retry, attempts_max=policy.retry.attempts_max + 1))

    _before_each_step(patch, richer)


@planted("A late report of an old attempt is taken for one of the current attempt.", AcknowledgedIsStored)
def late_report_of_an_old_attempt_wins(patch: pytest.MonkeyPatch) -> None:
    def renumbered(row: Target, event: Any, policy: Policy) -> tuple[Target, Any, Policy]:
        return row, (replace(event, attempt=row.attempt) if isinstance(event, Reported) else event), policy

    _before_each_step(patch, renumbered)


@planted("A late success overwrites an end that was counted.", StatesFollowTables)
def late_success_overwrites_an_end(patch: pytest.MonkeyPatch) -> None:
    def around(step: Any) -> Any:
        def stepped(row: Target, event: Any, policy: Policy) -> Any:
            after, effects = step(row, event, policy)
            if after.late_success_at is not None and row.late_success_at is None:
                after = replace(after, state=TargetState.SUCCEEDED, attempt_state=AttemptState.SUCCEEDED, reason=None)
            return after, effects

        return stepped

    wrap(patch, target, "step", around)


@planted("A resume makes new commands for work that devices have accepted.", AttemptsFollowEachOther)
def resume_commands_accepted_work_again(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, advance, "is_unaccepted", lambda _: lambda target: not target.cancel_requested)


# --- stops ------------------------------------------------------------------------------------------------------


@planted("The rows that are cancelled are not counted as such.", CountersAddUp)
def cancelled_rows_move_no_counter(patch: pytest.MonkeyPatch) -> None:
    def around(cancel: Any) -> Any:
        def cancelled(self: Advance, *given: Any) -> Sequence[Any]:
            cancel(self, *given)
            return ()

        return cancelled

    wrap(patch, Advance, "_cancel", around)


def _never_say(patch: pytest.MonkeyPatch, silent: Mode) -> None:
    def around(control: Any) -> Any:
        def controlled(self: Advance, record: RunRecord, rows: Iterable[TargetRecord], mode: Mode) -> None:
            if mode is not silent:
                control(self, record, rows, mode)

        return controlled

    wrap(patch, Advance, "control", around)


@planted("Devices at work are not told that they are called back.", StopsAreTold)
def recall_is_not_sent(patch: pytest.MonkeyPatch) -> None:
    _never_say(patch, Mode.CANCEL)


@planted("Devices at work are not told of a pause.", StopsAreTold)
def hold_is_not_sent(patch: pytest.MonkeyPatch) -> None:
    _never_say(patch, Mode.HOLD)


@planted("A stage leaves out one of the devices that belong to it.", NobodyIsLeftOut)
def device_is_left_out(patch: pytest.MonkeyPatch) -> None:
    def around(matching: Any) -> Any:
        return lambda self, wanted: matching(self, wanted)[:-1]

    wrap(patch, MemoryDevices, "matching", around)


@planted("A stage in which a device failed is passed over by itself.", OnlyByHand)
def stage_is_skipped_by_itself(patch: pytest.MonkeyPatch) -> None:
    def around(verdict: Any) -> Any:
        def given(self: Any, index: int, state: StageState, reason: str) -> None:
            verdict(self, index, StageState.SKIPPED if state is StageState.FAILED else state, reason)

        return given

    wrap(patch, Decision, "verdict", around)


@planted("A device whose lease ends is given up.", OnlyByHand)
def device_is_given_up_by_itself(patch: pytest.MonkeyPatch) -> None:
    def around(step: Any) -> Any:
        def stepped(before: Target, event: target.Event, policy: Policy) -> Any:
            if isinstance(event, target.DueReached) and before.state is TargetState.IN_PROGRESS:
                event = target.GivenUp(at=event.at, detail="late")
            return step(before, event, policy)

        return stepped

    wrap(patch, target, "step", around)


@planted("A device that is given up is not called back, and begins all the same.", StopsAreTold)
def given_up_device_is_not_called_back(patch: pytest.MonkeyPatch) -> None:
    def around(give_up: Any) -> Any:
        def given(advance: Any, *rest: Any) -> Any:
            advance.control = lambda *_: None
            ended = give_up(advance, *rest)
            del advance.control
            return ended

        return given

    wrap(patch, giving_up, "_give_up", around)
