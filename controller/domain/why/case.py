"""All that decides why a device is not updated, as data."""

import msgspec

from controller.domain import query
from controller.domain.admission import Blocked
from controller.domain.clock import RunClock
from controller.domain.model import Plan, Run
from controller.domain.pipeline import Stage
from controller.domain.target import Target
from protocol.units import Instant


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The device that is asked about."""

    described: query.Described
    is_online: bool
    is_blocked: bool = False
    is_broken: bool = False
    is_removed: bool = False
    last_seen_at: Instant | None = None


class Rival(msgspec.Struct, frozen=True, kw_only=True):
    """Another run that has the device at work, or that it goes to first."""

    run: str
    is_at_work: bool


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides: one device and one run, now.

    `part` is the device's, in the stage of index `stage`, which it joined as one of `model`; `refusal` is why it would
    not be admitted.
    """

    at: Instant
    device: Subject
    plan: Plan
    run: Run
    part: Target | None = None
    stage: int = 0
    model: str | None = None
    refusal: Blocked | None = None
    rival: Rival | None = None
    last_heard_at: Instant | None = None


def stage_of(case: Case) -> Stage:
    """Return the stage that the device belongs to."""
    return case.plan.pipeline.stages[case.stage]


def wall(clock: RunClock, since: int | None, span_ms: int) -> Instant | None:
    """Return when a span of run time is over that began at *since*; nothing where it has not begun."""
    return None if since is None else clock.wall(since + span_ms)
