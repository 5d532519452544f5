"""Bugs in who may begin: holds, pins, windows, preconditions, sites, and who is forgotten in the queue."""

from datetime import UTC
from typing import Any

import pytest
from msgspec.structs import replace

from controller.app import admitting, hello, paths, restraining
from controller.app.admitting import TIMEZONE, Admitting
from controller.app.records import DeviceRecord
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


@planted("All of one batch find the room that its first one found at their site.", OnlyAdmitted, first_seed=180)
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


@planted("Nobody looks from which versions a release may be installed.", OnlyAdmitted)
def paths_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, admission, "_off_the_path", lambda _: lambda *_given: iter(()))


@planted("Versions that must be passed are passed over.", OnlyAdmitted)
def steps_of_a_path_are_passed_over(patch: pytest.MonkeyPatch) -> None:
    def around(off_the_path: Any) -> Any:
        return lambda device, app, path: off_the_path(device, app, replace(path, through=()))

    wrap(patch, admission, "_off_the_path", around)


@planted("Agents are given what they cannot do.", OnlyAdmitted)
def capabilities_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Admitting, "_rules_of", lambda rules_of: lambda *given: replace(rules_of(*given), requires=()))


@planted("Windows go by the clock of the pipeline, wherever a device is.", OnlyAdmitted)
def windows_forget_where_devices_are(patch: pytest.MonkeyPatch) -> None:
    def around(applicant: Any) -> Any:
        return lambda self, device, *rest: applicant(self, _nowhere(device), *rest)

    wrap(patch, Admitting, "_applicant", around)


def _nowhere(device: DeviceRecord) -> DeviceRecord:
    told = [{name: text for name, text in said.items() if name != TIMEZONE} for said in (device.labels, device.facts)]
    return replace(device, labels=told[0], facts=told[1])


@planted("A device that tells something else of itself is not judged anew.", LIVENESS, first_seed=220)
def news_of_a_hello_free_nobody(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, hello, "_is_news", lambda _: lambda *_given: False)


@planted("Who waited for a path is not judged anew when there is another one.", LIVENESS)
def new_path_frees_nobody(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, paths, "judge_reason_again", lambda _: lambda *_given: None)


@planted("Who waited for the end of a hold is not judged anew.", LIVENESS)
def lifted_hold_frees_nobody(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, restraining, "notice", lambda _: lambda *_given: None)


@planted("Who found a site full is not judged anew when there is room.", LIVENESS)
def site_never_has_room_again(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, MemoryTargets, "unblock_site", lambda _: lambda *_given: None)


@planted("Nobody is judged anew when the window opens.", LIVENESS)
def window_opens_for_nobody(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, MemoryTargets, "unblock_checked", lambda _: lambda *_given, **_limit: None)
