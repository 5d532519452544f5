"""The order of versions."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.query import version_key

ASCENDING = (
    "",
    "nightly",
    "v2",
    "0.0.0-a",
    "0",
    "0.0.1",
    "1.0.0-0",
    "1.0.0-2",
    "1.0.0-10",
    "1.0.0-9999999999",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-alpha-1",
    "1.0.0-alpha1",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.0.1",
    "1.0.1-rc.1",
    "1.0.1",
    "1.2",
    "1.10-rc1",
    "1.10",
    "2.99999999",
    "2.100000000",
    "2.9999999999",
    "2024.1.5",
    "20240105",
)
EQUAL = (
    ("2.1", "2.1.0"),
    ("2.1", "02.01.0.0"),
    ("0", "0.0"),
    ("2.1+a", "2.1+b.c"),
    ("2.1-rc.1+a", "2.1.0-rc.01"),
    ("2.1-rc", "2.1rc"),
)


def test_versions_sort_by_their_keys() -> None:
    for lower, higher in pairwise(ASCENDING):
        assert version_key(lower) < version_key(higher), (lower, higher)


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_versions_have_one_key(one: str, other: str) -> None:
    assert version_key(one) == version_key(other)


@given(*[st.lists(st.integers(0, 10**12), min_size=1, max_size=4)] * 2)
def test_numbers_compare_as_numbers(one: list[int], other: list[int]) -> None:
    longest = max(len(one), len(other))
    padded = [numbers + [0] * (longest - len(numbers)) for numbers in (one, other)]
    keys = [version_key(".".join(map(str, numbers))) for numbers in (one, other)]
    assert (keys[0] < keys[1], keys[0] == keys[1]) == (padded[0] < padded[1], padded[0] == padded[1])


@given(st.text(), st.text())
def test_any_text_has_a_place(one: str, other: str) -> None:
    keys = version_key(one), version_key(other)
    assert (keys[0] < keys[1]) + (keys[0] == keys[1]) + (keys[0] > keys[1]) == 1
    assert keys[0] < version_key("0") or one[0] in "0123456789"


def test_a_text_of_any_length_has_a_key() -> None:
    assert version_key("9" * 10_000) < version_key("0-a")
