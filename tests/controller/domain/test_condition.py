"""Conditions: what they mean, what is none, and what a stage does that has one."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain import condition
from controller.domain.condition import DEPTH_MAX, LENGTH_MAX, STATES, ConditionFault, judge
from controller.domain.outputs import Summary
from controller.domain.pipeline import Pipeline, Stage
from controller.domain.target import TargetState
from controller.domain.validation import validate
from protocol.ids import StageName

EU, US = StageName("eu"), StageName("us")
COUNTS: dict[StageName, dict[str, int]] = {EU: {"succeeded": 9, "failed": 1}, US: {}}
TOLD = {
    EU: {
        "boot_ms": Summary(count=2, least=800, greatest=1_000, total=1_800),
        "temperature": Summary(count=1, least=-5.5, greatest=-5.5, total=-5.5),
    }
}

HOLDS = (
    'count("eu") == 10',
    'count("eu", state == "succeeded") > 8',
    'count("eu", state in ["succeeded", "failed"]) >= 10',
    'share("eu", state == "succeeded") == 90%',
    'share("eu", state == "failed") <= 10.0',
    'share("us", state == "succeeded") == 0',
    'count("us") < count("eu")',
    '10 != count("us")',
    'count("eu") == 9 || count("eu") == 10',
    'count("eu") == 10 || count("eu") == 9 && count("eu") == 8',
    '(count("eu") == 10 || count("eu") == 9) && !(count("eu") == 8)',
    'min("eu", "boot_ms") == 800 && max("eu", "boot_ms") == 1000 && avg("eu", "boot_ms") == 900',
    'avg("eu", "temperature") > -6 && avg("eu", "temperature") < -5.25',
    'max("eu", "boot_ms") > min("eu", "boot_ms")',
    'avg("eu", "boot_ms") < 900.5 && count("eu", state == "failed") <= 1',
)
FAILS = (
    'avg("eu", "boot_ms") < 900',
    'avg("eu", "unknown") < 900',
    'avg("us", "boot_ms") < 900',
    '!(avg("eu", "unknown") > 900)',
    'avg("eu", "unknown") != 0 || count("eu") == 10',
    'count("eu") == 10 || avg("eu", "unknown") < 900',
    'count("eu") < 10',
    'count("eu", state == "succeeded") == 10',
    'share("eu", state == "succeeded") >= 95%',
    '(count("eu") == 10 || count("eu") == 9) && count("eu") == 8',
    '!(count("eu") == 10)',
)


@pytest.mark.parametrize("text", HOLDS)
def test_a_condition_holds(text: str) -> None:
    assert judge(text, COUNTS, TOLD).holds


@pytest.mark.parametrize("text", FAILS)
def test_a_condition_does_not_hold(text: str) -> None:
    assert not judge(text, COUNTS, TOLD).holds


def test_the_numbers_are_told_once_each() -> None:
    text = 'count("eu", state == "succeeded") > 10 && share("eu") > 3 || count("eu", state == "succeeded") > 11'
    assert judge(text, COUNTS).numbers == 'count("eu", succeeded) is 9, share("eu") is 100 %'


def test_what_nobody_has_told_is_named() -> None:
    text = 'min("eu", "boot_ms") > 10 && avg("us", "boot_ms") < 900 && avg("us", "boot_ms") > 1'
    numbers = 'min("eu", "boot_ms") is 800, avg("us", "boot_ms") is not known: no device has told it'
    assert judge(text, COUNTS, TOLD) == (False, numbers)


def test_a_condition_names_the_outputs_it_asks_for() -> None:
    text = '!(avg("eu", "a") > 1) && (min("us", "b") > 1 || max("eu", "a") < max("eu", "c")) && count("eu") > 1'
    assert condition.outputs_of(condition.parse(text)) == {(EU, "a"), (US, "b"), (EU, "c")}
    assert condition.stages_of(condition.parse(text)) == (EU, US)


def test_the_states_are_those_of_devices_in_runs() -> None:
    assert list(STATES) == [state.value for state in TargetState]


FAULTS = (
    ("", "character 1: expected 'count' or 'share' or 'min' or 'max' or 'avg', found 'the end'"),
    ('count("eu")', "expected a comparison"),
    ("count(eu) > 1", "character 7: expected a name in quotes"),
    ('median("eu") > 1', "expected 'count' or 'share' or 'min' or 'max' or 'avg', found 'median'"),
    ('avg("eu") > 1', "character 9: expected ',', found ')'"),
    ('avg("eu", boot) > 1', "character 11: expected a name in quotes"),
    ('avg("eu", "Boot ms") > 1', "expected an output's name such as 'boot_ms', found 'Boot ms'"),
    ('avg("eu", state == "failed") > 1', "expected a name in quotes, found 'state'"),
    ('count("eu", state == "done") > 1', "found 'done'"),
    ('count("eu", phase == "failed") > 1', "expected 'state', found 'phase'"),
    ('count("eu", state in ["failed") > 1', "expected ']'"),
    ('count("eu") > 1 count("eu") > 1', "expected the end"),
    ('count("eu") > 1 )', "expected the end"),
    ('(count("eu") > 1', "expected ')'"),
    ('count("eu") > $', "character 15: '$' is not understood"),
    ('count("eu") > - 1', "character 15: '- 1' is not understood"),
    ("1 > 1" + " " * LENGTH_MAX, "at most 500"),
    ("(" * (DEPTH_MAX + 1) + "1 > 1", "more than 16"),
)


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_what_is_no_condition_says_where_and_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(ConditionFault) as caught:
        condition.parse(text)
    assert message in str(caught.value)


@given(st.text(st.sampled_from('count"eu"(),[]!=<>&| -1%shareinstate"failed"avgminmax'), max_size=60))
def test_any_text_is_a_condition_or_a_fault(text: str) -> None:
    with suppress(ConditionFault):
        assert condition.stages_of(condition.parse(text)) is not None


def faults(**fields: Any) -> list[tuple[str, str]]:
    stages = (Stage(name=EU), Stage(name=US), Stage(name=StageName("rest"), needs=(EU,), **fields))
    return [(fault.place, fault.message) for fault in validate(Pipeline(name="p", stages=stages))]


def test_a_condition_asks_about_needs_alone() -> None:
    assert faults(when='count("eu") > 1') == []
    assert faults(when='count("us") > 1') == [("stages[2].when", "asks about 'us', which is none of the stage's needs")]
    assert faults(when="soon")[0][0] == "stages[2].when"
