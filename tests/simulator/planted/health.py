"""Bugs in what becomes of a release after its success: who watches, what is told, and what it counts for."""

from typing import Any

import msgspec
import pytest

from agent.core import machine as agent
from agent.core import work
from agent.core.turn import Turn
from controller.app.commands import Maker
from controller.domain.counters import Tally
from controller.domain.gates import judgement
from controller.domain.target import Target, TargetState, health, machine, model
from protocol.health import HEALTH, WATCH
from simulator.virtual.laws.counters import CountersAddUp
from simulator.virtual.laws.marks import MarksCount, WatchesEndInAWord
from simulator.virtual.laws.stages import GatesHold
from tests.simulator.planted.planted import planted, wrap


@planted("Harm that is told before the success has come is forgotten.", MarksCount, first_seed=370)
def early_mark_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    def around(marked: Any) -> Any:
        def strict(target: Target, *rest: Any) -> Any:
            return marked(target, *rest) if target.state is TargetState.SUCCEEDED else (target, ())

        return strict

    wrap(patch, machine, "marked", around)


@planted("A device that tells of harm is shown as unwell, and the build is not blamed.", MarksCount)
def harm_is_not_blamed(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, health, "_blamed", lambda _: lambda target: target)


@planted(
    "Who tells of harm counts as a success that is none, also where it never was one.", CountersAddUp, first_seed=370
)
def unwell_is_counted_in_any_state(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, model, "_counts_as_unwell", lambda _: lambda target: target.is_unwell)


@planted("A stage passes with successes that crashed since.", GatesHold, first_seed=70)
def crashed_devices_are_successes(patch: pytest.MonkeyPatch) -> None:
    def around(is_success: Any) -> Any:
        def blind(gate: Any, tally: Tally) -> Any:
            return is_success(gate, msgspec.structs.replace(tally, unwell=0))

        return blind

    wrap(patch, judgement, "is_success", around)


@planted("A restart of the agent ends what it watches.", WatchesEndInAWord, first_seed=220)
def restart_ends_the_watch(patch: pytest.MonkeyPatch) -> None:
    def ends(turn: Turn) -> None:
        turn.keep(watch=None)

    wrap(patch, agent, "resume_watch", lambda _: ends)


@planted("A watch that newer work ends early stays silent.", WatchesEndInAWord)
def early_end_is_silent(patch: pytest.MonkeyPatch) -> None:
    def silent(turn: Turn) -> None:
        turn.keep(watch=None)

    wrap(patch, work, "give_way", lambda _: silent)


@planted("Every device is asked to watch, whatever its agent can do.", WatchesEndInAWord)
def everybody_is_asked_to_watch(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Maker, "_capabilities", lambda _: lambda _self, targets: {one.name: (HEALTH, WATCH) for one in targets})
