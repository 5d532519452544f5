"""When a schedule comes next, where clocks are set forward and back, too."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.app import schedules
from controller.app.errors import InvalidRequest
from controller.domain.trigger import OnRelease, OnSchedule
from protocol.trust import instant_of
from protocol.units import Instant

BERLIN = "Europe/Berlin"


def instant(text: str) -> Instant:
    return instant_of(datetime.fromisoformat(text).replace(tzinfo=UTC))


def series(cron: str, zone: str, after: str, count: int) -> list[str]:
    """Return the next instants of a schedule, in UTC, each asked for from the one before."""
    at, found = instant(after), []
    for _ in range(count):
        at = schedules.next_instant(OnSchedule(cron=cron, zone=zone), at)
        found.append(datetime.fromtimestamp(at // 1000, UTC).strftime("%m-%d %H:%M"))
    return found


CASES = (
    # In Berlin clocks go from 2:00 to 3:00 on 2026-03-29 (1:00 UTC), and from 3:00 to 2:00 on 2026-10-25 (1:00 UTC).
    ("a night", "0 2 * * MON-FRI", BERLIN, "2026-07-03T00:00", ["07-06 00:00", "07-07 00:00"]),
    ("a gap", "30 2 * * *", BERLIN, "2026-03-28T00:00", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
    ("a gap, its first instant", "0 3 * * *", BERLIN, "2026-03-28T12:00", ["03-29 01:00", "03-30 01:00"]),
    ("a doubled time", "30 2 * * *", BERLIN, "2026-10-24T12:00", ["10-25 00:30", "10-26 01:30"]),
    ("from between the two", "30 2 * * *", BERLIN, "2026-10-25T01:10", ["10-26 01:30"]),
    ("every hour over a gap", "0 * * * *", BERLIN, "2026-03-29T00:00", ["03-29 01:00", "03-29 02:00"]),
    ("every hour over a doubling", "0 * * * *", BERLIN, "2026-10-25T00:00", ["10-25 01:00", "10-25 02:00"]),
    ("minutes over a doubling", "*/30 * * * *", BERLIN, "2026-10-25T00:00", ["10-25 00:30", "10-25 01:00"]),
    ("half an hour's shift", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", ["10-03 15:30", "10-04 15:15"]),
    ("no shift", "30 2 * * *", "UTC", "2026-03-28T12:00", ["03-29 02:30", "03-30 02:30"]),
    ("a leap day", "0 0 29 2 *", "UTC", "2026-03-01T00:00", ["02-29 00:00"]),
)


@pytest.mark.parametrize(("cron", "zone", "after", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_schedule_comes_when_the_clocks_of_its_zone_say(
    cron: str, zone: str, after: str, expected: list[str]
) -> None:
    assert series(cron, zone, after, len(expected)) == expected


@given(
    start=st.integers(0, 4_000_000_000_000),
    cron=st.sampled_from(["30 2 * * *", "*/7 * * * *", "0 */5 * * *", "15 1-3 * * SUN", "59 23 L * *"]),
    zone=st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]),
)
def test_a_schedule_always_goes_forward_and_skips_nothing(start: int, cron: str, zone: str) -> None:
    trigger = OnSchedule(cron=cron, zone=zone)
    first = schedules.next_instant(trigger, Instant(start))
    assert first > start
    assert schedules.next_instant(trigger, Instant(first - 1)) == first
    assert schedules.next_instant(trigger, Instant((start + first) // 2)) == first


@pytest.mark.parametrize(
    ("cron", "zone", "message"),
    [
        ("0 2 * *", "UTC", "5 fields"),
        ("* * * * * *", "UTC", "5 fields"),
        ("61 2 * * *", "UTC", "bad minute"),
        ("0 0 30 2 *", "UTC", "bad day-of-month"),
        ("0 2 * * *".replace(" ", " " * 40), "UTC", "within 128"),
        ("0 2 * * *", "Mars/Olympus", "not known"),
        ("0 2 * * *", "../../etc/passwd", "not known"),
        ("0 2 * * *", "Europe", "not known"),
        ("0 2 * * *", "", "not known"),
    ],
)
def test_what_is_no_schedule_is_refused(cron: str, zone: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        schedules.check(OnSchedule(cron=cron, zone=zone))


def test_the_first_of_several_schedules_counts() -> None:
    late, early = OnSchedule(cron="0 5 * * *"), OnSchedule(cron="0 4 * * *")
    assert schedules.next_of([OnRelease(channel="stable"), late, early], Instant(0)) == 4 * 3_600_000
    assert schedules.next_of([OnRelease(channel="stable")], Instant(0)) is None
