"""Bugs in runs over an earlier run: who is tried again, who is taken back, when, and to what."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from controller.app import membership, reruns
from controller.app.records import PastTarget
from controller.domain.pipeline import OnFailure
from controller.domain.rerun import LeftOut, Purpose, Source
from controller.domain.settle import whole
from controller.domain.settle.decision import Decision
from controller.domain.states import RunState
from protocol.messages import InstalledRelease
from simulator.memory.targets import MemoryTargets
from simulator.virtual.laws.retries import RetriesWhatFailed
from simulator.virtual.laws.rollbacks import BackToWhatWasThere
from tests.simulator.planted.planted import planted, wrap

replace = msgspec.structs.replace


@planted("A device that was never sent anything is taken back, too.", BackToWhatWasThere)
def device_that_was_not_reached_is_taken_back(patch: pytest.MonkeyPatch) -> None:
    def around(_reached: Any) -> Any:
        def everyone(self: MemoryTargets, stage_ids: Sequence[int]) -> list[PastTarget]:
            return [self._past(row) for id_ in stage_ids for row in self._in_order(id_)]

        return everyone

    wrap(patch, MemoryTargets, "reached", around)


@planted("What a device had before is looked up when it has the new version.", BackToWhatWasThere)
def version_before_is_that_of_now(patch: pytest.MonkeyPatch) -> None:
    def around(wanted: Any) -> Any:
        def now(plan: Any, source: Source, past: PastTarget) -> str | None:
            is_own = source.purpose is Purpose.ROLLBACK and not source.version
            highest = max(plan.releases, key=lambda version: plan.releases[version].counter, default=None)
            return highest if is_own else wanted(plan, source, past)

        return now

    wrap(patch, membership, "_wanted", around)


@planted("A device is sent below its floor.", BackToWhatWasThere)
def floor_of_a_device_is_ignored(patch: pytest.MonkeyPatch) -> None:
    def around(unfit: Any) -> Any:
        def careless(wanted: str | None, installed: Sequence[InstalledRelease], releases: Any) -> Any:
            return unfit(wanted, [replace(one, floor=0) for one in installed], releases)

        return careless

    wrap(patch, membership, "unfit", around)


@planted("A run is rolled back as often as somebody asks for it.", BackToWhatWasThere, first_seed=140)
def run_is_rolled_back_twice(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, reruns, "_require_not_rolled_back", lambda _: lambda *_given: None)


@planted("A rollback begins while devices of the first run are still at work.", BackToWhatWasThere)
def rollback_begins_before_the_run_has_ended(patch: pytest.MonkeyPatch) -> None:
    def around(end: Any) -> Any:
        def ended(self: Any) -> None:
            stages = self.run.stages
            if self.run.rollback is not None and self.run.state in {RunState.RUNNING, RunState.TERMINATING}:
                settled = tuple(replace(stage, tally=replace(stage.tally, in_progress=0, queued=0)) for stage in stages)
                self.run = replace(self.run, stages=settled)
                end(self)
                self.run = replace(self.run, stages=stages)
            else:
                end(self)

        return ended

    wrap(patch, whole, "_end", around)


@planted("A stage that fails takes nobody back, though it says that it does.", BackToWhatWasThere, first_seed=140)
def failing_stage_takes_nobody_back(patch: pytest.MonkeyPatch) -> None:
    def around(fail: Any) -> Any:
        return lambda self, stage, reason: fail(self, replace(stage, on_failure=OnFailure.STOP_RUN), reason)

    wrap(patch, Decision, "_fail", around)


@planted("A rollback leaves out one of the devices that could go back.", BackToWhatWasThere)
def device_is_not_taken_back(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, MemoryTargets, "reached", lambda reached: lambda self, stage_ids: reached(self, stage_ids)[:-1])


@planted("A retry tries everybody again.", RetriesWhatFailed)
def retry_takes_those_who_succeeded(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, MemoryTargets, "unsuccessful", lambda _: lambda self, ids, **_given: self.reached(ids))


@planted("A retry leaves out those who were missed.", RetriesWhatFailed, first_seed=50)
def retry_forgets_one_device(patch: pytest.MonkeyPatch) -> None:
    def around(chosen: Any) -> Any:
        def fewer(plan: Any, source: Source, past: Sequence[PastTarget]) -> Any:
            found = chosen(plan, source, past)
            forgotten: tuple[LeftOut, ...] = found.left_out
            is_retry = source.purpose is Purpose.RETRY
            return replace(found, members=found.members[:-1] if is_retry else found.members, left_out=forgotten)

        return fewer

    wrap(patch, membership, "chosen", around)
