"""`controller.app.repositories.Runs` in SQL: a run's state as versioned JSON, beside it what is asked for."""

from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from controller.app.errors import Conflict
from controller.app.records import RunRecord
from controller.domain import newcomers
from controller.domain.model import Plan, Run, StageRun
from controller.store.tables import COUNTERS, run, run_plan, stage_run
from protocol.units import Instant

RUN_VERSION: Final = 1
PLANS_MAX: Final = 256
"""The most plans kept decoded; a plan of many stages takes longer to decode than a whole transaction."""

_r, _s = run.c, stage_run.c
_active = _r.is_active == sa.true()
_limit = sa.bindparam("limit", type_=sa.Integer)
_SAVED: Final = ("state_json", "state", "is_active", "epoch", "is_paused", "takes_new", "reason", "wake_at", "ended_at")

INSERT: Final = sa.insert(run)
INSERT_PLAN: Final = sa.insert(run_plan)
INSERT_STAGES: Final = sa.insert(stage_run)
LAST_ID: Final = sa.select(sa.func.coalesce(sa.func.max(_r.id), 0))
LAST_STAGE_ID: Final = sa.select(sa.func.coalesce(sa.func.max(_s.id), 0))
PLAN: Final = sa.select(run_plan.c.plan_json).where(run_plan.c.run_id == sa.bindparam("run_id"))
BY_ID: Final = sa.select(run).where(_r.id == sa.bindparam("run_id"))
BY_UID: Final = sa.select(run).where(_r.uid == sa.bindparam("uid"))
ACTIVE_IDS: Final = sa.select(_r.id).where(_active).order_by(_r.id)
OPEN_TO_NEWCOMERS: Final = sa.select(_r.id).where(_r.takes_new == sa.true()).order_by(_r.id)
WAKING: Final = sa.select(_r.id).where(_active, _r.wake_at <= sa.bindparam("at")).order_by(_r.wake_at, _r.id)
NEXT_WAKE: Final = sa.select(sa.func.min(_r.wake_at)).where(_active)
SAVE: Final = (
    sa.update(run).where(_r.id == sa.bindparam("b_id")).values({name: sa.bindparam(f"b_{name}") for name in _SAVED})
)
SAVE_STAGE: Final = (
    sa.update(stage_run)
    .where(_s.id == sa.bindparam("b_id"))
    .values({name: sa.bindparam(f"b_{name}") for name in ("state", *COUNTERS)})
)


class PlanCache:
    """Decoded plans by the run's uid, the least recently used forgotten. Shared by threads."""

    def __init__(self) -> None:
        self._plans: OrderedDict[str, Plan] = OrderedDict()
        self._lock = Lock()
        self._decoder = msgspec.json.Decoder(Plan)

    def get(self, uid: str) -> Plan | None:
        """Return a plan that is kept."""
        with self._lock:
            plan = self._plans.get(uid)
            if plan is not None:
                self._plans.move_to_end(uid)
        return plan

    def decode(self, uid: str, plan_json: bytes) -> Plan:
        """Decode a plan and keep it."""
        plan = self._decoder.decode(plan_json)
        with self._lock:
            self._plans[uid] = plan
            while len(self._plans) > PLANS_MAX:
                self._plans.popitem(last=False)
        return plan


