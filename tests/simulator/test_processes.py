import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.processes import STOP_SECONDS, Processes, ProcessFailed, left_behind, wait_gone

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]
PARENT = f"import subprocess; subprocess.Popen({SLEEP!r}, start_new_session=True)"


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_children_end_with_the_block(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        children = [processes.start(name, SLEEP) for name in ("a", "b")]
        processes.check()
        assert all(is_running(child.pid) for child in children)
    assert not any(is_running(child.pid) for child in children)


def test_children_end_when_the_block_fails(tmp_path: Path) -> None:
    def fail(processes: Processes) -> None:
        with processes:
            processes.start("a", SLEEP)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail(Processes(tmp_path))
    assert left_behind(tmp_path) == []


def test_one_that_ends_unasked_is_told_of_with_its_last_words(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        child = processes.start("a", [sys.executable, "-c", "raise SystemExit('no such port')"])
        child.process.wait()
        with pytest.raises(ProcessFailed, match=r"a ended with code 1; its log is .*a\.log\nno such port"):
            processes.check()


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        child = processes.start("a", STUBBORN)
        while "deaf" not in child.last_words():
            time.sleep(0.01)
        assert child.stop(seconds=0.1) == -signal.SIGKILL


def test_one_that_was_killed_on_purpose_is_no_failure(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        child = processes.start("a", SLEEP)
        child.kill()
        processes.forget(child)
        processes.check()


def test_what_a_child_left_behind_is_found_and_ended(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        child = processes.start("a", [sys.executable, "-c", PARENT])
        child.process.wait()
        [orphan] = left_behind(tmp_path)
    assert wait_gone(tmp_path, seconds=5) == []
    assert not is_running(orphan)


@pytest.mark.parametrize("command", [SLEEP, [sys.executable, "-c", PARENT]], ids=["child", "orphan"])
def test_everything_ends_when_the_parent_is_killed(tmp_path: Path, command: list[str]) -> None:
    program = f"""
import sys, time
from pathlib import Path
from simulator.processes import STOP_SECONDS, ProcessFailed, Processes, left_behind, wait_gone
with Processes(Path({str(tmp_path)!r})) as processes:
    child = processes.start("a", {command!r})
    time.sleep(1)
    print(left_behind(processes.folder), flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() != "[]\n"
        os.kill(parent.pid, signal.SIGKILL)
    assert wait_gone(tmp_path, seconds=STOP_SECONDS + 5) == []
