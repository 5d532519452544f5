"""The pages of the reference say what the code does: they are made from it, and nothing lacks its words."""

from pathlib import Path
from typing import Any

import pytest

from protocol.reasons import BLAME, Blame, Reason, RejectCode
from tests.docs import blame, definitions
from tests.docs.page import DOCS, MAKERS, PAGES, PART, made
from tests.docs.tables import FOLDER


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_what_the_code_makes(page: Path) -> None:
    text = page.read_text()
    assert made(text) == text, f"what {page.name} tells has changed: write it anew with 'make docs'"
    assert made(made(text)) == made(text)


def test_no_page_with_marks_is_left_out_and_every_mark_is_known() -> None:
    marked = {page for page in DOCS.rglob("*.md") if PART.search(page.read_text())}
    assert marked == set(PAGES)
    assert {match["maker"] for page in PAGES for match in PART.finditer(page.read_text())} == set(MAKERS)


def test_every_reason_stands_below_whom_it_blames_and_says_what_helps() -> None:
    text = (FOLDER / "reasons.md").read_text()
    assert set(blame.HELP["reasons"]) == set(Reason)
    assert all(f"<!-- blamed {whom} -->" in text for whom in Blame)
    assert all(f"| `{reason}` |" in blame.blamed(BLAME[reason]) for reason in Reason)


def test_every_refusal_says_what_helps() -> None:
    assert set(blame.HELP["refusals"]) == set(RejectCode)


@pytest.mark.parametrize(("title", "part"), list(definitions.parts().items()), ids=definitions.parts())
def test_every_field_of_a_file_is_described(title: str, part: dict[str, Any]) -> None:
    assert part["description"], f"{title} needs a docstring"
    lacking = [name for name, field in part["properties"].items() if not field.get("description")]
    assert lacking == [], f"{title}: write a docstring below the field, where controller/documents has it"


@pytest.mark.parametrize(("place", "told", "words"), list(definitions.enumerated()), ids=lambda value: str(value)[:30])
def test_every_word_that_a_field_takes_is_explained(place: str, told: str, words: list[str]) -> None:
    assert [word for word in words if f"`{word}`" not in told] == [], f"{place} does not explain it"
