"""The pictures show what the code does now, and stand on a page that says how to draw them."""

import re
from typing import Final

import pytest

from tests.docs.plots import FOLDER, PLOTS, drawn

NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")
ROUNDED: Final = 0.11
"""Places are rounded to a tenth, which may fall to either side on another machine."""


def test_all_pictures_are_drawn_by_a_command() -> None:
    assert {path.name for path in FOLDER.glob("*.svg")} == set(PLOTS)


@pytest.mark.parametrize("name", PLOTS)
def test_a_picture_is_what_its_command_draws(name: str) -> None:
    kept, now = (FOLDER / name).read_text(), drawn(PLOTS[name])
    assert NUMBER.sub("#", kept) == NUMBER.sub("#", now), "make docs draws it anew"
    places = [float(number) for number in NUMBER.findall(now)]
    assert [float(number) for number in NUMBER.findall(kept)] == pytest.approx(places, abs=ROUNDED)


@pytest.mark.parametrize("name", PLOTS)
def test_a_page_shows_a_picture_and_says_how_to_draw_it(name: str) -> None:
    pages = [page.read_text() for page in FOLDER.glob("*.md")]
    showing = [page for page in pages if re.search(rf"!\[[^\]]{{20,}}\]\({re.escape(name)}\)", page)]
    assert len(showing) == 1
    assert f"tidegate {PLOTS[name]}\n" in showing[0] or f"tidegate {PLOTS[name]} " in showing[0]
