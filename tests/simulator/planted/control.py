"""Bugs in control groups: who is held back, what is compared, and when those are updated."""

from typing import Any

import msgspec
import pytest

from controller.app import held_back
from controller.app.commands import Maker
from controller.app.releasing import Releasing
from controller.domain import control, run
from controller.domain.control import ControlRun
from controller.domain.events import Discharge
from controller.domain.settle import whole
from controller.domain.settle.decision import Decision
from controller.domain.states import StageState
from controller.domain.target import Target, machine
from simulator.virtual.laws.control import ComparisonsHold, HeldBackAreApart, HeldBackOnlyWatch
from simulator.virtual.laws.counters import CountersAddUp
from simulator.virtual.laws.marks import MarksCount
from simulator.virtual.laws.pace import InFlightIsBounded, RatesHold
from tests.simulator.planted.planted import planted, wrap


@planted("Who crashed is taken for a device that may still crash.", ComparisonsHold, first_seed=120)
def crashed_are_still_at_risk(patch: pytest.MonkeyPatch) -> None:
    def around(moved: Any) -> Any:
        return lambda here, delta: here if delta.crashed else moved(here, delta)

    wrap(patch, control, "_moved", around)


@planted("Crashes of all models are compared with each other.", ComparisonsHold, first_seed=240)
def models_are_mixed(patch: pytest.MonkeyPatch) -> None:
    def around(counted: Any) -> Any:
        def mixed(group: ControlRun, deltas: Any, **rules: Any) -> Any:
            name = min(group.strata)
            return counted(group, [msgspec.structs.replace(delta, model=name) for delta in deltas], **rules)

        return mixed

    wrap(patch, control, "counted", around)


@planted("Who is held back is counted among the devices of the stage.", CountersAddUp, HeldBackAreApart, "no fault")
def held_back_are_counted(patch: pytest.MonkeyPatch) -> None:
    def around(fold: Any) -> Any:
        def blind(plan: Any, before: Any, event: Any) -> Any:
            deltas = {
                index: tuple(msgspec.structs.replace(delta, is_control=False) for delta in changes)
                for index, changes in event.deltas.items()
            }
            return fold(plan, before, msgspec.structs.replace(event, deltas=deltas))

        return blind

    wrap(patch, run, "_fold", around)


@planted("Crashes that are compared are blamed on the build, too.", MarksCount)
def compared_are_blamed(patch: pytest.MonkeyPatch) -> None:
    def around(marked: Any) -> Any:
        def strict(target: Target, event: Any, policy: Any) -> Any:
            told, effects = marked(target, event, policy)
            return (msgspec.structs.replace(told, is_blamed=True) if told.is_unwell else told), effects

        return strict

    wrap(patch, machine, "marked", around)


@planted("Devices are updated that are held back while their stage still soaks.", HeldBackOnlyWatch)
def discharged_before_the_pass(patch: pytest.MonkeyPatch) -> None:
    def around(look: Any) -> Any:
        def hasty(decision: Decision, index: int) -> None:
            look(decision, index)
            at_work = decision.run.stages[index]
            if at_work.state is StageState.SOAKING and at_work.control and at_work.control.dischargeable:
                decision.effects.append(Discharge(stage=index))

        return hasty

    wrap(patch, whole, "_open_stage", around)


@planted(
    "A person who lets a run go on is stopped by crashes no more.",
    ComparisonsHold,
    first_seed=950,
)
def breach_is_told_once_for_all(patch: pytest.MonkeyPatch) -> None:
    def around(is_breached: Any) -> Any:
        return lambda group, **rules: group.breach is None and is_breached(group, **rules)

    wrap(patch, control, "is_breached", around)


@planted("Who is held back is told to install.", HeldBackOnlyWatch)
def held_back_install(patch: pytest.MonkeyPatch) -> None:
    def around(begin: Any) -> Any:
        return lambda self, record, kind: begin(self, record, (*kind[:2], False))

    wrap(patch, Maker, "_begin", around)


@planted("The order is gone through for all alike, held back or not.", InFlightIsBounded, RatesHold)
def places_do_not_matter(patch: pytest.MonkeyPatch) -> None:
    def around(ready: Any) -> Any:
        def blind(self: Any, record: Any, release: Any, now: int, limit: int) -> Any:
            return ready(self, record, msgspec.structs.replace(release, is_control=False), now, limit)

        return blind

    wrap(patch, Releasing, "_ready", around)


@planted("Twice as many devices are held back as were meant.", HeldBackAreApart)
def too_many_are_held_back(patch: pytest.MonkeyPatch) -> None:
    def around(first: Any) -> Any:
        def greedy(*found: Any) -> Any:
            held, others = first(*found)
            return (held, others) if len(others) <= len(held) else ([*held, others[0]], others[1:])

        return greedy

    wrap(patch, held_back, "first", around)
