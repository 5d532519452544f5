"""`tidegate gate table`: figures for people and programs, with no controller."""

import json

import pytest
from typer.testing import CliRunner, Result

from controller.cli.app import build

FEW = ("--devices", "400", "--rates", "1, 2%,5,30")


def run(*line: str) -> Result:
    return CliRunner().invoke(build(), ["gate", "table", *line])


@pytest.fixture(scope="module")
def shown() -> list[list[str]]:
    done = run(*FEW)
    assert done.exit_code == 0, done.output
    return [line.split() for line in done.stdout.splitlines()]


def test_it_says_on_which_failure_it_stops(shown: list[list[str]]) -> None:
    assert shown[0] == ["STOPS", "ON", "FAILURE", "WITHIN", "DEVICES"]
    assert ["3", "10"] in shown
    assert ["20", "396"] in shown
    assert not any(line[:1] == ["15"] for line in shown)


def test_up_to_what_is_tolerated_a_cell_is_a_chance_and_above_it_a_median(shown: list[list[str]]) -> None:
    assert ["TRUE", "RATE", "1%", "2%", "5%", "30%"] in shown
    [ours] = [line for line in shown if line[:2] == ["this", "gate"]]
    assert ours[2:] == ["0.044%", "0.41%", "336", "(59.3%)", "9"]
    [aws] = [line for line in shown if line[:5] == ["AWS", "10%", "of", "100", "<0.001%"]]
    assert aws[5:] == ["0.0015%", "(2.9%)", "100"]


def test_it_says_who_is_faster_and_what_that_costs(shown: list[list[str]]) -> None:
    text = " ".join(" ".join(line) for line in shown)
    faster = "AWS 5% of 50 is faster: it stops half of the builds that fail at 5% within 54 devices, this gate 336."
    assert f"{faster} It also stops 14.5% of those at 2%." in text
    assert "This gate stops 0.41% of those at 2%, and never more than 1%," in text


def test_where_this_gate_stops_none_or_nobody_is_faster_that_is_said() -> None:
    assert "devices, which this gate does not." in run("--devices", "400", "--rates", "3.1,4").stdout
    assert "None of the other rules is faster." in run("--devices", "400", "--rates", "1,30").stdout


def test_programs_get_all_of_it_in_shares() -> None:
    done = run(*FEW, "--above", "1%", "--alpha", "0.5%", "-o", "json")
    found = json.loads(done.stdout)
    assert found["gate"] == "1% at 0.5%"
    assert [row["rule"] for row in found["rules"]][:2] == ["this gate", "hawkBit 10%"]
    ours = found["rules"][0]
    assert [fate["rate"] for fate in ours["fates"]] == [0.01, 0.02, 0.05, 0.3]
    assert 0 < ours["false_stop"] == ours["fates"][0]["stopped"] < 0.005
    assert [rung["failures"] for rung in found["stops"]] == list(range(2, len(found["stops"]) + 2))
    assert found["stops"][-1]["within"] == 400
    assert {one["rule"] for one in found["faster"]} <= {row["rule"] for row in found["rules"]}
    assert run(*FEW, "-o", "name").stdout == "2% at 1%\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("--above", "0%"), "--above 0%: expected more than 0% and less than 100%"),
        (("--alpha", "100"), "--alpha 100: expected more than 0%"),
        (("--alpha", "seldom"), "--alpha: expected a share such as 5 or '5%'"),
        (("--rates", "5,101"), "from 0 to 100"),
        (("--rates", ",".join(["5"] * 13)), "expected at most 12"),
        (("--rates", ""), "--rates: expected a share"),
        (("--devices", "0"), "--devices"),
    ],
)
def test_what_cannot_be_is_said(line: tuple[str, ...], message: str) -> None:
    done = run(*line)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
