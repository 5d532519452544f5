"""Outputs of a release: who writes them, when they are forgotten, and what a hostile app may leave there."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.errors import OutputsRefused, StepFailed
from agent.installers import outputs
from protocol.ids import AppName
from tests.agent.installers.bench import SERVICE, Bench, manifest, service, tar_of

WRITES = "import os\nopen(os.environ['TIDEGATE_OUTPUTS'] + '/outputs.json', 'w').write({told!r})\n"


def told(text: str, version: str = "1.0") -> dict[str, object]:
    """Return the members of an app whose probe writes *text*."""
    probe = {"command": ["python3", "check.py"], "timeout_ms": 4_000, "interval_ms": 20}
    return {"app.json": manifest(version, probe=probe), "check.py": WRITES.format(told=text)}


def test_a_probe_tells_outputs(bench: Bench) -> None:
    job = bench.job(tar_of(told('{"boot_ms": 840}')))
    bench.update(job)
    assert bench.installer.outputs(job) == {"boot_ms": 840}


def test_a_service_tells_outputs(bench: Bench) -> None:
    members = service()
    members["service.py"] = "STATUS, BODY = 200, b''\n" + WRITES.format(told='{"kernel": "6.1"}') + SERVICE
    job = bench.job(tar_of(members))
    bench.update(job)
    assert bench.installer.outputs(job) == {"kernel": "6.1"}


def test_an_app_tells_now_what_it_wrote_last(bench: Bench) -> None:
    bench.update(bench.job(tar_of(told('{"boot_ms": 840}'))))
    (bench.home / "outputs" / "outputs.json").write_text('{"scan_ms": 12.5}')
    bench.restart()
    assert bench.installer.tell(AppName("shop")) == {"scan_ms": 12.5}
    assert bench.installer.tell(AppName("till")) == {}


def test_a_release_is_not_taken_to_tell_what_the_one_before_it_told(bench: Bench) -> None:
    bench.update(bench.job(tar_of(told('{"boot_ms": 840}'))))
    silent = bench.job(tar_of({"app.json": manifest("2.0")}), "2.0")
    bench.update(silent)
    assert bench.installer.outputs(silent) == {}


def test_a_release_is_not_taken_to_tell_what_the_one_told_that_was_rolled_back(bench: Bench) -> None:
    bench.update(bench.job(tar_of({"app.json": manifest()})))
    bad = bench.job(tar_of(told('{"boot_ms": 9000}', "2.0")), "2.0")
    bench.installer.install(bad)
    bench.installer.verify(bad)
    bench.installer.roll_back(bad)
    assert bench.installer.tell(AppName("shop")) == {}


def test_a_restart_forgets_no_outputs(bench: Bench) -> None:
    job = bench.job(tar_of(told('{"boot_ms": 840}')))
    bench.installer.install(job)
    bench.installer.verify(job)
    bench.restart()
    assert bench.installer.outputs(job) == {"boot_ms": 840}


def test_a_release_that_is_not_healthy_tells_outputs(bench: Bench) -> None:
    members = told('{"boot_ms": 9000}')
    probe = {"command": ["python3", "check.py"], "timeout_ms": 100, "interval_ms": 20}
    members |= {"app.json": manifest(probe=probe), "check.py": f"{members['check.py']}raise SystemExit(1)"}
    job = bench.job(tar_of(members))
    bench.installer.install(job)
    with pytest.raises(StepFailed, match="ended with 1"):
        bench.installer.verify(job)
    assert bench.installer.outputs(job) == {"boot_ms": 9000}


def test_a_command_cannot_say_where_outputs_go(bench: Bench) -> None:
    with pytest.raises(StepFailed, match="may not set the variable"):
        bench.installer.install(bench.job(tar_of({"app.json": manifest()}), TIDEGATE_OUTPUTS="/tmp"))


def _link_to_elsewhere(home: Path) -> None:
    (home / "secret").write_text('{"a": 1}')
    (home / "outputs" / "outputs.json").symlink_to(home / "secret")


def _linked_folder(home: Path) -> None:
    (home / "outputs").rename(home / "elsewhere")
    (home / "elsewhere" / "outputs.json").write_text('{"a": 1}')
    (home / "outputs").symlink_to(home / "elsewhere")


def _file_for_a_folder(home: Path) -> None:
    (home / "outputs").rmdir()
    (home / "outputs").write_text("{}")


def _written(text: str) -> Callable[[Path], None]:
    def write(home: Path) -> None:
        (home / "outputs" / "outputs.json").write_text(text)

    return write


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "link": (_link_to_elsewhere, "cannot be read"),
    "linked folder": (_linked_folder, "cannot be read"),
    "file for a folder": (_file_for_a_folder, "cannot be read"),
    "folder": (lambda home: (home / "outputs" / "outputs.json").mkdir(), "cannot be read|no plain file"),
    "pipe": (lambda home: os.mkfifo(home / "outputs" / "outputs.json"), "no plain file"),
    "device": (lambda home: (home / "outputs" / "outputs.json").symlink_to("/dev/zero"), "cannot be read"),
    "too long": (_written('{"a": "' + "x" * 5_000_000), "more than 4096 bytes"),
    "no JSON": (_written("boot_ms=840"), "outputs.json: outputs"),
    "deep": (_written("[" * 4_000), "outputs.json"),
    "a list": (_written('{"a": [1]}'), "got `array`"),
    "a terminal's orders": (_written('{"a": "\\u001b[2J"}'), "pattern|regex"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_outputs_are_refused_and_forgotten(tmp_path: Path, name: str) -> None:
    leave, why = HOSTILE[name]
    outputs.forget(tmp_path)
    leave(tmp_path)
    with pytest.raises(OutputsRefused, match=why):
        outputs.read(tmp_path)
    outputs.forget(tmp_path)
    assert outputs.read(tmp_path) == {}


def test_a_service_starts_also_where_a_file_is_in_the_way_of_its_outputs(bench: Bench) -> None:
    job = bench.job(tar_of(service()))
    bench.update(job)
    _file_for_a_folder(bench.home)
    bench.services.stop(bench.home)
    bench.installer.verify(job)


def test_where_nothing_was_installed_yet_nothing_is_told(tmp_path: Path) -> None:
    assert outputs.read(tmp_path) == {}
