"""Charts: where points come to lie, and that the picture is a document that says what it shows."""

from xml.etree import ElementTree as ET

import pytest

from controller.cli.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, draw, even, powers
from controller.domain.gates.curves import Curve

NAMESPACE = "{http://www.w3.org/2000/svg}"
PLAIN = Chart(
    title="Up & down",
    description="What goes up <must> come down.",
    x=even("devices", high=400),
    y=powers("evidence", low=1, high=100),
    curves=(Curve(name="first", points=((0, 1), (400, 100), (200, 10))), Curve(name="second", points=(), end="ended")),
    limits=((10, "half way"),),
)


def drawn(chart: Chart) -> ET.Element:
    return ET.fromstring(draw(chart))


def words(picture: ET.Element) -> list[str]:
    return [found.text or "" for found in picture.iter(f"{NAMESPACE}text")]


def test_points_lie_where_the_axes_say() -> None:
    first, second = drawn(PLAIN).findall(f"{NAMESPACE}polyline")
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    corners = [(LEFT, bottom), (right, TOP), ((LEFT + right) / 2, (TOP + bottom) / 2)]
    assert first.attrib["points"] == " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    assert second.attrib["points"] == ""


def test_what_lies_beyond_an_axis_is_drawn_at_its_end() -> None:
    axis = powers("evidence", low=1, high=100)
    assert [axis.share(value) for value in (0, 1, 10, 100, 1e9)] == [0, 0, 0.5, 1, 1]
    assert even("devices", high=50).share(-1) == 0


def test_curves_differ_in_more_than_colour() -> None:
    lines = drawn(PLAIN).findall(f"{NAMESPACE}polyline")
    assert len({line.attrib["stroke-dasharray"] for line in lines}) == 2
    assert len({line.attrib["stroke"] for line in lines}) == 2


def test_the_last_point_has_a_dot_and_each_one_where_that_is_asked_for() -> None:
    several = Chart(title="", description="", x=PLAIN.x, y=PLAIN.y, curves=PLAIN.curves, has_dots=True)
    assert [len(drawn(chart).findall(f"{NAMESPACE}circle")) for chart in (PLAIN, several)] == [1, 3]


def test_everything_is_named_for_those_who_see_it_and_those_who_do_not() -> None:
    picture = drawn(PLAIN)
    assert picture.attrib["role"] == "img"
    assert picture.findtext(f"{NAMESPACE}title") == "Up & down"
    assert picture.findtext(f"{NAMESPACE}desc") == "What goes up <must> come down."
    assert {"devices", "evidence", "first", "second", "ended", "half way", "Up & down"} <= set(words(picture))


@pytest.mark.parametrize(("high", "last"), [(15, "15"), (7, "6"), (1, "1"), (100_000, "100,000"), (12_345, "10,000")])
def test_even_ticks_are_round_and_few(high: float, last: str) -> None:
    ticks = even("round", high=high).ticks
    assert ticks[-1][1] == last
    assert len(ticks) <= 7


def test_a_logarithmic_axis_shows_what_is_small() -> None:
    assert [text for _, text in powers("evidence", low=0.02, high=3).ticks] == ["0.01", "0.1", "1", "10"]


def test_more_curves_than_can_be_told_apart_are_refused() -> None:
    many = Chart(title="", description="", x=PLAIN.x, y=PLAIN.y, curves=PLAIN.curves * 3)
    with pytest.raises(AssertionError, match="6 curves are more than 5"):
        draw(many)
