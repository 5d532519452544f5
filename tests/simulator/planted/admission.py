"""Bugs in who may begin: holds, pins, windows, preconditions, sites, and who is forgotten in the queue."""

from datetime import UTC
from typing import Any

import pytest

from controller.app import admitting, restraining
from controller.app.admitting import Admitting
from controller.domain import admission, query
from simulator.memory.targets import MemoryTargets
from simulator.virtual.laws.admission import OnlyAdmitted
from simulator.virtual.trial import LIVENESS
from tests.simulator.planted.planted import planted, wrap


@planted("Holds and pins are not looked at when a device is released.", OnlyAdmitted)
def restraints_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, admission, "_restrained", lambda _: lambda *_given: iter(()))


@planted("A hold calls nothing back.", OnlyAdmitted)
def hold_calls_nothing_back(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, restraining, "_call_back", lambda _: lambda *_given: None)


@planted("Windows go by the clock of the controller.", OnlyAdmitted)
def windows_go_by_the_wrong_clock(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, admitting, "zone_of", lambda _: lambda _name: UTC)


@planted("A command that is made anew is not judged anew.", OnlyAdmitted)
def reissue_is_not_judged(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Admitting, "refused", lambda _: lambda *_given: {})


@planted("Who is at work at a site is forgotten from one transaction to the next.", OnlyAdmitted)
def work_at_sites_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, MemoryTargets, "at_site", lambda _: lambda *_given: {})


@planted("All of one batch find the room that its first one found at their site.", OnlyAdmitted, first_seed=50)
def batch_overfills_a_site(patch: pytest.MonkeyPatch) -> None:
    class Forgetful(dict[str, int]):
        def __setitem__(self, key: str, value: int) -> None:
            return

    def around(at_site: Any) -> Any:
        return lambda *given: Forgetful(at_site(*given))

    wrap(patch, MemoryTargets, "at_site", around)


@planted("A precondition is judged as if it were its opposite.", OnlyAdmitted)
def precondition_is_turned_around(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, query, "matches", lambda matches: lambda *given: not matches(*given))


@planted("Who waited for the end of a hold is not judged anew.", LIVENESS)
def lifted_hold_frees_nobody(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, restraining, "notice", lambda _: lambda *_given: None)


@planted("Who found a site full is not judged anew when there is room.", LIVENESS)
def site_never_has_room_again(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, MemoryTargets, "unblock_site", lambda _: lambda *_given: None)


@planted("Nobody is judged anew when the window opens.", LIVENESS)
def window_opens_for_nobody(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, MemoryTargets, "unblock_checked", lambda _: lambda *_given, **_limit: None)