class SqlRuns:
    """Runs and their stages."""

    def __init__(self, connection: sa.Connection, plans: PlanCache) -> None:
        self._connection = connection
        self._plans = plans
        self._stages: dict[int, tuple[StageRun, ...]] = {}

    def add(self, run: RunRecord) -> RunRecord:
        first_stage: int = self._connection.execute(LAST_STAGE_ID).scalar_one() + 1
        stage_ids = tuple(range(first_stage, first_stage + len(run.run.stages)))
        added = msgspec.structs.replace(run, id=self._connection.execute(LAST_ID).scalar_one() + 1, stage_ids=stage_ids)
        self._insert(added)
        self._connection.execute(INSERT_PLAN, {"run_id": added.id, "plan_json": msgspec.json.encode(run.plan)})
        if stage_ids:
            self._connection.execute(INSERT_STAGES, list(_stage_rows(added)))
        return added

    def get(self, run_id: int) -> RunRecord:
        return self._to_record(self._connection.execute(BY_ID, {"run_id": run_id}).mappings().one())

    def by_uid(self, uid: str) -> RunRecord | None:
        row = self._connection.execute(BY_UID, {"uid": uid}).mappings().one_or_none()
        return None if row is None else self._to_record(row)

    def save(self, run: RunRecord) -> None:
        values = _projected(run)
        self._connection.execute(SAVE, {"b_id": run.id, **{f"b_{name}": values[name] for name in _SAVED}})
        stored = self._stages.get(run.id, ())
        changed = [
            _saved_stage(stage_id, stage)
            for index, (stage_id, stage) in enumerate(zip(run.stage_ids, run.run.stages, strict=True))
            if not stored or stored[index] is not stage
        ]
        if changed:
            self._connection.execute(SAVE_STAGE, changed)
        self._stages[run.id] = run.run.stages

    def page(self, *, job: str | None, active: bool | None, before: int | None, limit: int) -> list[RunRecord]:
        statement = sa.select(run).order_by(_r.id.desc()).limit(_limit)
        if job is not None:
            statement = statement.where(_r.job == job)
        if active is not None:
            statement = statement.where(_r.is_active == (sa.true() if active else sa.false()))
        if before is not None:
            statement = statement.where(_r.id < before)
        rows = self._connection.execute(statement, {"limit": limit}).mappings().all()
        return [self._to_record(row) for row in rows]

    def active_ids(self) -> list[int]:
        return list(self._connection.scalars(ACTIVE_IDS))

    def open_to_newcomers(self) -> list[int]:
        return list(self._connection.scalars(OPEN_TO_NEWCOMERS))

    def waking(self, at: Instant) -> list[int]:
        return list(self._connection.scalars(WAKING, {"at": at}))

    def next_wake(self) -> Instant | None:
        return self._connection.execute(NEXT_WAKE).scalar_one()

    def _insert(self, added: RunRecord) -> None:
        row = {
            "id": added.id,
            "uid": added.uid,
            "job_id": added.job_id,
            "job": added.job,
            "first_stage_id": added.stage_ids[0] if added.stage_ids else 0,
            "created_at": added.created_at,
            **_projected(added),
        }
        try:
            self._connection.execute(INSERT, row)
        except IntegrityError as error:
            if "run.job_id" not in str(error.orig):
                raise
            raise Conflict(f"job {added.job!r} has an active run: wait for its end, or terminate it") from error

    def _to_record(self, row: sa.RowMapping) -> RunRecord:
        state = _decode_run(row["state_json"])
        self._stages[row["id"]] = state.stages
        first = row["first_stage_id"]
        return RunRecord(
            id=row["id"],
            uid=row["uid"],
            job_id=row["job_id"],
            job=row["job"],
            plan=self._plan(row["id"], row["uid"]),
            run=state,
            stage_ids=tuple(range(first, first + len(state.stages))),
            wake_at=row["wake_at"],
            created_at=row["created_at"],
            ended_at=row["ended_at"],
        )

    def _plan(self, run_id: int, uid: str) -> Plan:
        kept = self._plans.get(uid)
        if kept is not None:
            return kept
        return self._plans.decode(uid, self._connection.execute(PLAN, {"run_id": run_id}).scalar_one())


_run_decoder: Final = msgspec.json.Decoder(Run)


def _decode_run(state_json: bytes) -> Run:
    state = _run_decoder.decode(state_json)
    assert state.version == RUN_VERSION, f"a run of version {state.version}: expected {RUN_VERSION}"
    return state


def _projected(record: RunRecord) -> dict[str, Any]:
    """Return the columns that `Runs.save` stores: the state, and what of it queries ask for."""
    return {
        "state_json": msgspec.json.encode(record.run),
        "state": record.run.state.value,
        "is_active": not record.run.state.is_terminal,
        "epoch": record.run.epoch,
        "is_paused": record.run.is_paused,
        "takes_new": bool(newcomers.open_stages(record.plan, record.run)),
        "reason": record.run.reason,
        "wake_at": record.wake_at,
        "ended_at": record.ended_at,
    }


def _numbers(stage: StageRun) -> dict[str, int]:
    return msgspec.structs.asdict(stage.tally)


def _stage_rows(record: RunRecord) -> Iterable[dict[str, object]]:
    for position, (stage_id, stage) in enumerate(zip(record.stage_ids, record.run.stages, strict=True)):
        yield {
            "id": stage_id,
            "run_id": record.id,
            "position": position,
            "name": record.plan.pipeline.stages[position].name,
            "state": stage.state.value,
            **_numbers(stage),
        }


def _saved_stage(stage_id: int, stage: StageRun) -> dict[str, object]:
    counters = {f"b_{name}": number for name, number in _numbers(stage).items()}
    return {"b_id": stage_id, "b_state": stage.state.value, **counters}
