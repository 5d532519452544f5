"""When a schedule comes next: cron expressions on the clocks of a time zone.

Where clocks are set forward, a time of day that does not exist comes at the first instant that does; where they are set
back, a time of day that exists twice comes the first time alone. A schedule of every hour, or of every few minutes,
goes by elapsed time and knows neither. It is what cron of Debian does.

>>> from protocol.trust import instant_of
>>> noon = instant_of(datetime(2026, 3, 28, 12, tzinfo=UTC))
>>> told = datetime.fromtimestamp(next_instant(OnSchedule(cron="30 2 * * *", zone="Europe/Berlin"), noon) / 1000, UTC)
>>> told.isoformat()
'2026-03-29T01:00:00+00:00'
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from controller.app.errors import InvalidRequest
from controller.app.zones import zone_of
from controller.domain.trigger import JobTrigger, OnSchedule
from protocol.trust import instant_of
from protocol.units import HOUR, SECOND, Instant, Millis

CRON_LENGTH_MAX: Final = 128
FIELDS: Final = 5
LATE_MS_MAX: Final = Millis(HOUR)
"""How late a scheduled start may be; what was missed by more, because the controller was down, is left out."""


def check(trigger: OnSchedule) -> None:
    """Go on only with a schedule that can be read and that comes.

    Raises:
        InvalidRequest: when the expression or the time zone is none, or no such instant exists.
    """
    next_instant(trigger, Instant(0))


def next_instant(trigger: OnSchedule, after: Instant) -> Instant:
    """Return the first instant of a schedule that lies after another.

    Raises:
        InvalidRequest: when the expression or the time zone is none, or no such instant exists.
    """
    begin = datetime.fromtimestamp(after / SECOND, UTC).astimezone(_zone(trigger.zone))
    try:
        for moment in _moments(trigger.cron, begin):
            instant = instant_of(moment.astimezone(UTC))
            if instant > after:  # within an hour that exists twice, a time of day may be one that was
                return instant
    except CronSimError as error:
        raise InvalidRequest(
            f"cron {trigger.cron!r}: {str(error).lower()}; expected such as '0 2 * * MON-FRI'"
        ) from error
    raise InvalidRequest(f"cron {trigger.cron!r} never comes")


def next_of(triggers: Iterable[JobTrigger], after: Instant) -> Instant | None:
    """Return when the first of a job's schedules comes, or None where it has none."""
    return min((next_instant(t, after) for t in triggers if isinstance(t, OnSchedule)), default=None)


def _moments(cron: str, begin: datetime) -> CronSim:
    if len(cron) > CRON_LENGTH_MAX or len(cron.split()) != FIELDS:
        raise CronSimError(f"found no {FIELDS} fields within {CRON_LENGTH_MAX} characters")
    return CronSim(cron, begin)


def _zone(name: str) -> ZoneInfo:
    zone = zone_of(name)
    if zone is None:
        raise InvalidRequest(f"time zone {name[:64]!r} is not known: expected such as 'Europe/Berlin'")
    return zone
