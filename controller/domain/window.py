"""When devices may begin work: hours of the week on each device's own clock.

1. A window is open while the clock on the wall shows a time in it: an hour that comes twice is in it twice, and one
   that is left out never comes. Where the clock jumps into a window, it opens at the jump.
2. One whose end is not after its begin goes on past midnight and belongs to the day on which it begins.

>>> from datetime import timezone
>>> night = Window(days=(Day.MON,), begin=22 * 60, end=4 * 60)
>>> noon_of_a_thursday = Instant(12 * 3_600_000)
>>> (opening([night], timezone.utc, noon_of_a_thursday) - noon_of_a_thursday) / 3_600_000
106.0
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.units import Instant, Millis, later

MINUTES: Final = 24 * 60
WINDOWS_MAX: Final = 32
HOPS_MAX: Final = 64
"""How often a search begins anew where clocks are set; those of real places are set a few times a year."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_WEEK: Final = 7


class Day(StrEnum):
    """A day of the week."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_DAYS: Final = tuple(Day)


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Hours from `begin` to before `end`, in minutes since midnight, on some days of the week; none given are all."""

    days: tuple[Day, ...] = ()
    begin: Annotated[int, Meta(ge=0, lt=MINUTES)]
    end: Annotated[int, Meta(ge=1, le=MINUTES)]


def opening(windows: Sequence[Window], zone: tzinfo, at: Instant) -> Instant:
    """Return *at* where one of some windows is open then, else when the next one opens."""
    moment = at
    for _ in range(HOPS_MAX):
        local = _local(zone, moment)
        if any(_is_open(window, local) for window in windows):
            return moment
        begin = later(moment, min(_until_begin(windows, local)))
        moment = _clock_set(zone, moment, begin)
    return moment


def told(windows: Iterable[Window]) -> str:
    """Return windows in words.

    >>> told([Window(days=(Day.SAT, Day.SUN), begin=60, end=330), Window(begin=0, end=MINUTES)])
    'sat sun 01:00 to 05:30, every day 00:00 to 24:00'
    """
    return ", ".join(
        f"{' '.join(window.days) or 'every day'} {clock(window.begin)} to {clock(window.end)}" for window in windows
    )


def clock(minutes: int) -> str:
    """Return minutes since midnight as a clock shows them."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _is_open(window: Window, local: datetime) -> bool:
    minute = local.hour * 60 + local.minute
    if window.begin < window.end:
        return window.begin <= minute < window.end and _is_day(window, local.weekday())
    began_today = minute >= window.begin and _is_day(window, local.weekday())
    return began_today or (minute < window.end and _is_day(window, local.weekday() - 1))


def _is_day(window: Window, weekday: int) -> bool:
    return not window.days or _DAYS[weekday % _WEEK] in window.days


def _until_begin(windows: Iterable[Window], local: datetime) -> Iterator[Millis]:
    """Yield how long each window takes to begin, as long as nobody sets the clock."""
    today = local.replace(hour=0, minute=0, second=0, microsecond=0)
    for window in windows:
        for days in range(_WEEK + 1):
            begin = today + timedelta(days=days, minutes=window.begin)
            if begin > local and _is_day(window, begin.weekday()):
                yield Millis((begin - local) // _MILLISECOND)


def _clock_set(zone: tzinfo, begin: Instant, end: Instant) -> Instant:
    """Return when the clock is set between two instants, the second one where it is not."""
    offset = _local(zone, begin).utcoffset()
    if _local(zone, end).utcoffset() == offset:
        return end
    before, after = begin, end
    while after - before > 1:
        middle = Instant((before + after) // 2)
        if _local(zone, middle).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def _local(zone: tzinfo, at: Instant) -> datetime:
    return (_EPOCH + timedelta(milliseconds=at)).astimezone(zone)
