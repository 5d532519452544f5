"""Bugs in what people must agree to: withdrawn releases, approvals, and devices that join a stage late."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from controller.app import devices, joining, withdrawal, withdrawn
from controller.domain import approval, newcomers, run
from controller.domain.model import Plan, Run
from controller.domain.states import StageState
from simulator.virtual.laws.consent import ApprovedByOthers, NothingWithdrawnIsSent
from simulator.virtual.laws.counters import CountersAddUp
from simulator.virtual.laws.joining import NewcomersJoin
from simulator.virtual.laws.membership import OnlyMembers
from tests.simulator.planted.planted import planted, wrap

replace = msgspec.structs.replace

# --- withdrawals ------------------------------------------------------------------------------------------------


@planted("A withdrawal lets runs of the release go on.", NothingWithdrawnIsSent)
def withdrawal_holds_no_run(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, withdrawal, "_hold", lambda _: lambda *_args: None)


@planted("A run that a withdrawal holds can be resumed.", NothingWithdrawnIsSent, first_seed=200)
def withdrawal_is_lifted_by_a_resume(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, withdrawn, "require_none", lambda _: lambda _record: None)


@planted("A run of a withdrawn release begins.", NothingWithdrawnIsSent)
def withdrawn_release_is_started(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, withdrawn, "require_usable", lambda _: lambda _release: None)


# --- approvals --------------------------------------------------------------------------------------------------


@planted("The author and who started the run approve, too.", ApprovedByOthers, first_seed=40)
def own_work_is_approved(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, approval, "is_barred", lambda _: lambda *_given: False)


@planted("One approval fewer than asked for is enough.", ApprovedByOthers)
def one_approval_is_let_off(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, approval, "missing", lambda missing: lambda *given: max(0, missing(*given) - 1))


@planted("An approval is bound to another salt than that of its run.", ApprovedByOthers)
def approval_is_bound_to_nothing(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, run, "_approve", lambda act: lambda plan, *given: act(replace(plan, salt=""), *given))


# --- newcomers --------------------------------------------------------------------------------------------------


@planted("Devices join a stage that soaks, or that does not include new ones.", NewcomersJoin)
def stages_stay_open(patch: pytest.MonkeyPatch) -> None:
    def opened(plan: Plan, now: Run) -> tuple[int, ...]:
        states = (StageState.ROLLING_OUT, StageState.SOAKING)
        return tuple(index for index, stage in enumerate(now.stages) if stage.is_frozen and stage.state in states)

    wrap(patch, newcomers, "open_stages", lambda _: opened)


@planted("Whoever says hello joins, whether it is meant or not.", OnlyMembers, NewcomersJoin)
def everybody_joins(patch: pytest.MonkeyPatch) -> None:
    def matching(_record: Any, _stage: int, known: Sequence[Any]) -> list[Any]:
        return [candidate for candidate, _ in known]

    wrap(patch, joining, "_matching", lambda _: matching)


@planted("A device that is labelled or let in again is not looked at.", NewcomersJoin, first_seed=350)
def labelled_newcomer_is_overlooked(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, devices, "notice", lambda _: lambda *_given: None)


@planted("Newcomers are not counted.", CountersAddUp)
def newcomers_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, run, "_join", lambda _: lambda now, *_: now)
