"""What starts runs of a job by itself, as data: a release that appears in a channel, a schedule, a signed hook.

A person may start a run of any job; nothing has to be written down for that.
"""

from typing import Final, assert_never

import msgspec

from controller.domain.parameters import Given
from protocol.units import Instant

TRIGGERS_MAX: Final = 8
"""The most triggers of one job."""
UTC: Final = "UTC"


class OnRelease(msgspec.Struct, frozen=True, kw_only=True, tag_field="on", tag="release"):
    """A release of the job's app appears in a channel."""

    channel: str


class OnSchedule(msgspec.Struct, frozen=True, kw_only=True, tag_field="on", tag="schedule"):
    """An instant of a schedule comes: five fields as cron has them, read on the clocks of a time zone."""

    cron: str
    zone: str = UTC


JobTrigger = OnRelease | OnSchedule


class StartRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A run that somebody or something asked for.

    `version` is another one than the job's, what is `given` is laid over what the job gives, `reason` is kept in the
    audit log, and `salt` is that of a preview. Only a person says that a deprecated release is allowed.
    """

    by: str
    at: Instant
    version: str | None = None
    given: Given = Given()
    reason: str = ""
    salt: str | None = None
    allows_deprecated: bool = False


def told(trigger: JobTrigger) -> str:
    """Return the name under which a trigger acts, in the audit log and in the runs that it starts.

    >>> told(OnSchedule(cron="0 2 * * *", zone="Europe/Berlin"))
    'trigger:schedule 0 2 * * * Europe/Berlin'
    """
    match trigger:
        case OnRelease(channel=channel):
            return f"{ACTOR_PREFIX}channel {channel}"
        case OnSchedule(cron=cron, zone=zone):
            return f"{ACTOR_PREFIX}schedule {cron} {zone}"
        case _:
            assert_never(trigger)


ACTOR_PREFIX: Final = "trigger:"
"""How the names of triggers begin, and of nobody else."""
HOOK_ACTOR: Final = f"{ACTOR_PREFIX}hook"
