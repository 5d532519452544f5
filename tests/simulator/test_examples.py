"""The files in `examples/` are what they say they are."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from controller.documents import load
from controller.domain.pipeline import Pipeline
from controller.domain.validation import validate
from simulator.package import EXAMPLES

REGIONS: Final = {"canary": (), "eu": ("canary",), "us": ("canary",), "rest": ("eu", "us")}
STAGES: Final = {
    "canary-regions-rest": REGIONS,
    "five-quarter-all": {"five": (), "quarter": ("five",), "all": ("quarter",)},
    "harbour": REGIONS,
    "harbour-branches": {"eu": (), "us": (), "apac": ("us",)},
    "harbour-careful": REGIONS,
    "harbour-models": {"all": ()},
    "one": {"all": ()},
    "waves": {"ring": (), "wave": ("ring",), "everybody": ("wave",)},
    "worldwide": {
        "lab": (),
        "eu-canary": ("lab",),
        "us-canary": ("lab",),
        "apac-canary": ("lab",),
        "eu-tenth": ("eu-canary",),
        "eu": ("eu-tenth",),
        "us": ("us-canary",),
        "apac": ("apac-canary",),
        "tills": ("eu", "us", "apac"),
        "rest": ("tills",),
    },
}


@pytest.mark.parametrize("file", sorted((EXAMPLES / "pipelines").iterdir()), ids=lambda file: file.name)
def test_a_pipeline_has_no_fault_and_is_named_after_its_file(file: Path) -> None:
    pipeline, *_jobs = load(file.read_bytes())
    assert isinstance(pipeline, Pipeline)
    assert pipeline.name == file.stem
    assert validate(pipeline) == ()
    assert {stage.name: stage.needs for stage in pipeline.stages} == STAGES[file.stem]


def test_the_builder_makes_an_archive(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "build.py"), "2.0.0", "--broken", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert (tmp_path / "harbour-2.0.0.tar.gz").exists()
    assert "sha256" in done.stdout
