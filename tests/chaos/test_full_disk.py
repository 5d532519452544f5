"""Disks without space: refusals are clean, nothing acknowledged is lost, and all goes on once there is space."""

import asyncio
import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import pytest

from controller.cli.failures import CliError
from tests.chaos import tracer
from tests.chaos.chance import drawn, repeating
from tests.chaos.evidence import read_agent_log, read_database, read_journal
from tests.chaos.history import ALWAYS, CHECKS, Evidence, assert_clean
from tests.chaos.world import PATIENT, VERSIONS, SmallWorld, active_runs, define, small_world
from tests.integration.world import APP, JOB, until, world

pytestmark = pytest.mark.timeout(300)

TEST: Final = "tests/chaos/test_full_disk.py"
DEVICES: Final = 30
FULL_SECONDS: Final = 4.0
DISK_BYTES: Final = 48_000_000
UNAVAILABLE: Final = 503
NO_TRACER: Final = "strace is missing or may not join a process"


@contextmanager
def no_space(folder: Path) -> Iterator[None]:
    """Fill the disk of *folder* to the last byte while inside."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Have *folder*, with all that is in it, on a small disk of its own while inside.

    Raises:
        pytest.skip.Exception: when that is not allowed here.
    """
    aside = folder.with_name(f"{folder.name}.aside")
    folder.rename(aside)
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, check=False, text=True)
    if done.returncode != 0:
        folder.rmdir()
        aside.rename(folder)
        pytest.skip(f"a small disk needs the right to mount one: {done.stderr.strip()}")
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def _refuses_and_recovers(
    w: SmallWorld, full: AbstractContextManager[None], *, after: float, repeat: str
) -> None:
    """Start a run, let the controller's disk be full for a while in the midst of it, and see it through."""
    run = (await asyncio.to_thread(w.w.operator.start, JOB, version=VERSIONS[0])).id
    await asyncio.sleep(after)
    device = w.fleet.devices[0].character.id
    with full:
        for _ in range(3):
            with pytest.raises(CliError) as refused:
                await asyncio.to_thread(w.w.operator.label, device, ring="canary")
            assert refused.value.status == UNAVAILABLE
            assert (await asyncio.to_thread(w.w.operator.run, run)).id == run, "what is stored can still be read"
            await asyncio.sleep(FULL_SECONDS / 3)
        w.check(checks=ALWAYS, repeat=repeat)
    await w.settled()
    assert w.code() is None, "the controller goes on by itself"
    w.check(repeat=repeat)
    await asyncio.to_thread(w.w.operator.label, device, ring="canary")


async def test_a_controller_on_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    chance, repeat = drawn("full disk"), repeating(TEST)
    async with small_world(tmp_path, devices=DEVICES) as w:
        await w.kill()
        with small_disk(w.w.installation.online):
            await w.serve()
            await asyncio.sleep(chance.uniform(1, 2))
            await _refuses_and_recovers(
                w, no_space(w.w.installation.online), after=chance.uniform(0.1, 0.6), repeat=repeat
            )
            await w.kill()


@pytest.mark.skipif(not tracer.is_available(), reason=NO_TRACER)
async def test_a_controller_whose_writes_fail_refuses_and_recovers(tmp_path: Path) -> None:
    chance, repeat = drawn("failing writes"), repeating(TEST)
    async with small_world(tmp_path, devices=DEVICES) as w:
        controller = w.w.installation.controller
        assert controller is not None
        full = tracer.traced(controller.pid, tracer.failing("pwrite64", "ENOSPC"))
        await _refuses_and_recovers(w, full, after=chance.uniform(0.1, 0.6), repeat=repeat)


@pytest.mark.skipif(not tracer.is_available(), reason=NO_TRACER)
def test_an_agent_that_cannot_write_its_journal_holds_and_goes_on_by_itself(tmp_path: Path) -> None:
    chance, repeat = drawn("full journal"), repeating(TEST)
    with world(tmp_path) as w:
        define(w, PATIENT)
        w.populate(devices=0, agents=1)
        [box] = w.agents
        log = w.processes.logs / f"{box.device}.log"
        for version, after in ((VERSIONS[0], 0.0), (VERSIONS[1], chance.uniform(0.1, 0.8))):
            assert box.child is not None
            w.operator.start(JOB, version=version)
            time.sleep(after)
            with tracer.traced(box.child.pid, tracer.failing("pwrite64", "ENOSPC")):
                time.sleep(FULL_SECONDS)
            until(lambda: not active_runs(w), seconds=90, why=f"the run ends; {repeat}")
        assert "journal_not_written" in log.read_text()
        assert box.child is not None
        assert box.child.process.poll() is None, "the agent went on by itself"
        until(lambda: not read_journal(box.folder)[1].open, seconds=60, why="reports are acknowledged")
        durable, memory = read_journal(box.folder)
        evidence = Evidence(
            database=read_database(w.installation.online),
            entries=read_agent_log(log, durable.name),
            memories=[memory],
        )
        assert_clean(evidence, checks=CHECKS, repeat=repeat)
        until(lambda: box.health() == (200, VERSIONS[1]), why=f"{APP} is healthy")
