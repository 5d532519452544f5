"""The definitions that the documentation shows are without fault."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from controller.documents import load
from tests.docs.test_links import PAGES, ROOT

_BLOCK: Final = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
_HEAD: Final = "kind: Pipeline\nname: shown\n"
_STAGES: Final = "stages: [{name: all}, {name: eu}]\n"


def definitions_of(page: Path) -> Iterator[str]:
    """Return the definitions of a page; one of which only a part is shown gets the rest."""
    for block in _BLOCK.findall(page.read_text()):
        keys: Any = yaml.safe_load(block).keys()
        if "kind" in keys:
            yield block
        elif "stages" in keys:
            yield _HEAD + block
        elif keys & {"parameters", "inputs", "env"}:
            yield _HEAD + _STAGES + block


SHOWN: Final = [(page, text) for page in PAGES for text in definitions_of(page)]


def test_there_are_definitions_to_look_at() -> None:
    assert len({page for page, _ in SHOWN}) >= 4


@pytest.mark.parametrize(
    ("page", "text"), SHOWN, ids=[f"{page.relative_to(ROOT)} {number}" for number, (page, _) in enumerate(SHOWN)]
)
def test_a_definition_that_is_shown_has_no_fault(page: Path, text: str) -> None:
    assert load(text), page
