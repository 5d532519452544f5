"""`tidegate gate plot`: pictures of gates and ramps, with no controller."""

import json
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from controller.cli.app import build


def plot(*line: str) -> Result:
    return CliRunner().invoke(build(), ["gate", "plot", *line])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("evidence", "--rates", "1,30", "--devices", "100"), ("30%", "stopped on failure 3 of 9", "stops at 100")),
        (("evidence", "--alpha", "0.5%", "--devices", "50"), ("stops at 200", "goes on")),
        (("ramp", "--devices", "1000", "--risk", "10"), ("all have it", "the ramp holds", "round")),
        (("ramp", "--rates", "0", "--risk", "0", "--above", "10%"), ("devices exposed",)),
        (("ramp", "--devices", "1"), ("all have it",)),
        (("evidence", "--devices", "1", "--rates", "100"), ("goes on",)),
        (("stops", "--devices", "1", "--rates", "100", "--above", "99%"), ("this gate",)),
        (("stops", "--rates", "5,30", "--devices", "400"), ("this gate", "AWS 10% of 100", "never stopped")),
    ],
)
def test_a_picture_is_svg_and_says_what_it_shows(line: tuple[str, ...], said: tuple[str, ...]) -> None:
    done = plot(*line)
    assert done.exit_code == 0, done.output
    text = " ".join(ET.fromstring(done.stdout).itertext())
    assert [part for part in said if part not in text] == []


def test_programs_get_the_points() -> None:
    found = json.loads(plot("ramp", "--rates", "0,5", "-o", "json").stdout)
    assert [(curve["name"], curve["end"]) for curve in found["curves"]] == [
        ("0%", "all have it"),
        ("5%", "the gate stops it"),
    ]
    assert found["curves"][0]["points"][0] == [1, 25.0]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (("evidence", "--rates", "1,2,3,4,5,6"), "expected at most 5, a curve for each"),
        (("stops", "--rates", "1,2"), "expected some above 2%"),
        (("ramp", "--above", "0%"), "expected more than 0%"),
        (("ramp", "--rates", "101"), "from 0 to 100"),
    ],
)
def test_what_cannot_be_drawn_is_told(line: tuple[str, ...], told: str) -> None:
    done = plot(*line)
    assert done.exit_code == 2
    assert told in " ".join(done.stderr.split())
