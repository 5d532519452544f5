"""The archive installer: hostile archives, the switch, the way back, services, and what a crash leaves."""

import json
import os
import signal
import socket
import tarfile
import threading
import time
import urllib.request
from typing import Any

import pytest
from msgspec.structs import replace

from agent.core.events import Found
from agent.errors import Aborted, StepFailed
from agent.installers import probe as probe_module
from agent.installers import unpack as unpack_module
from agent.installers.archive import folder_of
from tests.agent.installers.bench import SERVICE, Bench, manifest, service, tar_of
from tests.agent.world import SHOP_1

# --- archives ---


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def special(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("device")
    info.type = kind
    return info


HOSTILE: dict[str, Any] = {
    "leads up": tar_of({"../evil": "x"}),
    "leads up later": tar_of({"a/../../evil": "x"}),
    "a link outside": tar_of({"x": link("x", "../../outside")}),
    "an absolute link": tar_of({"x": link("x", "/etc/passwd")}),
    "a hard link outside": tar_of({"x": link("x", "../../outside", tarfile.LNKTYPE)}),
    "through a link": tar_of({"x": link("x", ".."), "x/../../evil": "x"}),
    "a character device": tar_of({"d": special(tarfile.CHRTYPE)}),
    "a block device": tar_of({"d": special(tarfile.BLKTYPE)}),
    "a pipe": tar_of({"d": special(tarfile.FIFOTYPE)}),
    "a bomb": tar_of({"zeros": bytes(2_000_000)}),
    "no archive": b"not an archive at all",
    "cut short": tar_of({"app.json": manifest(), "x": os.urandom(50_000)})[:20_000],
    "empty": tar_of({}),
    "no manifest": tar_of({"x": "y"}),
    "a manifest that is no JSON": tar_of({"app.json": "{"}),
    "a manifest without a name": tar_of({"app.json": {"version": "1.0"}}),
    "a manifest too long": tar_of({"app.json": "x" * 70_000}),
    "a probe elsewhere": tar_of({"app.json": manifest(probe={"http": "http://example.com/"})}),
    "a manifest that is a folder": tar_of({"app.json/x": "y"}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(bench: Bench, name: str) -> None:
    outside = {path.name for path in bench.folder.iterdir()}
    job = bench.job(HOSTILE[name])
    with pytest.raises(StepFailed) as failed:
        bench.installer.install(job)
    assert failed.value.reason == "install_failed", failed.value
    bench.installer.roll_back(job)
    bench.installer.clean()
    assert [path.name for path in bench.home.iterdir()] == []
    assert {path.name for path in bench.folder.iterdir()} == outside | {job.artifact.name}


def test_an_absolute_name_stays_inside(bench: Bench) -> None:
    bench.installer.install(bench.job(tar_of({"app.json": manifest(), "/etc/inside": "x"})))
    assert (bench.home / "current/etc/inside").read_text() == "x"


def test_too_many_members_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack_module, "MEMBERS_MAX", 5)
    with pytest.raises(StepFailed, match="or 5 files"):
        bench.installer.install(bench.job(tar_of({str(n): "x" for n in range(9)})))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_the_three_kinds_of_archive_are_known(bench: Bench, mode: str) -> None:
    bench.update(bench.job(tar_of({"app.json": manifest(), "bin/tool": "x"}, mode=mode)))
    assert (bench.home / "current/bin/tool").read_text() == "x"


def test_a_file_that_changed_since_its_download_is_refused(bench: Bench) -> None:
    job = bench.job(tar_of({"app.json": manifest()}))
    job.artifact.write_bytes(tar_of({"app.json": manifest(), "evil": "x"}))
    with pytest.raises(StepFailed) as failed:
        bench.installer.install(job)
    assert failed.value.reason == "hash_mismatch"


def test_an_archive_of_another_version_is_a_mismatch(bench: Bench) -> None:
    with pytest.raises(StepFailed, match=r"expected shop 1.0") as failed:
        bench.installer.install(bench.job(tar_of({"app.json": manifest("2.0")})))
    assert failed.value.reason == "version_mismatch"


def test_unpacking_ends_when_it_is_called_off(bench: Bench) -> None:
    job = bench.job(tar_of({"app.json": manifest()}))
    job.called_off.set()
    with pytest.raises(Aborted):
        bench.installer.install(job)


# --- the switch and the way back ---


def plain(version: str) -> bytes:
    return tar_of({"app.json": manifest(version)})


def test_an_update_switches_and_a_roll_back_switches_back(bench: Bench) -> None:
    one, two = bench.job(plain("1.0")), bench.job(plain("2.0"), "2.0")
    bench.update(one)
    assert bench.installer.inspect(two) is Found.OLD
    bench.installer.install(two)
    assert (bench.current(), bench.installer.inspect(two)) == (folder_of(two.release), Found.NEW)
    for _ in range(2):
        bench.installer.roll_back(two)
        assert bench.current() == folder_of(one.release)
    assert not (bench.home / folder_of(two.release)).exists()


def test_a_first_install_rolls_back_to_nothing(bench: Bench) -> None:
    one = bench.job(plain("1.0"))
    bench.installer.roll_back(one)
    bench.installer.install(one)
    bench.installer.roll_back(one)
    assert bench.current() is None
    assert bench.installer.inspect(one) is Found.OLD


def test_a_broken_link_is_found_and_mended_by_a_roll_back(bench: Bench) -> None:
    one, two = bench.job(plain("1.0")), bench.job(plain("2.0"), "2.0")
    bench.update(one)
    bench.installer.install(two)
    (bench.home / folder_of(two.release)).rename(bench.home / "lost")
    assert bench.installer.inspect(two) is Found.BROKEN
    bench.installer.roll_back(two)
    assert bench.current() == folder_of(one.release)


def test_installing_what_is_active_and_failing_leaves_it_active(bench: Bench) -> None:
    one, two = bench.job(plain("1.0")), bench.job(plain("2.0"), "2.0")
    bench.update(one)
    bench.update(two)
    bench.installer.install(two)
    bench.installer.roll_back(two)
    assert bench.current() == folder_of(two.release)
    assert (bench.home / folder_of(two.release)).is_dir()


def test_a_version_with_odd_signs_has_a_plain_folder(bench: Bench) -> None:
    odd = replace(SHOP_1, version="../../etc:1 0")
    assert folder_of(odd) == f".._.._etc_1_0-{odd.sha256[:12]}"


def test_only_the_newest_folders_are_kept(bench: Bench) -> None:
    bench.update(bench.job(plain("0.0"), "0.0"))
    (bench.home / "data" / "precious").touch()
    for n in range(1, 6):
        bench.update(bench.job(plain(f"{n}.0"), f"{n}.0"))
    kept = sorted(path.name[:3] for path in bench.home.iterdir() if path.is_dir() and not path.is_symlink())
    assert kept == ["3.0", "4.0", "5.0", "dat", "out"]
    assert (bench.home / "data/precious").exists(), "what the app keeps is no release"


def test_a_commit_of_what_is_not_active_is_refused(bench: Bench) -> None:
    bench.update(bench.job(plain("1.0")))
    with pytest.raises(StepFailed, match="does not name"):
        bench.installer.commit(bench.job(plain("2.0"), "2.0"))


def test_a_lock_is_waited_for_and_then_a_reason(bench: Bench) -> None:
    bench.update(bench.job(plain("1.0")))
    lock = bench.home / "lock"
    lock.touch()
    two = bench.job(plain("2.0"), "2.0")
    with pytest.raises(StepFailed) as failed:
        bench.installer.prepare(two)
    assert failed.value.reason == "locked"
    bench.lock_wait_ms = 5_000
    bench.restart()
    threading.Timer(0.3, lock.unlink).start()
    bench.installer.prepare(two)
    bench.installer.install(two)
    assert bench.current() == folder_of(two.release)
    lock.touch()
    three = bench.job(plain("3.0"), "3.0")
    threading.Timer(0.3, three.called_off.set).start()
    with pytest.raises(Aborted):
        bench.installer.prepare(three)


def test_the_same_release_with_other_settings_is_not_what_is_active(bench: Bench) -> None:
    artifact = tar_of(service())
    bench.update(bench.job(artifact, COLOUR="blue"))
    assert bench.installer.inspect(bench.job(artifact, COLOUR="blue")) is Found.NEW
    assert bench.installer.inspect(bench.job(artifact, COLOUR="red")) is Found.OLD


def test_a_lock_that_comes_back_is_not_waited_for(bench: Bench) -> None:
    """By then permission was looked at, and waiting would let a hold come too late."""
    bench.update(bench.job(plain("1.0")))
    two = bench.job(plain("2.0"), "2.0")
    bench.installer.prepare(two)
    (bench.home / "lock").touch()
    with pytest.raises(StepFailed) as failed:
        bench.installer.install(two)
    assert failed.value.reason == "locked"
    assert bench.current() != folder_of(two.release)


# --- services ---


def test_a_service_runs_with_its_environment_and_is_replaced(bench: Bench) -> None:
    members = service("1.0")
    members["service.py"] = "STATUS = 200\nimport os\nBODY = os.environ['COLOUR'].encode()\n" + SERVICE
    bench.update(bench.job(tar_of(members), COLOUR="blue"))
    assert bench.ask() == "blue"
    bench.update(bench.job(tar_of(service("2.0")), "2.0"))
    assert json.loads(bench.ask()) == {"version": "2.0"}


@pytest.mark.parametrize(
    ("members", "reason", "detail"),
    [
        (service(status=500), "verify_failed", "answers 500"),
        (service(body='{"version": "0.9"}'), "version_mismatch", "says version 0.9"),
        ({**service(), "service.py": "raise SystemExit('no such thing')"}, "verify_failed", "no such thing"),
        (
            {"app.json": manifest(start=["./missing"])},
            "install_failed",
            "No such file",
        ),
        (
            {"app.json": manifest(probe={"command": ["false"], "timeout_ms": 100, "interval_ms": 20})},
            "verify_failed",
            "ended with 1",
        ),
        (
            {"app.json": manifest(probe={"command": ["missing-tool"], "timeout_ms": 100, "interval_ms": 20})},
            "verify_failed",
            "probe command",
        ),
        ({"app.json": manifest(start=["python3", "-c", "pass"])}, "verify_failed", "has ended"),
    ],
    ids=["status", "version", "crash", "no program", "command", "no command", "ends at once"],
)
def test_an_unhealthy_release_fails_and_the_old_one_comes_back(
    bench: Bench, members: dict[str, Any], reason: str, detail: str
) -> None:
    bench.update(bench.job(tar_of(service("0.1")), "0.1"))
    app = members["app.json"]
    if "http" in app.get("probe", {}):
        app = {**app, "probe": {**app["probe"], "timeout_ms": 600}}
    sick = bench.job(tar_of({**members, "app.json": app}))
    with pytest.raises(StepFailed, match=detail) as failed:
        bench.update(sick)
    assert failed.value.reason == reason
    bench.installer.roll_back(sick)
    assert until(lambda: "0.1" in bench.ask())


def test_a_probe_ends_when_it_is_called_off(bench: Bench) -> None:
    job = bench.job(tar_of(service(status=500)))
    bench.installer.install(job)
    threading.Timer(0.2, job.called_off.set).start()
    with pytest.raises(Aborted):
        bench.installer.verify(job)


def test_answers_without_a_version_are_good_enough() -> None:
    for body in (b"ok", b"[]", b'{"version": 2}', b"{}", b"\xff"):
        assert probe_module._version(body) is None


@pytest.mark.parametrize("name", ["PORT", "LD_PRELOAD", "PYTHONWARNINGS", "BROWSER", "PATH", "x", "A=B", ""])
def test_a_command_cannot_order_other_programs_about(bench: Bench, name: str) -> None:
    with pytest.raises(StepFailed, match="may not set the variable"):
        bench.installer.install(bench.job(plain("1.0"), **{name: "evil"}))
    assert bench.current() is None


def test_an_archive_may_list_what_a_command_may_set(bench: Bench) -> None:
    data = tar_of({"app.json": manifest(env=["colour"])})
    bench.installer.install(bench.job(data, colour="blue"))
    with pytest.raises(StepFailed, match="'SIZE'"):
        bench.installer.install(bench.job(data, SIZE="1"))


def until(wanted: Any, seconds: float = 8) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if wanted():
                return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


def pid_of(bench: Bench) -> int:
    found: int = json.loads((bench.home / "service.json").read_text())["pid"]
    return found


def test_a_service_that_dies_is_started_again(bench: Bench) -> None:
    bench.update(bench.job(tar_of(service())))
    old = pid_of(bench)
    os.kill(old, signal.SIGKILL)
    assert until(lambda: pid_of(bench) != old and "1.0" in bench.ask())


def test_a_new_agent_adopts_a_running_service_and_starts_a_stopped_one(bench: Bench) -> None:
    bench.update(bench.job(tar_of(service()), COLOUR="blue"))
    first = pid_of(bench)
    bench.services._watched.clear()
    bench.restart()
    bench.installer.start()
    assert pid_of(bench) == first
    bench.services.stop(bench.home)
    bench.restart()
    bench.installer.start()
    assert pid_of(bench) != first
    assert until(lambda: "1.0" in bench.ask())


def test_a_stubborn_service_is_killed(bench: Bench) -> None:
    stubborn = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)"
    app = manifest(start=["python3", "service.py"], stop_ms=200, probe={"interval_ms": 20})
    bench.update(bench.job(tar_of({"app.json": app, "service.py": stubborn})))
    pid = pid_of(bench)
    bench.services.stop(bench.home)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_app_whose_link_or_manifest_is_broken_stops_no_other(bench: Bench) -> None:
    bench.update(bench.job(tar_of(service())))
    bench.services.stop(bench.home)
    for app in ("broken", "empty"):
        (bench.apps / app).mkdir()
        (bench.apps / app / "current").symlink_to("missing")
    (bench.apps / "empty" / "missing").mkdir()
    bench.restart()
    bench.installer.start()
    assert until(lambda: "1.0" in bench.ask())


def test_a_service_on_probation_ends_with_the_agent_as_well(bench: Bench) -> None:
    job = bench.job(tar_of(service()))
    bench.installer.prepare(job)
    bench.installer.install(job)
    pid = pid_of(bench)
    bench.installer.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_services_may_outlive_the_agent(bench: Bench) -> None:
    bench.update(bench.job(tar_of(service())))
    bench.services._keep_running = True
    bench.installer.stop()
    assert "1.0" in bench.ask()


def test_a_port_that_nobody_assigned_is_free_and_stays(bench: Bench) -> None:
    bench.services._ports = {}
    bench.update(bench.job(tar_of(service())))
    port = json.loads((bench.home / f"{bench.current()}.json").read_text())["port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        assert answer.status == 200
    with socket.socket() as probe, pytest.raises(OSError, match="in use"):
        probe.bind(("127.0.0.1", port))
