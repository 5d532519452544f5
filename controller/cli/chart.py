"""Line charts as SVG: one picture, drawn from data, that is legible on a light and on a dark page.

Each curve has a colour and a dash of its own, so that nothing is said by colour alone; the legend says its name and
how it ends. Whoever cannot see the picture is told its title and its description.
"""

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Final

import msgspec

from controller.domain.gates.curves import Curve, Point

WIDTH: Final = 760
HEIGHT: Final = 380
LEFT, RIGHT, TOP, BOTTOM = 76, 216, 58, 52
STYLES: Final = (
    ("#0072b2", "none"),
    ("#d55e00", "7 3"),
    ("#009e73", "2 3"),
    ("#7b3294", "9 3 2 3"),
    ("#444444", "4 4"),
)
"""Colours that differ for every eye (Okabe and Ito, 2008; two of them darker), and dashes."""
TICKS_MAX: Final = 6
_STEPS: Final = (1, 2, 5, 10)
_LINE: Final = 22
"""From one line of the legend to the next."""


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of a chart: from `low` to `high`, with marks at `ticks`; a logarithmic one begins above 0."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    is_log: bool = False

    def share(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high one; beyond them it lies at the end."""
        low, high, at = (log10(max(x, self.low)) if self.is_log else x for x in (self.low, self.high, value))
        return min(max((at - low) / (high - low), 0.0), 1.0)


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """What is drawn: up to five `curves`, and `limits`, values of y that are named."""

    title: str
    description: str
    x: Axis
    y: Axis
    curves: tuple[Curve, ...]
    limits: tuple[tuple[float, str], ...] = ()
    has_dots: bool = False


def even(title: str, *, high: float) -> Axis:
    """Return an axis from 0 to *high*, above 0, with ticks at round numbers.

    >>> [text for _, text in even("devices", high=400).ticks]
    ['0', '100', '200', '300', '400']
    """
    power = 10 ** floor(log10(high / TICKS_MAX))
    step = next(power * step for step in _STEPS if high / (power * step) <= TICKS_MAX)
    ticks = tuple((step * index, f"{step * index:,.10g}") for index in range(floor(high / step) + 1))
    return Axis(title=title, low=0, high=high, ticks=ticks)


def powers(title: str, *, low: float, high: float) -> Axis:
    """Return a logarithmic axis that spans *low* to *high*, both above 0, with a tick at each power of ten.

    >>> [text for _, text in powers("devices", low=2, high=5_000).ticks]
    ['1', '10', '100', '1,000', '10,000']
    """
    first = floor(log10(low))
    last = max(first + 1, ceil(log10(high)))
    ticks = tuple((10.0**power, f"{10.0**power:,.10g}") for power in range(first, last + 1))
    return Axis(title=title, low=10.0**first, high=10.0**last, ticks=ticks, is_log=True)


def draw(chart: Chart) -> str:
    """Return a chart as an SVG document, with a line break at its end.

    Raises:
        AssertionError: if it has more curves than there are styles.
    """
    assert len(chart.curves) <= len(STYLES), f"{len(chart.curves)} curves are more than {len(STYLES)} can tell apart"
    return "\n".join((*_head(chart), *_frame(chart), *_limits(chart), *_curves(chart), *_legend(chart), "</svg>\n"))


def _head(chart: Chart) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        ' font-family="sans-serif" font-size="13" fill="#222222">'
    )
    yield f"<title>{escape(chart.title)}</title>"
    yield f"<desc>{escape(chart.description)}</desc>"
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    yield _text(LEFT, TOP - 32, chart.title, 'font-size="15" font-weight="bold"')


def _frame(chart: Chart) -> Iterator[str]:
    """Yield the grid, the numbers beside it, and what the axes are."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for value, words in chart.x.ticks:
        x, _ = _place(chart, (value, chart.y.low))
        yield f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="#dddddd"/>'
        yield _text(x, bottom + 18, words, 'text-anchor="middle"')
    for value, words in chart.y.ticks:
        _, y = _place(chart, (chart.x.low, value))
        yield f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#dddddd"/>'
        yield _text(LEFT - 8, y + 4, words, 'text-anchor="end"')
    yield f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#222222"/>'
    yield _text((LEFT + right) / 2, HEIGHT - 12, chart.x.title, 'text-anchor="middle"')
    middle = (TOP + bottom) / 2
    yield _text(16, middle, chart.y.title, f'text-anchor="middle" transform="rotate(-90 16 {middle:.1f})"')


def _limits(chart: Chart) -> Iterator[str]:
    for value, words in chart.limits:
        _, y = _place(chart, (chart.x.low, value))
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#c00000" stroke-width="1.5"/>'
        yield _text((LEFT + WIDTH - RIGHT) / 2, y - 5, words, 'text-anchor="middle" fill="#c00000"')


def _curves(chart: Chart) -> Iterator[str]:
    for curve, (colour, dashes) in zip(chart.curves, STYLES, strict=False):
        places = [_place(chart, point) for point in curve.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline points="{line}" fill="none" {_stroke(colour, dashes)}/>'
        dots = places if chart.has_dots else places[-1:]
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in dots)


def _legend(chart: Chart) -> Iterator[str]:
    """Yield the names of the curves beside the chart, from top to bottom, and under each how it ends."""
    y, left = TOP + 10, WIDTH - RIGHT + 16
    for curve, (colour, dashes) in zip(chart.curves, STYLES, strict=False):
        yield f'<path d="M{left} {y - 4}h28" {_stroke(colour, dashes)}/>'
        for line, place in zip(_lines(curve), (y, y + _LINE - 6), strict=False):
            yield _text(left + 36, place, line)
        y += _LINE * len(_lines(curve))


def _lines(curve: Curve) -> Sequence[str]:
    return [curve.name, curve.end] if curve.end else [curve.name]


def _stroke(colour: str, dashes: str) -> str:
    return f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"'


def _place(chart: Chart, point: Point) -> Point:
    """Return where a point is drawn, in units of the picture from its upper left corner."""
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return LEFT + width * chart.x.share(point[0]), HEIGHT - BOTTOM - height * chart.y.share(point[1])


def _text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{f" {style}" if style else ""}>{escape(words)}</text>'
