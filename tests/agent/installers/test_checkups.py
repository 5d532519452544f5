"""Apps that are attended to are probed, and those that are not well are told of."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from agent.installers.checkups import BAD_MAX, Checkups, Patient
from agent.installers.manifest import Manifest, Probe
from agent.installers.probe import Target
from protocol.health import Mark
from protocol.ids import AppName

SHOP, TILL = AppName("shop"), AppName("till")
FINE = ("sh", "-c", "exit 0")
ILL = ("sh", "-c", "echo too warm >&2; exit 3")


class Ward:
    """Apps by how they are, and what was told of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: dict[AppName, tuple[str, ...]] = {SHOP: FINE, TILL: FINE}
        self.ended: set[AppName] = set()
        self.told: list[tuple[AppName, Mark, int, str]] = []
        self.checkups = Checkups(self.patients, lambda *told: self.told.append(told))

    def patients(self) -> dict[AppName, Patient]:
        return {app: self._patient(app, command) for app, command in self.commands.items()}

    def _patient(self, app: AppName, command: tuple[str, ...]) -> Patient:
        end = "it has ended" if app in self.ended else None
        target = Target(folder=self.folder, env={"PATH": "/bin:/usr/bin"}, port=1, ended=lambda: end)
        return Patient(target, Manifest(name=app, version="1.0", start=FINE, probe=Probe(command=command)))

    def look(self, times: int) -> list[tuple[AppName, Mark, int]]:
        for _ in range(times):
            self.checkups.look()
        return [told[:3] for told in self.told]


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    """Return two apps, of which the shop is attended to."""
    ward = Ward(tmp_path)
    ward.checkups.attend(frozenset({SHOP}))
    yield ward
    ward.checkups.close()


def test_an_app_whose_probe_fails_again_and_again_is_told_of_once(ward: Ward) -> None:
    ward.commands[SHOP] = ILL
    assert ward.look(BAD_MAX - 1) == []
    assert ward.look(1) == [(SHOP, Mark.UNWELL, BAD_MAX)]
    assert "too warm" in ward.told[0][3]
    assert len(ward.look(5)) == 1


def test_a_good_look_in_between_begins_the_count_anew(ward: Ward) -> None:
    ward.commands[SHOP] = ILL
    ward.look(BAD_MAX - 1)
    ward.commands[SHOP] = FINE
    ward.look(1)
    ward.commands[SHOP] = ILL
    assert ward.look(BAD_MAX - 1) == []


def test_an_app_that_nobody_attends_to_is_not_looked_at(ward: Ward) -> None:
    ward.commands[TILL] = ILL
    assert ward.look(BAD_MAX + 1) == []


def test_an_app_that_is_attended_to_no_more_is_forgotten(ward: Ward) -> None:
    ward.commands[SHOP] = ILL
    ward.look(BAD_MAX - 1)
    ward.checkups.attend(frozenset())
    ward.look(1)
    ward.checkups.attend(frozenset({SHOP}))
    assert ward.look(BAD_MAX - 1) == []


@pytest.mark.parametrize("seen", [BAD_MAX - 1, BAD_MAX, BAD_MAX + 2])
def test_who_attends_anew_begins_the_count_anew_even_without_a_look_in_between(ward: Ward, seen: int) -> None:
    ward.commands[SHOP] = ILL
    ward.look(seen)
    ward.told.clear()
    ward.checkups.attend(frozenset())
    ward.checkups.attend(frozenset({SHOP}))
    assert ward.look(BAD_MAX - 1) == []
    assert ward.look(1) == [(SHOP, Mark.UNWELL, BAD_MAX)]


def test_a_look_that_began_for_an_earlier_watch_tells_the_next_one_nothing(ward: Ward) -> None:
    ward.commands[SHOP] = ILL
    ward.look(BAD_MAX - 1)
    patients = ward.patients

    def slowly() -> dict[AppName, Patient]:
        ward.checkups.attend(frozenset({SHOP}))
        return patients()

    ward.checkups._patients = slowly
    assert ward.look(1) == []
    ward.checkups._patients = patients
    assert ward.look(BAD_MAX - 1) == []
    assert ward.look(1) == [(SHOP, Mark.UNWELL, BAD_MAX)]


def test_a_service_that_has_ended_is_left_to_whoever_starts_it_again(ward: Ward) -> None:
    ward.commands[SHOP] = ILL
    ward.ended.add(SHOP)
    assert ward.look(BAD_MAX + 1) == []


class Warm(BaseHTTPRequestHandler):
    """A service that answers, and is not well."""

    def do_GET(self) -> None:
        self.send_error(503)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_service_that_runs_and_answers_with_an_error_is_unwell(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Warm) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        target = Target(folder=tmp_path, env={}, port=server.server_port, ended=lambda: None)
        probe = Probe(http="http://127.0.0.1:{port}/healthz")
        patient = Patient(target, Manifest(name="shop", version="1.0", start=FINE, probe=probe))
        told: list[str] = []
        checkups = Checkups(lambda: {SHOP: patient}, lambda _app, _mark, _count, detail: told.append(detail))
        checkups.attend(frozenset({SHOP}))
        for _ in range(BAD_MAX):
            checkups.look()
        checkups.close()
        server.shutdown()
    assert ["answers 503" in said for said in told] == [True]
