"""Runs that start by themselves: a release appeared in a channel, a schedule came, a signed hook was called.

The rules this module keeps:

1. A job never has two active runs: a release or a hook waits for the end of the active one, and the latest that waits
   counts; a schedule that comes meanwhile is left out.
2. What starts, waits, is superseded or left out is in the audit log, with the trigger as the actor.
3. Nothing here is remembered but in rows: after a restart what is due is still due.
"""

from datetime import UTC, datetime
from typing import Final

import msgspec

from controller.app import audit, runs, schedules
from controller.app.access import Actor, Role
from controller.app.advance import Advance
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import CallerError
from controller.app.records import JobRecord, ReleaseRecord, RunRecord
from controller.app.repositories import Transaction
from controller.app.schedules import LATE_MS_MAX
from controller.domain.trigger import OnRelease, OnSchedule, StartRequest, told
from protocol.units import SECOND, Instant

STARTS_MAX: Final = 16
"""The most jobs that one transaction looks after; the others are still due in the next."""


def actor_of(name: str) -> Actor:
    """Return the actor that a trigger is in the audit log."""
    return Actor(name=name, role=Role.OPERATOR)


def appeared(advance: Advance, release: ReleaseRecord, channel: str) -> tuple[str, ...]:
    """Start a run of every job that waits for releases of this channel; return the ids of those that began."""
    wanted = OnRelease(channel=channel)
    jobs = [job for job in advance.tx.catalog.jobs() if job.operation.app == release.app and wanted in job.triggers]
    request = StartRequest(by=told(wanted), at=advance.at, version=release.version)
    begun = [offer(advance, job, request) for job in jobs]
    return tuple(record.uid for record in begun if record is not None)


def offer(advance: Advance, job: JobRecord, request: StartRequest) -> RunRecord | None:
    """Start a run at once, or have it wait for the end of the active one; the latest that waits counts."""
    if job.active_run is None:
        return _begin(advance, job, request)
    before = job.waiting
    if before is not None:
        said = f"{_version(job, before)} of {before.by} gives way to {_version(job, request)}"
        _note(advance, job, request, verb="job.supersede", reason=said)
    advance.tx.catalog.save_job(msgspec.structs.replace(job, waiting=request))
    said = f"{_version(job, request)} waits for the end of {job.active_run}"
    _note(advance, job, request, verb="job.wait", reason=said)
    return None


def start_due(controller: Controller, tx: Transaction, after: Consequences) -> None:
    """Start what waited for a run that has ended, and what schedules are due."""
    advance = Advance(controller, tx, after)
    for job in tx.catalog.startable(advance.at)[:STARTS_MAX]:
        if job.waiting is not None and job.active_run is None:
            tx.catalog.save_job(msgspec.structs.replace(job, waiting=None))
            _begin(advance, job, job.waiting)
        _look_at_schedules(advance, job.name)
    advance.finish()


def _look_at_schedules(advance: Advance, name: str) -> None:
    job = advance.tx.catalog.job(name)
    if job is None or job.next_at is None or job.next_at > advance.at:
        return
    scheduled = [trigger for trigger in job.triggers if isinstance(trigger, OnSchedule)]
    came = [t for t in scheduled if _next(t, Instant(job.next_at - 1)) == job.next_at]
    upcoming = [at for at in (_next(trigger, advance.at) for trigger in scheduled) if at is not None]
    changed = msgspec.structs.replace(job, next_at=min(upcoming, default=None))
    advance.tx.catalog.save_job(changed)
    request = StartRequest(by=told((came or scheduled)[0]), at=advance.at)
    if advance.at - job.next_at > LATE_MS_MAX:
        reason = f"{_moment(job.next_at)} was missed: nobody looked until {_moment(advance.at)}"
        _note(advance, job, request, verb="job.miss", reason=reason)
    elif job.active_run is not None:
        _note(advance, job, request, verb="job.miss", reason=f"{_moment(job.next_at)}: {job.active_run} was active")
    else:
        _begin(advance, changed, request)


def _next(trigger: OnSchedule, after: Instant) -> Instant | None:
    """Return when a schedule comes next; None where its time zone is no more, or it never comes again."""
    try:
        return schedules.next_instant(trigger, after)
    except CallerError:
        return None


def _begin(advance: Advance, job: JobRecord, request: StartRequest) -> RunRecord | None:
    """Start a run; where it may not start, say why in the audit log: nobody is there to be told."""
    try:
        return runs.begin(advance, actor_of(request.by), job, request)
    except CallerError as error:
        _note(advance, job, request, verb="job.fail", reason=str(error))
        return None


def _note(advance: Advance, job: JobRecord, request: StartRequest, *, verb: str, reason: str) -> None:
    audit.record(advance.tx, actor_of(request.by), verb, job.name, at=advance.at, reason=reason)


def _version(job: JobRecord, request: StartRequest) -> str:
    return request.version or job.operation.version


def _moment(at: Instant) -> str:
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
