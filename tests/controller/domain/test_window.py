"""Windows on clocks that are set forward and back."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.domain.window import MINUTES, Day, Window, opening, told
from protocol.units import DAY, HOUR, MINUTE, Instant

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
]
EVERY_DAY = {
    "night": Window(begin=22 * 60, end=4 * 60),
    "gap": Window(begin=150, end=170),
    "dawn": Window(begin=120, end=210),
}

windows = st.lists(
    st.builds(
        Window,
        days=st.lists(st.sampled_from(Day), max_size=3, unique=True).map(tuple),
        begin=st.integers(0, MINUTES - 1),
        end=st.integers(1, MINUTES),
    ).filter(lambda window: window.begin != window.end),
    min_size=1,
    max_size=3,
)
instants = st.integers(1_577_836_800_000, 1_893_456_000_000).map(Instant)


def instant(text: str, zone: tzinfo = UTC) -> Instant:
    return Instant(int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000))


def shown(at: int, zone: tzinfo = UTC) -> str:
    return datetime.fromtimestamp(at / 1000, zone).isoformat(timespec="minutes")


def is_open(window: Window, zone: tzinfo, at: int) -> bool:
    """Say it by another way: go back from the time on the wall to the beginning that it would belong to."""
    local = datetime.fromtimestamp(at / 1000, zone).replace(tzinfo=UTC)
    for days_ago in (0, 1):
        midnight = datetime(local.year, local.month, local.day, tzinfo=UTC) - timedelta(days=days_ago)
        length = (window.end - window.begin) % MINUTES or MINUTES
        begin = midnight + timedelta(minutes=window.begin)
        is_day = not window.days or midnight.strftime("%a").lower() in window.days
        if is_day and begin <= local < begin + timedelta(minutes=length):
            return True
    return False


CASES = [
    ("night", "UTC", "2026-05-04T21:59", "2026-05-04T22:00+00:00"),
    ("night", "UTC", "2026-05-04T23:00", "2026-05-04T23:00+00:00"),
    ("night", "UTC", "2026-05-05T03:59", "2026-05-05T03:59+00:00"),
    ("night", "UTC", "2026-05-05T04:00", "2026-05-05T22:00+00:00"),
    ("night", "Asia/Kathmandu", "2026-05-05T04:00", "2026-05-05T22:00+05:45"),
    ("gap", "Europe/Berlin", "2026-03-29T00:00", "2026-03-30T02:30+02:00"),
    ("dawn", "Europe/Berlin", "2026-03-29T00:00", "2026-03-29T03:00+02:00"),
    ("dawn", "Europe/Berlin", "2026-10-25T00:00", "2026-10-25T02:00+02:00"),
    ("gap", "Europe/Berlin", "2026-10-25T02:55", "2026-10-25T02:30+01:00"),
]


@pytest.mark.parametrize(("name", "zone", "at", "expected"), CASES)
def test_a_window_opens_by_the_clock_on_the_wall(name: str, zone: str, at: str, expected: str) -> None:
    place = ZoneInfo(zone)
    assert shown(opening([EVERY_DAY[name]], place, instant(at, place)), place) == expected


def test_a_clock_that_is_set_back_into_a_window_opens_it() -> None:
    before = Instant(instant("2026-10-25T00:59") + MINUTE // 2)
    early = Window(begin=120, end=130)
    assert shown(opening([early], BERLIN, before), BERLIN) == "2026-10-25T02:00+01:00"


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    friday = Window(days=(Day.FRI,), begin=22 * 60, end=4 * 60)
    assert shown(opening([friday], UTC, instant("2026-05-08T03:00"))) == "2026-05-08T22:00+00:00"
    assert shown(opening([friday], UTC, instant("2026-05-09T03:00"))) == "2026-05-09T03:00+00:00"
    assert shown(opening([friday], UTC, instant("2026-05-09T23:00"))) == "2026-05-15T22:00+00:00"


@given(windows, st.sampled_from(ZONES), instants)
@example([EVERY_DAY["gap"]], BERLIN, instant("2026-03-29T00:10"))
@example([EVERY_DAY["gap"]], BERLIN, instant("2026-10-25T00:10"))
@example([Window(begin=110, end=130)], ZoneInfo("Australia/Lord_Howe"), instant("2026-04-04T14:00"))
def test_what_opens_is_open_and_nothing_was_before(given_: list[Window], zone: tzinfo, at: Instant) -> None:
    opens = opening(given_, zone, at)
    assert opens >= at
    assert any(is_open(window, zone, opens) for window in given_)
    step = max(MINUTE, (opens - at) // 500)
    earlier = [*range(at, opens, step), *([opens - 1] if opens > at else [])]
    assert not any(is_open(window, zone, moment) for moment in earlier for window in given_)


class Restless(tzinfo):
    """A clock that is set every hour and never shows noon."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        assert moment is not None
        return timedelta(minutes=-(moment.hour % 2) * 30)

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "restless"

    def fromutc(self, moment: datetime) -> datetime:
        hours = int((moment.replace(tzinfo=UTC).timestamp() // 3600) % 24)
        return moment.replace(hour=hours % 2, minute=min(moment.minute, 29))


def test_a_clock_that_never_comes_to_rest_is_asked_again_later() -> None:
    at = instant("2026-05-04T00:00")
    again = opening([Window(begin=720, end=721)], Restless(), at)
    assert at < again < at + 90 * DAY


def test_windows_in_words() -> None:
    assert told([Window(begin=60, end=90)]) == "every day 01:00 to 01:30"
    assert opening([Window(begin=0, end=MINUTES)], timezone(timedelta(hours=3)), Instant(HOUR)) == Instant(HOUR)
