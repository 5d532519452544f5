"""What each distribution carries: the agent's holds the agent and the protocol, and asks for no more than it needs."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def project(path: Path) -> Any:
    return tomllib.loads(path.read_text())["project"]


def test_both_lists_of_what_a_device_installs_are_the_same() -> None:
    whole, agent = project(ROOT / "pyproject.toml"), project(ROOT / "agent" / "pyproject.toml")

    assert agent["dependencies"] == whole["dependencies"]
    assert agent["requires-python"] == whole["requires-python"]
    assert agent["version"] == whole["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "-w", str(folder), str(ROOT / "agent")], check=True, capture_output=True)
    return next(folder.glob("tidegate_agent-*.whl"))


def test_the_wheel_of_the_agent_holds_agent_and_protocol_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"agent", "protocol"}
    modules = {name for name in names if name.endswith(".py")}
    tracked = subprocess.run(
        ["git", "ls-files", "agent/*.py", "protocol/*.py"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert set(tracked) <= modules


def test_the_agent_runs_from_its_wheel_without_anything_of_ours_beside_it(wheel: Path, tmp_path: Path) -> None:
    program = (
        "import sys; sys.path[:] = [sys.argv[1], *[p for p in sys.path if p and p != sys.argv[2]]];"
        "import agent.__main__, agent.assembly, agent.loop;"
        "assert agent.__file__.startswith(sys.argv[1]), agent.__file__;"
        "ours = {name.split('.')[0] for name in sys.modules} & {'controller', 'simulator'};"
        "assert not ours, ours"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(wheel), str(ROOT)],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
