"""A real agent that is killed at any write of its journal or its installer: the attempt ends, once, and whole."""

import time
from pathlib import Path
from typing import Final

import pytest

from simulator.installation import RealAgent
from tests.chaos import tracer
from tests.chaos.evidence import read_agent_log, read_database, read_journal
from tests.chaos.history import CHECKS, Evidence, assert_clean
from tests.chaos.world import KILLED, PATIENT, VERSIONS, active_runs, define
from tests.integration.world import APP, JOB, World, until, world

pytestmark = [
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(not tracer.is_available(), reason="strace is missing or may not join a process"),
]

SEED: Final = 1
TEST: Final = "tests/chaos/test_agent_killed.py"
DEATH_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 60.0


@pytest.mark.parametrize(("syscall", "last", "sample"), [("fdatasync", 20, 6), ("fsync", 12, 4)])
def test_an_agent_killed_at_any_write_ends_its_attempt_once(
    tmp_path: Path, syscall: str, last: int, sample: int
) -> None:
    numbers = tracer.points(syscall, last=last, sample=sample, seed=SEED)
    with world(tmp_path) as w:
        define(w, PATIENT)
        w.populate(devices=0, agents=1)
        [box] = w.agents
        for done, number in enumerate(numbers, start=1):
            assert box.child is not None
            with tracer.traced(box.child.pid, tracer.killed_at(syscall, number)):
                _run_until_killed(w, box)
            box.run(app=APP)
            until(lambda: not active_runs(w), seconds=SETTLE_SECONDS, why=f"killed at {syscall} {number}: the run ends")
            until(lambda: not read_journal(box.folder)[1].open, seconds=SETTLE_SECONDS, why="reports are acknowledged")
            _check_folder(box)
            _check_history(w, box, repeat=tracer.repeating(syscall, numbers[:done], test=TEST))


def _run_until_killed(w: World, box: RealAgent) -> None:
    """Have one run after another until the agent dies of its tracer."""
    assert box.child is not None
    deadline = time.monotonic() + DEATH_SECONDS
    while (code := box.child.process.poll()) is None:
        assert time.monotonic() < deadline, f"the agent was not killed within {DEATH_SECONDS} s"
        if not active_runs(w):
            installed = read_journal(box.folder)[1].installed.get(APP)
            w.operator.start(JOB, version=next(version for version in VERSIONS if version != installed))
        time.sleep(0.02)
    assert code == KILLED, f"the agent ended with {code}, not by its tracer"
    box.kill()


def _check_folder(box: RealAgent) -> None:
    """The app's folder holds whole releases alone, of which the one that the agent tells of is active and healthy."""
    home, installed = box.folder / "apps" / APP, read_journal(box.folder)[1].installed[APP]
    until(lambda: box.health() == (200, installed), seconds=SETTLE_SECONDS, why=f"{APP} {installed} is healthy")
    assert (home / "current").readlink().name.startswith(f"{installed}-")
    until(lambda: not list(home.glob(".new-*")), why="what was staged is cleaned away")
    assert not list((box.folder / "cache").glob("*.new"))
    whole = {path.name for path in (home / "current").resolve().iterdir()}
    for folder in (path for path in home.iterdir() if path.is_dir() and path.name.startswith(VERSIONS)):
        assert {path.name for path in folder.iterdir()} == whole, f"{folder} is not whole"


def _check_history(w: World, box: RealAgent, *, repeat: str) -> None:
    durable, memory = read_journal(box.folder)
    assert durable.work is None
    entries = read_agent_log(w.processes.logs / f"{box.device}.log", durable.name)
    assert entries, "the log tells of installations"
    database = read_database(w.installation.online)
    evidence = Evidence(database=database, entries=entries, memories=[memory])
    assert_clean(evidence, checks=CHECKS, repeat=repeat)
