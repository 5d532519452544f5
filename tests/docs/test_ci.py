"""What a build system is told to do starts runs of a real controller."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from simulator.package import EXAMPLES
from tests.integration.world import JOB, World, world

FOLDER: Final = EXAMPLES / "ci"
PROGRAMS: Final = ("curl", "jq", "openssl")
PIPELINE: Final = f"kind: Pipeline\nname: {JOB}\nstages: [{{name: all, allow_empty: true}}]\n"
GITHUB: Final = {"VERSION": "1.0.0", "GITHUB_RUN_ID": "77"}
GITLAB: Final = {"CI_COMMIT_TAG": "1.0.0", "CI_PIPELINE_ID": "88"}
SECONDS: Final = 60

pytestmark = [
    pytest.mark.timeout(110),
    pytest.mark.skipif(not all(map(shutil.which, PROGRAMS)), reason=f"needs {', '.join(PROGRAMS)}"),
]


class Build:
    """A build, with the secret of a hook."""

    def __init__(self, w: World, folder: Path) -> None:
        answer = w.operator.hook(JOB)
        self.folder = folder / "build"
        (self.folder / "ci").mkdir(parents=True)
        shutil.copy(FOLDER / "call-hook", self.folder / "ci")
        address = {"TIDEGATE_URL": w.installation.url, "TIDEGATE_CA": str(w.installation.ca)}
        self.env = {"PATH": os.environ["PATH"], "TIDEGATE_SECRET": answer, **address}

    def runs(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a script as the steps of a build are run."""
        script = script.replace("shop-update", JOB)
        return subprocess.run(
            ["sh", "-euc", script],
            cwd=self.folder,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def starts(self, script: str, **env: str) -> str:
        """Run a script that starts a run, and return that one's id."""
        done = self.runs(script, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        run: str = json.loads(done.stdout)["run"]
        return run


@pytest.fixture
def at_work(tmp_path: Path) -> Iterator[tuple[World, Build]]:
    with world(tmp_path) as w:
        w.publish("1.0.0")
        w.define("1.0.0", PIPELINE)
        yield w, Build(w, tmp_path)


def steps_of(name: str) -> str:
    """Return the commands of a build's file."""
    file: Any = yaml.safe_load((FOLDER / name).read_text())
    if name == "gitlab.yaml":
        return "\n".join(file["roll out"]["script"])
    return str(file["jobs"]["roll-out"]["steps"][-1]["run"])


def test_builds_start_runs_and_a_delivery_counts_once(at_work: tuple[World, Build]) -> None:
    w, build = at_work
    runs = [
        build.starts("""ci/call-hook shop-update build-1 '{"version": "1.0.0"}'"""),
        build.starts(steps_of("github.yaml"), **GITHUB),
        build.starts(steps_of("gitlab.yaml"), **GITLAB),
    ]
    assert [w.ended(run).state for run in runs] == ["succeeded"] * 3
    assert len(set(runs)) == 3

    again = build.runs("ci/call-hook shop-update build-1 '{}'")
    assert (again.returncode, json.loads(again.stdout)["status"]) == (22, 409)
    stranger = build.runs("ci/call-hook shop-update build-2 '{}'", TIDEGATE_SECRET="whsec_AAAA")
    assert (stranger.returncode, json.loads(stranger.stdout)["status"]) == (22, 401)
    unpublished = build.runs("""ci/call-hook shop-update build-3 '{"version": "9"}'""")
    assert (unpublished.returncode, json.loads(unpublished.stdout)["status"]) == (22, 404)
    misspelt = build.runs("""ci/call-hook shop-update build-4 '{"versio": "1.0.0"}'""")
    assert (misspelt.returncode, json.loads(misspelt.stdout)["status"]) == (22, 422)
