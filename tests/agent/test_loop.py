"""The loop with all its parts in one process: permission from afar, storage that fails, errands, restarts."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import __main__ as command_line
from agent import mqtt, steps
from agent.assembly import Agent, assemble
from agent.config import Config
from agent.core.effects import Clean, Commit, Inspect, Measure, RollBack, Verify
from agent.core.events import Finished, Found, Inspected, Measured
from agent.core.model import NOTHING_TOLD, Durable, Told, work_of
from agent.enrol import Claim, enrol
from agent.errors import OutputsRefused, StepFailed, StorageFull
from agent.identity import Identity
from agent.installers import checkups
from agent.installers.port import Job
from agent.journal import Row, SqliteJournal
from agent.steps import Steps
from protocol.codec import encode
from protocol.health import Mark
from protocol.ids import AppName, Digest, RunId, digest_of
from protocol.lifecycle import AttemptState
from protocol.messages import HealthReport, MeasureReport, RefusalReport, Report, StateReport
from protocol.outputs import Outputs
from protocol.reasons import Reason
from protocol.units import HOUR, Instant
from tests.agent.fleet import TELLS, app, ends, install, offer, watch
from tests.agent.hub import Hub, wall_ms
from tests.agent.world import SHOP_1, SHOP_2, command


class Device:
    """A device whose agent runs in a thread."""

    def __init__(self, folder: Path, hub: Hub, port: int) -> None:
        self.hub = hub
        self.config = Config(
            state_dir=str(folder / "state"), ports={"shop": port}, lock_wait_ms=300, disk_reserve_bytes=0
        )
        self.identity = Identity(self.config.state / "identity")
        self.agent: Agent | None = None
        self.thread: threading.Thread | None = None

    def enrol(self) -> None:
        claim = Claim(token="good", device="kiosk-17", model="kiosk-1", hardware_id="42")
        enrol(claim, controller=self.hub.url, ca=self.hub.ca, identity=self.identity, sleep=time.sleep)

    def start(self) -> Agent:
        count = len(self.hub.hellos)
        self.agent = assemble(self.config)
        self.thread = threading.Thread(target=self.agent.run)
        self.thread.start()
        self.hub.until(lambda: len(self.hub.hellos) > count)
        return self.agent

    def stop(self) -> None:
        if self.agent is not None and self.thread is not None:
            self.agent.loop.stop()
            self.thread.join(20)
            assert not self.thread.is_alive()
            self.agent = None


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path)
    yield hub
    hub.close()


@pytest.fixture
def device(tmp_path: Path, hub: Hub, free_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    monkeypatch.setattr(mqtt, "BACKOFF_BASE_MS", 10)
    monkeypatch.setattr(mqtt, "BACKOFF_CAP_MS", 200)
    device = Device(tmp_path, hub, free_port)
    device.enrol()
    yield device
    device.stop()


def control(op: str, run: str, *, epoch: int, seq: int) -> Any:
    return install(run, op=op, epoch=epoch, attempt=0, seq=seq)


def states(hub: Hub) -> list[AttemptState]:
    return [report.state for report in hub.reports if isinstance(report, StateReport)]


def test_a_bundle_is_held_from_afar_goes_on_and_ends(device: Device, hub: Hub) -> None:
    device.start()
    hub.until(lambda: device.agent is not None and device.agent.loop._runtime.state.now(0) is not None)
    seq = wall_ms()
    ref = offer(hub, "1.0", app("1.0"), counter=1)
    hub.send(control("hold", "run-1", epoch=2, seq=seq))
    hub.send(install("run-1", ref, epoch=2, seq=seq + 1))
    hub.until(lambda: states(hub).count(AttemptState.DOWNLOADING))
    time.sleep(0.3)
    assert AttemptState.INSTALLING not in states(hub)
    hub.send(control("go", "run-1", epoch=3, seq=seq + 2))
    assert ends(hub, "run-1").state == "succeeded"
    hub.send(install("run-1", ref, epoch=3, seq=seq + 3))
    hub.until(lambda: states(hub).count(AttemptState.SUCCEEDED) == 2)
    assert hub.ticks == [] or hub.ticks[0].progress[0].run == "run-1"


def marks(hub: Hub) -> list[HealthReport]:
    return [report for report in hub.reports if isinstance(report, HealthReport)]


def crash(device: Device, hub: Hub) -> None:
    """End the service of the shop by force, and wait until it is started again."""
    record = device.config.apps / "shop" / "service.json"
    pid = json.loads(record.read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    hub.until(lambda: record.exists() and json.loads(record.read_text())["pid"] != pid)


def test_a_service_that_crashes_after_its_success_is_told_of_once(device: Device, hub: Hub) -> None:
    agent = device.start()
    hub.until(lambda: agent.loop._runtime.state.now(0) is not None)
    wanted = install("run-1", offer(hub, "1.0", app("1.0"), counter=1), watch_ms=HOUR)
    hub.send(wanted)
    assert ends(hub, "run-1").state == "succeeded"
    crash(device, hub)
    crash(device, hub)
    [told] = hub.until(lambda: marks(hub))
    assert (told.mark, told.count, told.run, told.attempt) == (Mark.CRASHED, 1, "run-1", 1)
    assert told.command == digest_of(encode(wanted))


def test_a_watch_that_ends_well_is_told_of(device: Device, hub: Hub) -> None:
    agent = device.start()
    hub.until(lambda: agent.loop._runtime.state.now(0) is not None)
    hub.send(install("run-1", offer(hub, "1.0", app("1.0"), counter=1), watch_ms=200))
    [told] = hub.until(lambda: marks(hub))
    assert (told.mark, told.count) == (Mark.WELL, 0)


def measures(hub: Hub, run: str) -> list[MeasureReport]:
    return [report for report in hub.reports if isinstance(report, MeasureReport) and report.run == run]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> int:
    """How often apps are measured, in milliseconds: more often than a device lets anybody ask for."""
    monkeypatch.setattr("agent.core.measures.EVERY_MS_MIN", 50)
    return 50


def test_what_a_service_tells_while_it_runs_is_reported_again_and_again(device: Device, hub: Hub, often: int) -> None:
    agent = device.start()
    hub.until(lambda: agent.loop._runtime.state.now(0) is not None)
    ref = offer(hub, "1.0", app("1.0", tells=TELLS), counter=1)
    wanted = install("run-1", ref, watch_ms=HOUR, measure_ms=often)
    hub.send(wanted)
    told = hub.until(lambda: measures(hub, "run-1")[2:] and measures(hub, "run-1"))
    counts = [report.outputs["count"] for report in told]
    assert counts == sorted(set(counts)), "each is a newer one"
    assert {report.command for report in told} == {digest_of(encode(wanted))}


def test_what_was_there_before_the_agent_began_is_measured_too(device: Device, hub: Hub, often: int) -> None:
    pid = restarted(device, hub, tells=TELLS)
    hub.send(watch("run-2", "shop", measure_ms=often))
    assert hub.until(lambda: measures(hub, "run-2"))[0].outputs["count"]
    (device.config.apps / "shop" / "outputs" / ".new").mkdir()  # so that the service writes no more
    (device.config.apps / "shop" / "outputs" / "outputs.json").write_text("{")
    told = hub.until(lambda: [report for report in measures(hub, "run-2") if report.detail])[0]
    assert told.outputs == {}
    assert "no outputs are reported: outputs.json" in told.detail
    assert service(device) == pid, "nothing was touched"


def test_apps_that_tell_nothing_are_not_reported(device: Device, hub: Hub, often: int) -> None:
    restarted(device, hub)
    hub.send(watch("run-2", "shop", measure_ms=often, watch_ms=400))
    hub.until(lambda: marks(hub))
    assert measures(hub, "run-2") == []


def restarted(device: Device, hub: Hub, *, tells: str = "") -> int:
    """Install the shop, start the agent anew, and return the number of the service that the agent then looks after."""
    agent = device.start()
    hub.until(lambda: agent.loop._runtime.state.now(0) is not None)
    hub.send(install("run-1", offer(hub, "1.0", app("1.0", tells=tells), counter=1)))
    assert ends(hub, "run-1").state == "succeeded"
    device.stop()
    agent = device.start()
    hub.until(lambda: agent.loop._runtime.state.now(0) is not None and serves(device))
    return service(device)


def serves(device: Device) -> bool:
    """Say whether the shop's service answers: one that has only just begun would be told of as unwell."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", device.config.ports["shop"]), timeout=5):
        return True
    return False


