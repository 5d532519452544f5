"""Bugs in what is made of devices that are offline after their success."""

from typing import Any

import msgspec
import pytest

from controller.app import silence as watching
from controller.domain import silence as facts
from controller.domain.target import Target, model
from controller.domain.target import silence as of_target
from simulator.virtual.laws.counters import CountersAddUp
from simulator.virtual.laws.silence import SilenceCounts
from tests.simulator.planted.planted import planted, wrap


@planted("Nobody looks whether others are gone as well before a build is blamed.", SilenceCounts)
def others_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, facts, "is_blind", lambda _: lambda _facts: False)


@planted("A device that comes back is taken to be away.", SilenceCounts)
def who_comes_back_is_away(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, watching, "came", lambda _: lambda _advance, _ids: None)


@planted("Who goes is never silent, whatever its gate says.", SilenceCounts)
def nobody_goes(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, watching, "went", lambda _: lambda *_: None)


@planted("A device that falls silent is not blamed on the build.", SilenceCounts)
def silence_is_not_blamed(patch: pytest.MonkeyPatch) -> None:
    def around(fallen_silent: Any) -> Any:
        def lenient(target: Target) -> Target:
            fallen: Target = fallen_silent(target)
            return msgspec.structs.replace(fallen, is_blamed=target.is_blamed)

        return lenient

    wrap(patch, of_target, "fallen_silent", around)


@planted("A device that fell silent is a success of its stage.", CountersAddUp)
def silent_devices_are_successes(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, model, "_counts_as_unwell", lambda _: lambda target: target.is_unwell and target.state == "succeeded")


@planted(
    "A controller that has just begun takes those for connected that have not said hello to it.",
    SilenceCounts,
    first_seed=60,
)
def all_are_there_at_a_start(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, watching, "begun", lambda _: lambda _advance: None)
