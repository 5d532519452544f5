"""The SQL of devices in runs, each statement once."""

from typing import Any, Final

import sqlalchemy as sa

from controller.domain.admission import BlockReason
from controller.domain.target import TargetState
from controller.store.columns import Bulk, is_exactly, one_of
from controller.store.tables import (
    BAD_ENDS,
    device,
    device_app,
    is_admissible,
    is_at_site,
    is_at_work,
    is_kept_out,
    is_queued,
    run,
    stage_run,
    target_run,
)
from controller.store.target_rows import SAVED

_t = target_run.c
_low: sa.BindParameter[int] = sa.bindparam("low")
_high: sa.BindParameter[int] = sa.bindparam("high")
_limit = sa.bindparam("limit", type_=sa.Integer)
_in_range = sa.and_(_t.id > _low, _t.id < _high)

_busy = target_run.alias("busy")
_is_busy_elsewhere = sa.exists().where(
    _busy.c.device_id == _t.device_id, is_exactly(_busy.c.state, TargetState.IN_PROGRESS.value)
)
_is_fit = sa.exists().where(device.c.id == _t.device_id, ~device.c.is_blocked, ~device.c.is_broken)

INSERT: Final = Bulk.insert(target_run, *target_run.c.keys())
MEMBERS: Final = sa.select(_t.device_id).where(_t.run_id == sa.bindparam("run_id"))
MEMBERS_AMONG: Final = MEMBERS.where(one_of(_t.device_id, "device_ids"))
LAST_IN_STAGE: Final = sa.select(sa.func.max(_t.id)).where(_in_range)
PLACED: Final = sa.select(_t.device_id, _t.id).where(_t.run_id == sa.bindparam("run_id"))
BY_IDS: Final = sa.select(target_run).where(one_of(_t.id, "ids"))
STATES: Final = sa.select(_t.id, _t.state).where(one_of(_t.id, "ids"))
READY: Final = (
    sa.select(target_run)
    .where(is_admissible, _t.ready == sa.bindparam("instance"), _in_range)
    .where(sa.or_(_t.due.is_(None), _t.due <= sa.bindparam("now")))
    .where(~_is_busy_elsewhere, _is_fit)
    .order_by(_t.id)
    .limit(_limit)
)
IN_FLIGHT: Final = sa.select(target_run).where(_t.run_id == sa.bindparam("run_id"), is_at_work).order_by(_t.id)
FIND: Final = sa.select(target_run).where(
    _t.run_id == sa.bindparam("run_id"), _t.device_id == sa.bindparam("device_id")
)
OF_DEVICE: Final = (
    sa.select(target_run)
    .where(_t.run_id.in_(sa.select(run.c.id).where(run.c.is_active == sa.true())))
    .where(_t.device_id == sa.bindparam("device_id"))
    .order_by(_t.run_id)
)
AT_WORK: Final = sa.select(target_run).where(_t.device_id == sa.bindparam("device_id"), is_at_work)
DUE: Final = (
    sa.select(target_run)
    .where(_t.run_id == sa.bindparam("run_id"), _t.due <= sa.bindparam("now"))
    .order_by(_t.due, _t.id)
    .limit(_limit)
)
NEXT_DUE: Final = sa.select(sa.func.min(_t.due)).where(_t.run_id == sa.bindparam("run_id"), _t.due.is_not(None))
WAITING: Final = (
    sa.select(_t.id, _t.run_id, _t.ready)
    .where(_t.run_id.in_(sa.select(run.c.id).where(run.c.is_active == sa.true())))
    .where(one_of(_t.device_id, "device_ids"), is_queued)
)
SET_READY: Final = Bulk.update(target_run, "ready")
BLOCK: Final = Bulk.update(target_run, "blocked", "block_text", "check_at", "site", "updated_at")
NO_BLOCK: Final = {"blocked": None, "block_text": "", "check_at": None}
BLOCKED_DEVICES: Final = sa.select(_t.id, _t.run_id).where(one_of(_t.device_id, "device_ids"), is_kept_out)
UNBLOCK: Final = sa.update(target_run).where(one_of(_t.id, "ids")).values(NO_BLOCK)
_has_check = _t.check_at.is_not(None)
CHECKED: Final = (
    sa.select(_t.id)
    .where(_t.run_id == sa.bindparam("run_id"), _has_check, _t.check_at <= sa.bindparam("at"))
    .order_by(_t.check_at, _t.id)
    .limit(_limit)
)
NEXT_CHECK: Final = sa.select(sa.func.min(_t.check_at)).where(_t.run_id == sa.bindparam("run_id"), _has_check)
UNBLOCK_REASON: Final = (
    sa.update(target_run)
    .where(_t.run_id == sa.bindparam("b_run_id"), is_kept_out, _t.blocked == sa.bindparam("b_reason"))
    .values(NO_BLOCK)
)
SITE_FULL: Final = (
    sa.select(_t.id)
    .where(_t.run_id == sa.bindparam("run_id"), _t.stage == sa.bindparam("stage"), is_kept_out)
    .where(_t.blocked == BlockReason.SITE_FULL.value, _t.site == sa.bindparam("site"))
)
AT_SITE: Final = (
    sa.select(_t.site, sa.func.count()).where(is_at_site, one_of(_t.site, "sites"), _in_range).group_by(_t.site)
)
BLOCKED_COUNTS: Final = (
    sa.select(_t.stage, _t.blocked, sa.func.count())
    .where(_t.run_id == sa.bindparam("run_id"), is_kept_out)
    .group_by(_t.stage, _t.blocked)
)
STAGES: Final = (
    sa.select(stage_run.c.id).where(stage_run.c.run_id == sa.bindparam("run_id")).order_by(stage_run.c.position)
)
IN_STAGE: Final = {
    state: sa.select(target_run).where(_in_range, is_exactly(_t.state, state.value)).order_by(_t.id)
    for state in TargetState
}
OF_MODEL: Final = {state: statement.where(_t.model == sa.bindparam("model")) for state, statement in IN_STAGE.items()}
OF_OTHERS: Final = {
    state: statement.where(_t.model.is_not(None), ~one_of(_t.model, "apart_from"))
    for state, statement in IN_STAGE.items()
}