def service(device: Device) -> int:
    """Return the process of the shop's service."""
    record: dict[str, int] = json.loads((device.config.apps / "shop" / "service.json").read_text())
    return record["pid"]


def test_a_crash_of_what_was_there_before_the_agent_began_is_told(device: Device, hub: Hub) -> None:
    pid = restarted(device, hub)
    wanted = watch("run-2", "shop")
    hub.send(wanted)
    end = ends(hub, "run-2")
    assert (end.state, end.left, [release.version for release in end.installed]) == ("succeeded", "old", ["1.0"])
    assert service(device) == pid, "nothing was touched"
    crash(device, hub)
    [told] = hub.until(lambda: marks(hub))
    assert (told.mark, told.run, told.command) == (Mark.CRASHED, "run-2", digest_of(encode(wanted)))


def test_harm_to_what_was_there_before_the_agent_began_is_told(
    device: Device, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkups, "LOOK_SECONDS", 0.02)
    restarted(device, hub)
    hub.send(watch("run-2", "shop"))
    assert ends(hub, "run-2").state == "succeeded"
    (device.config.apps / "shop" / "current" / "ill").touch()
    [told] = hub.until(lambda: marks(hub))
    assert (told.mark, told.count, told.run) == (Mark.UNWELL, checkups.BAD_MAX, "run-2")
    assert "answers 500" in told.detail


