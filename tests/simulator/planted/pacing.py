"""Bugs in how fast devices go, and in the freeze calendar."""

from typing import Any

import msgspec
import pytest

from controller.app import releasing, wakeups
from controller.app.advance import Advance
from controller.app.controller import Controller
from controller.app.ports import Priority
from controller.app.repositories import Transaction
from controller.domain import pace, run
from controller.domain.model import Run
from controller.domain.settle.decision import Decision
from controller.domain.target import Suspended
from simulator.virtual.laws.freezes import FreezesHold
from simulator.virtual.laws.pace import RatesHold
from simulator.virtual.trial import LIVENESS
from tests.simulator.planted.planted import planted, wrap

replace = msgspec.structs.replace


def _unpaced(state: Run) -> Run:
    return replace(state, stages=tuple(replace(stage, paced_until=None) for stage in state.stages))


@planted("A stage that was paused may release at once, whatever its rate.", RatesHold, first_seed=150)
def pause_is_followed_by_a_burst(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, run, "_going", lambda going: lambda state, *rest: going(_unpaced(state), *rest))


@planted("A restart forgets how long a stage with a rate must wait.", RatesHold, first_seed=50)
def rate_is_forgotten_by_a_restart(patch: pytest.MonkeyPatch) -> None:
    def forget(tx: Transaction) -> None:
        for run_id in tx.runs.active_ids():
            record = tx.runs.get(run_id)
            tx.runs.save(replace(record, run=_unpaced(record.run)))

    def around(recover: Any) -> Any:
        async def recovered(controller: Controller) -> int:
            await controller.store.write(forget, priority=Priority.HOUSEKEEPING)
            gap_ms: int = await recover(controller)
            return gap_ms

        return recovered

    wrap(patch, wakeups, "recover", around)


@planted("A rate grows with each device that is released.", RatesHold, first_seed=50)
def rate_grows_too_soon(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, pace, "present", lambda present: lambda growth, *, succeeded: present(growth, succeeded=succeeded + 1))


@planted("A freeze begins and ends without waking its runs.", LIVENESS)
def end_of_a_freeze_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, run, "next_freeze_change", lambda _: lambda _run, _at: None)


@planted("What is unsent when a freeze is added is sent.", FreezesHold, first_seed=60)
def freeze_voids_nothing(patch: pytest.MonkeyPatch) -> None:
    def suspended(self: Advance, run_id: int) -> tuple[()]:
        self._step(run_id, self.tx.targets.in_flight(run_id), Suspended())
        return ()

    wrap(patch, Advance, "_suspend", lambda _: suspended)


@planted("A newer command is made though a freeze holds.", FreezesHold)
def freeze_lets_commands_be_made_anew(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, releasing, "in_force", lambda _: lambda _freezes, _at: None)
    wrap(patch, Run, "may_send", lambda _: lambda self, _at: not self.is_paused)


@planted("A stage opens in a freeze.", FreezesHold)
def stage_opens_in_a_freeze(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Decision, "may_open", property(lambda self: not self.run.is_paused))