_PAST: Final = ("id", "device_id", "name", "previous", "wanted")
_past = (
    sa.select(
        *(_t[name] for name in _PAST),
        device.c.instance,
        device.c.is_blocked,
        device.c.is_broken,
        device.c.installed,
        device.c.model,
    )
    .select_from(sa.join(target_run, device, device.c.id == _t.device_id))
    .where(_in_range)
    .order_by(_t.id)
)
_UNSUCCESSFUL: Final = (TargetState.FAILED.value, TargetState.TIMED_OUT.value)
_is_held_back = sa.and_(_t.is_control, _t.state != TargetState.REMOVED.value)
UNSUCCESSFUL: Final = _past.where(is_exactly(_t.state, *_UNSUCCESSFUL), ~_t.is_control)
UNSUCCESSFUL_OR_CANCELLED: Final = _past.where(
    sa.or_(is_exactly(_t.state, *_UNSUCCESSFUL, TargetState.CANCELLED.value), _is_held_back)
)
was_reached: Final = sa.and_(_t.attempt > _t.watches, ~_t.is_control)
"""The device was sent what the run brings; one that is held back is sent to watch what it has."""
REACHED: Final = _past.where(was_reached)

_app = device_app.c
_has_app = sa.and_(_app.device_id == _t.device_id, _app.app == sa.bindparam("app"))
VERSIONS: Final = (
    sa.select(_t.id, _app.version)
    .select_from(sa.outerjoin(target_run, device_app, _has_app))
    .where(one_of(_t.id, "ids"), _t.previous.is_(None))
)
SET_PREVIOUS: Final = Bulk.update(target_run, "previous")
PAGE: Final = sa.select(target_run).where(_in_range).order_by(_t.id).limit(_limit)


def _page_in(state: TargetState) -> sa.Select[Any]:
    """Return the statement for one page of a state; those that are few have an index by run."""
    has_index = state is TargetState.IN_PROGRESS or state.value in BAD_ENDS
    of_run = (_t.run_id == sa.bindparam("run_id"),) if has_index else ()
    is_indexed = (is_exactly(_t.state, *BAD_ENDS),) if state.value in BAD_ENDS else ()
    return PAGE.where(is_exactly(_t.state, state.value), *of_run, *is_indexed)


PAGE_IN: Final = {state: _page_in(state) for state in TargetState}
SAVE: Final = Bulk.update(target_run, "state", "blocked", "block_text", "check_at", *SAVED)
SAVE_WITHIN_STATE: Final = Bulk.update(target_run, *SAVED)
"""Most reports leave the state as it is, and with it all indexes but one."""