def test_what_is_watched_is_told_of_as_ended_before_newer_work_is(device: Device, hub: Hub) -> None:
    restarted(device, hub)
    hub.send(watch("run-2", "shop"))
    assert ends(hub, "run-2").state == "succeeded"
    hub.send(install("run-3", offer(hub, "2.0", app("2.0"), counter=2), watch_ms=200))
    assert ends(hub, "run-3").state == "succeeded"
    hub.until(lambda: len(marks(hub)) == 2)
    assert [(told.run, told.mark) for told in marks(hub)] == [("run-2", Mark.ENDED), ("run-3", Mark.WELL)]
    ended, begun = marks(hub)[0], min(report.report_seq for report in hub.reports if told_of(report) == "run-3")
    assert ended.report_seq < begun


def told_of(report: Report) -> str:
    return "" if isinstance(report, RefusalReport) else report.run


def test_an_app_that_is_not_there_cannot_be_watched(device: Device, hub: Hub) -> None:
    agent = device.start()
    hub.until(lambda: agent.loop._runtime.state.now(0) is not None)
    hub.send(watch("run-1", "shop"))
    end = ends(hub, "run-1")
    assert (end.state, end.reason, end.left) == ("rejected", "unsupported", "old")


def test_garbage_and_refusals_come_back_as_reports(device: Device, hub: Hub) -> None:
    agent = device.start()
    hub.until(lambda: agent.loop._runtime.state.now(0) is not None)
    hub.send_raw(b"garbage")
    missing = offer(hub, "1.0", app("1.0"), counter=1)
    hub.files.clear()
    hub.send(install("run-1", missing))
    refused = hub.until(lambda: [r for r in hub.reports if isinstance(r, RefusalReport)][1:])
    assert refused[0].code == "not-released"
    assert agent.loop.counts["command_refused"] == 2


