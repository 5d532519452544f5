"""What a cell of a table says."""

import pytest

from controller.cli.commands.runs import TARGET
from controller.cli.output import text_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        ({}, "-"),
        ({"stage": "canary", "after": 2}, "after=2, stage=canary"),
        (["a", "b"], "a, b"),
        (True, "yes"),
        (0, "0"),
    ],
)
def test_a_value_is_shown_as_a_cell(value: object, text: str) -> None:
    assert text_of(value) == text


def test_what_an_older_controller_does_not_tell_is_an_empty_cell() -> None:
    cells = {column.title: column.cell for column in TARGET.columns}
    assert (cells["MEASURED"]({}), cells["PAIRED"]({})) == ("-", "-")
    assert cells["PAIRED"]({"is_paired": True}) == "yes"
