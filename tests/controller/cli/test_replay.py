"""`tidegate gate replay`: a file that is checked here, a table for people, all of it for programs."""

import json
from pathlib import Path

import pytest

from controller.domain.pipeline import Gate, Sequential
from tests.controller.cli.conftest import Invoke
from tests.controller.http.fake import FakeApp


@pytest.fixture
def strict(tmp_path: Path) -> Path:
    file = tmp_path / "strict.yaml"
    file.write_text("failures: {above: 1%}")
    return file


def test_people_see_both_gates_beside_each_other(tidegate: Invoke, fake: FakeApp, strict: Path) -> None:
    done = tidegate("gate", "replay", "run-1", "--gate", str(strict), "--stage", "rest")
    assert done.exit_code == 0, done.output
    asked = {"run": "run-1", "gate": Gate(sequential=Sequential(above=1.0)), "stage": "rest"}
    assert fake.calls[-1] == ("replays.replay", asked)
    assert "4 of 59" in done.stdout
    assert "2 of 10" in done.stdout
    assert "rest: stops on failure 2 of 10 started, 49 devices earlier than the run's own" in done.stdout
    assert "checks are not judged" in done.stderr


def test_programs_get_all_of_it(tidegate: Invoke, strict: Path) -> None:
    done = tidegate("gate", "replay", "run-1", "--gate", str(strict), "-o", "json")
    found = json.loads(done.stdout)
    assert (found["run"], found["stages"][0]["other"]["stop"]["failed"]) == ("run-1", 2)


def test_faults_of_the_file_have_their_lines_and_nothing_is_sent(tidegate: Invoke, fake: FakeApp, strict: Path) -> None:
    strict.write_text("failures:\n  abov: 1%")
    done = tidegate("gate", "replay", "run-1", "--gate", str(strict))
    assert done.exit_code != 0
    assert f"{strict}:2:3: failures.abov: unknown field; did you mean 'above'?" in done.stderr
    assert fake.calls == []