def test_a_full_disk_holds_the_agent_until_there_is_space(
    device: Device, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = device.start()
    genuine, full = SqliteJournal.commit, [True, True]

    def commit(self: SqliteJournal, durable: Durable, *, add: Sequence[Row] = (), drop: Sequence[int] = ()) -> None:
        if add and full:
            full.pop()
            raise StorageFull("no space is left")
        genuine(self, durable, add=add, drop=drop)

    monkeypatch.setattr("agent.loop.STORAGE_BASE_MS", 0)
    monkeypatch.setattr(SqliteJournal, "commit", commit)
    hub.send(install("run-1", offer(hub, "1.0", app("1.0"), counter=1)))
    assert ends(hub, "run-1").state == "succeeded"
    assert agent.loop.counts["storage_errors"] == 2


def test_a_bug_in_one_event_ends_nothing(device: Device, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = device.start()
    hub.until(lambda: agent.loop._runtime.state.now(0) is not None)
    with monkeypatch.context() as patch:
        patch.setattr(type(agent.loop), "_take", lambda *_: 1 / 0)
        hub.send_raw(b"garbage")
        hub.until(lambda: agent.loop.counts["loop_errors"])
    hub.send(install("run-1", offer(hub, "1.0", app("1.0"), counter=1)))
    assert ends(hub, "run-1").state == "succeeded"


def test_an_unanswered_hello_ends_in_another_connection(
    device: Device, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.core.answers.HELLO_PATIENCE", 200)
    monkeypatch.setattr("agent.core.machine.HELLO_PATIENCE", 200)
    hub.replies = False
    device.start()
    hub.until(lambda: len(hub.hellos) >= 3)
    assert len({hello.nonce for hello in hub.hellos}) == len(hub.hellos)


def test_a_certificate_is_renewed_in_time(device: Device, hub: Hub) -> None:
    hub.life = timedelta(minutes=10)
    device.enrol()
    before = device.identity.device_pem.read_bytes()
    device.start()
    hub.until(lambda: device.identity.device_pem.read_bytes() != before)
    assert ("POST", "/v1/device/renew") in hub.requests


def test_a_restart_in_the_middle_of_a_download_goes_on(device: Device, hub: Hub) -> None:
    device.start()
    ref = offer(hub, "1.0", app("1.0"), counter=1)
    kept, hub.files["shop/1.0.tar.gz"] = hub.files["shop/1.0.tar.gz"], (b"", {})
    hub.release_file = lambda: hub.trustees.releases({"shop/1.0.tar.gz": kept}, version=9)  # type: ignore[method-assign]
    hub.send(install("run-1", ref))
    hub.until(lambda: states(hub).count(AttemptState.DOWNLOADING))
    device.stop()
    hub.files["shop/1.0.tar.gz"] = kept
    device.start()
    assert ends(hub, "run-1").state == "succeeded"
    assert hub.hellos[-1].work is not None


def test_the_command_line_shows_the_status(
    device: Device, hub: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--state-dir", device.config.state_dir]
    assert command_line.main(["status", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["installed"] == []
    device.start()
    hub.send(install("run-1", offer(hub, "1.0", app("1.0"), counter=1)))
    ends(hub, "run-1")
    assert command_line.main(["status", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["installed"][0]["version"] == "1.0"
    known = ["--controller", hub.url, "--ca", str(hub.ca), "--device", "kiosk-17"]
    assert command_line.main(["enrol", *arguments, *known, "--token", "good"]) == 6
    assert "--force" in capsys.readouterr().err
    other = ["--state-dir", str(tmp_path / "other")]
    assert command_line.main(["enrol", *other, *known]) == 2
    assert command_line.main(["enrol", *other, *known, "--token", "bad"]) == 4
    assert command_line.main(["enrol", *other, *known, "--token", "good"]) == 0
    assert command_line.main(["status", "--state-dir", str(tmp_path / "none")]) == 2


def test_an_unreachable_controller_is_an_error(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("agent.__main__.time.sleep", lambda _seconds: None)
    nowhere = ["--controller", "https://127.0.0.1:1", "--ca", str(hub.ca), "--device", "x", "--token", "y"]
    assert command_line.main(["enrol", "--state-dir", str(tmp_path / "other"), *nowhere]) == 1
    assert "cannot be reached: is the controller running" in capsys.readouterr().err


def test_the_version_and_the_exit_codes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for option, told in (("--version", "tidegate-agent 0."), ("--help", "Exit codes: 0 done")):
        with pytest.raises(SystemExit) as ended:
            command_line.main([option])
        assert ended.value.code == 0
        assert told in capsys.readouterr().out


def test_a_corrupt_journal_is_told_plainly(device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    (device.config.state / "journal.db").write_bytes(b"not a database" * 99)
    assert command_line.main(["run", "--state-dir", device.config.state_dir]) == 1
    assert "enrol the device again" in capsys.readouterr().err
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(device.config.state / "journal.db").execute("SELECT 1 FROM state")


# --- the steps ---


class Installer:
    """An installer that does as it is told, and notes what it was asked."""

    def __init__(self, found: dict[str, Found], failing: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.found = found
        self.failing = failing
        self.asked: list[str] = []

    def _do(self, verb: str, job: Job) -> None:
        self.asked.append(f"{verb} {job.release.version}")
        if f"{verb} {job.release.version}" in self.failing:
            raise StepFailed(Reason.INSTALL_FAILED, f"{verb} failed")
        if verb == "verify" and "bug" in self.failing:
            raise RuntimeError("a bug")

    def prepare(self, job: Job) -> None:
        return

    def install(self, job: Job) -> None:
        self._do("install", job)

    def verify(self, job: Job) -> None:
        self._do("verify", job)

    def outputs(self, job: Job) -> Outputs:
        if job.release.version in self.failing:
            raise OutputsRefused(f"{job.release.version} told nonsense")
        return {"version": job.release.version, f"of-{job.release.counter}": 1}

    def tell(self, app: AppName) -> Outputs:
        if app in self.failing:
            raise OutputsRefused(f"{app} tells nonsense")
        if "bug" in self.failing:
            raise RuntimeError("a bug")
        return {"app": app, f"of-{app}": 1}

    def commit(self, job: Job) -> None:
        self._do("commit", job)

    def roll_back(self, job: Job) -> None:
        self._do("roll_back", job)

    def inspect(self, job: Job) -> Found:
        return self.found[job.release.version]

    def clean(self) -> None:
        raise OSError("no such folder")

    def attend(self, apps: frozenset[AppName]) -> None:
        self.asked.append(f"attend {','.join(sorted(apps))}")

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


class NoFetcher:
    def path_of(self, sha256: Digest) -> Path:
        return Path(sha256)

    def clean(self) -> None:
        pass


BUNDLE = work_of(command(not_after=Instant(0)), Digest("0" * 64), (SHOP_1, SHOP_2))


def carried_out(installer: Installer, *asked: steps.Asked, aborted: bool = False) -> list[Any]:
    results: list[Any] = []
    worker = Steps(NoFetcher(), {"archive": installer}, results.append)  # type: ignore[arg-type]
    for step in asked:
        worker.ask(step)
    if aborted:
        worker.abort()
    worker.start()
    worker._tasks.put(None)
    worker._thread.join(5)
    return results


@pytest.mark.parametrize(
    ("one", "two", "found"),
    [
        (Found.NEW, Found.NEW, Found.NEW),
        (Found.OLD, Found.OLD, Found.OLD),
        (Found.NEW, Found.OLD, Found.BROKEN),
    ],
)
def test_a_bundle_of_which_a_part_is_new_is_broken(one: Found, two: Found, found: Found) -> None:
    (result,) = carried_out(Installer({"1.0": one, "2.0": two}), Inspect(work=BUNDLE))
    assert isinstance(result, Inspected)
    assert result.found is found


def test_a_bundle_is_rolled_back_in_the_opposite_order_even_where_a_part_fails() -> None:
    installer = Installer({}, {"roll_back 2.0"})
    (result,) = carried_out(installer, RollBack(work=BUNDLE), Clean())
    assert installer.asked == ["roll_back 2.0", "roll_back 1.0"]
    assert isinstance(result, Finished)
    assert result.fault is not None


def test_a_bundle_tells_its_outputs_together_and_none_where_one_is_refused() -> None:
    (result,) = carried_out(Installer({}), Verify(work=BUNDLE))
    assert result.told == Told(outputs={"version": "2.0", "of-10": 1, "of-20": 1})
    (result,) = carried_out(Installer({}, {"2.0"}), Verify(work=BUNDLE))
    assert result.fault is None
    assert result.told == Told(remark="no outputs are reported: 2.0 told nonsense")


def test_a_release_that_is_not_healthy_is_heard_all_the_same() -> None:
    (result,) = carried_out(Installer({}, {"verify 2.0"}), Verify(work=BUNDLE))
    assert result.fault is not None
    assert result.told.outputs["version"] == "2.0"


def test_only_a_verification_is_followed_by_outputs() -> None:
    (result,) = carried_out(Installer({}), Commit(work=BUNDLE))
    assert result.told == NOTHING_TOLD


def test_a_bug_in_an_installer_is_a_fault_and_what_is_called_off_is_not_begun() -> None:
    installer = Installer({}, {"bug"})
    (result,) = carried_out(installer, Verify(work=BUNDLE))
    assert result.fault.reason is Reason.OTHER
    (result,) = carried_out(installer, Verify(work=BUNDLE), aborted=True)
    assert result.fault.detail == "called off"
    assert installer.asked == ["verify 1.0"]


MEASURE = Measure(run=RunId("run-1"), attempt=2, apps=(AppName("shop"), AppName("till")))


def test_apps_tell_their_outputs_together_and_none_where_one_is_refused() -> None:
    (result,) = carried_out(Installer({}), MEASURE)
    told = Told(outputs={"app": "till", "of-shop": 1, "of-till": 1})
    assert result == Measured(at=result.at, run=RunId("run-1"), attempt=2, told=told)
    (result,) = carried_out(Installer({}, {"shop"}), MEASURE)
    assert result.told == Told(remark="no outputs are reported: shop tells nonsense")


def test_a_measure_ends_whatever_becomes_of_it() -> None:
    bug, called_off = carried_out(Installer({}, {"bug"}), MEASURE), carried_out(Installer({}), MEASURE, aborted=True)
    assert [len(bug), len(called_off)] == [1, 1]
    assert "the agent failed" in bug[0].told.remark
    assert called_off[0].told.outputs
