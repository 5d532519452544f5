"""Plans of runs over what an earlier run left: trying again what did not succeed, and taking back what was reached."""

from collections.abc import Collection, Mapping

import msgspec

from controller.app import withdrawn
from controller.app.errors import Conflict, NotFound
from controller.app.membership import Joining, chosen
from controller.app.records import ReleaseRecord, RunRecord
from controller.app.repositories import Transaction
from controller.domain.model import Plan
from controller.domain.pipeline import Pace, Pipeline, Stage
from controller.domain.rerun import Purpose, RollbackOrder, Source, said
from controller.domain.states import ReleaseState
from protocol.ids import AppName, StageName
from protocol.messages import ReleaseRef

ROLLBACK: StageName = StageName("rollback")
"""The one stage of a run that takes devices back."""
SEVERAL = "several"
"""The version of a run whose devices go to versions of their own."""


def retry_plan(tx: Transaction, record: RunRecord, *, version: str | None, with_cancelled: bool, by: str) -> Plan:
    """Return the plan of a run over the devices that failed or were missed in an ended run, or were cancelled, too.

    Raises:
        NotFound: when the version is not published.
        Conflict: when no device is to be tried again.
    """
    plan, past = record.plan, tx.targets.unsuccessful(record.stage_ids, with_cancelled=with_cancelled)
    first = record.stage_ids[0]
    opened = {(one.id >> 32) - first for one in past}
    names = [stage.name for stage in plan.pipeline.stages]
    source = Source(
        run=record.uid,
        run_id=record.id,
        purpose=Purpose.RETRY,
        empty=tuple(name for index, name in enumerate(names) if index not in opened),
        with_cancelled=with_cancelled,
        version=(version or "") if plan.releases else "",
    )
    again = _to_be_had(tx, msgspec.structs.replace(plan, source=source, started_by=by), version=version)
    _require_members(
        chosen(again, source, past), f"run {record.uid} has no device to try again{_unasked(record, source)}"
    )
    return again


def rollback_plan(tx: Transaction, record: RunRecord, order: RollbackOrder, *, by: str) -> Plan:
    """Return the plan of the run that takes back the devices that an ended run has reached.

    Raises:
        NotFound: when the version that the order names is not published.
        Conflict: when no device can be taken back.
    """
    plan, found = rollback_of(tx, record, order, by=by)
    _require_members(found, f"run {record.uid} has no device to take back")
    return plan


def rollback_of(tx: Transaction, record: RunRecord, order: RollbackOrder, *, by: str) -> tuple[Plan, Joining]:
    """Return the plan of a rollback as it would be now, and who would join it, which may be nobody.

    Raises:
        NotFound: when the version that the order names is not published.
    """
    app, past = record.plan.operation.app, tx.targets.reached(record.stage_ids)
    if order.version:
        release_of(tx, app, order.version)
    versions = {order.version} if order.version else {one.previous for one in past if one.previous}
    releases = _releases(tx, app, versions)
    source = Source(run=record.uid, run_id=record.id, purpose=Purpose.ROLLBACK, version=order.version)
    plan = msgspec.structs.replace(
        record.plan,
        pipeline=_pipeline(record.plan.pipeline),
        priority=record.plan.priority + 1,
        started_by=by,
        source=source,
        # Where nothing is to be had nobody joins, and a plan without releases would mean something else.
        releases=releases or {"": record.plan.release},
    )
    found = chosen(plan, source, past)
    return _named(plan, {member.wanted for member in found.members if member.wanted}), found


def release_of(tx: Transaction, app: AppName, version: str) -> ReleaseRecord:
    """Return a release that may be installed.

    Raises:
        NotFound: when it is not published.
        ReleaseWithdrawn: when it was withdrawn.
    """
    release = tx.catalog.release(app, version)
    if release is None:
        known = ", ".join(one.version for one in tx.catalog.releases(app)) or "none"
        raise NotFound(f"version {version!r} of {app!r} is not published; published: {known}")
    withdrawn.require_usable(release)
    return release


def ref_of(release: ReleaseRecord) -> ReleaseRef:
    """Return how a command refers to a release."""
    return ReleaseRef(path=release.path, sha256=release.sha256, length=release.length, counter=release.counter)


def _to_be_had(tx: Transaction, plan: Plan, *, version: str | None) -> Plan:
    """Return a plan for another version, or for its own as far as they may still be installed."""
    app = plan.operation.app
    if version is not None or not plan.releases:
        return _at(plan, release_of(tx, app, version or plan.operation.version))
    return msgspec.structs.replace(plan, releases=_releases(tx, app, plan.releases) or {"": plan.release})


def _at(plan: Plan, release: ReleaseRecord) -> Plan:
    """Return a plan for another version, to which all devices go."""
    releases = {release.version: ref_of(release)} if plan.releases else {}
    operation = msgspec.structs.replace(plan.operation, version=release.version)
    return msgspec.structs.replace(plan, operation=operation, release=ref_of(release), releases=releases)


def _releases(tx: Transaction, app: AppName, versions: Collection[str]) -> Mapping[str, ReleaseRef]:
    """Return those of *versions* that are published and not withdrawn."""
    found = [tx.catalog.release(app, version) for version in sorted(versions)]
    usable = [release for release in found if release is not None and release.state is not ReleaseState.WITHDRAWN]
    return {release.version: ref_of(release) for release in usable}


def _named(plan: Plan, versions: Collection[str]) -> Plan:
    """Return a plan that is called after the version that its devices go to."""
    version = next(iter(versions)) if len(versions) == 1 else SEVERAL
    operation = msgspec.structs.replace(plan.operation, version=version)
    return msgspec.structs.replace(plan, operation=operation, release=next(iter(plan.releases.values())))


def _pipeline(pipeline: Pipeline) -> Pipeline:
    rules = pipeline.rollback
    widest = max((stage.pace for stage in pipeline.stages), key=lambda pace: pace.max_in_flight, default=Pace())
    stage = Stage(
        name=ROLLBACK,
        pace=rules.pace or Pace(max_in_flight=widest.max_in_flight),
        gate=rules.gate,
        timeouts=rules.timeouts,
        retry=rules.retry,
    )
    return msgspec.structs.replace(pipeline, stages=(stage,))


def _unasked(record: RunRecord, source: Source) -> str:
    """Return in words how many more devices of the earlier run there are that a retry was not asked to take."""
    cancelled = sum(stage.tally.cancelled for stage in record.run.stages)
    held = sum(
        stage.control.tally.targets - stage.control.tally.removed for stage in record.run.stages if stage.control
    )
    if source.with_cancelled or not cancelled + held:
        return ""
    words = "cancelled or held back" if held else "cancelled"
    return f"; {cancelled + held} {'was' if cancelled + held == 1 else 'were'} {words}, which are taken when asked for"


def _require_members(found: Joining, message: str) -> None:
    if not found.members:
        why = said(found.left_out)
        raise Conflict(f"{message}: {why}" if why else message)
