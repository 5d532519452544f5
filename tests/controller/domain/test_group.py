"""Paths of groups."""

import pytest

from controller.domain.group import DEPTH_MAX, is_within, lineage, parse_path
from protocol.errors import InvalidName


def test_a_path_has_so_many_parts_at_most() -> None:
    deepest = "/".join("g" * DEPTH_MAX)
    assert parse_path(deepest) == deepest
    assert len(lineage(deepest)) == DEPTH_MAX
    with pytest.raises(InvalidName, match="9 levels deep: expected at most 8"):
        parse_path(f"{deepest}/g")


@pytest.mark.parametrize("path", ["", "/", "eu/", "/eu", "eu//berlin", "EU", "eu/Berlin", "eu berlin", "-eu", "e" * 64])
def test_a_part_is_like_a_name(path: str) -> None:
    with pytest.raises(InvalidName, match="part of a group's path"):
        parse_path(path)


@pytest.mark.parametrize(
    ("path", "group", "expected"),
    [("eu", "eu", True), ("eu/berlin", "eu", True), ("europe", "eu", False), ("eu", "eu/berlin", False)],
)
def test_what_lies_within(path: str, group: str, expected: bool) -> None:
    assert is_within(path, group) is expected
