"""Ranges of versions."""

import pytest
from hypothesis import given

from controller.domain.query import version_key
from controller.domain.ranges import CLAUSES_MAX, LENGTH_MAX, InvalidRange, fits, parse_range
from tests.controller.domain.query.trees import versions

FITS = [
    ("2.0", "2.0.0", True),
    ("==2.0", "2.0.1", False),
    ("!=2.0", "2.0.1", True),
    (">=1.2", "1.10", True),
    (">= 1.2, <2", "2.0", False),
    (">=1.2,<2", "2.0-rc.1", True),
    ("<=1.2", "1.2", True),
    (">1.2", "1.2", False),
    ("1.3.*", "1.3", True),
    ("1.3.*", "1.3.9-rc.1", True),
    ("1.3.*", "1.30", False),
    ("==1.3.*", "1", False),
    ("1.0.*", "1", True),
    ("!=1.3.*", "1.3.1", False),
    ("!=1.3.*", "nightly", True),
    ("nightly", "nightly", True),
    ("1.*", "nightly", False),
]


@pytest.mark.parametrize(("text", "version", "expected"), FITS)
def test_a_version_lies_in_a_range_or_not(text: str, version: str, expected: bool) -> None:
    assert fits(parse_range(text), version) is expected


@pytest.mark.parametrize(
    "text", ["", ",", ">=", ">1.*", "1.2.*.3", "*", "=>2", "1 2", "1," * CLAUSES_MAX + "1", "1" * (LENGTH_MAX + 1)]
)
def test_what_is_no_range_is_told(text: str) -> None:
    with pytest.raises(InvalidRange):
        parse_range(text)


@given(versions, versions)
def test_ranges_go_by_the_order_of_queries(low: str, version: str) -> None:
    if set(low) & set(" ,<>=!*") or not low:
        return
    is_below = version_key(version) < version_key(low)
    assert fits(parse_range(f"<{low}"), version) is is_below
    assert fits(parse_range(f">={low}"), version) is not is_below
