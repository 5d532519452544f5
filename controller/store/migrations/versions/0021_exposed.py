"""Runs know who has begun, and gates written before there was a test keep to the fixed limit that they have.

Otherwise a run under way would have more failures than devices, and be stopped by a test that nobody asked for.
"""

import json
from collections import defaultdict
from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_run = sa.table("run", sa.column("id", sa.BigInteger), sa.column("state_json", sa.LargeBinary))
_run_plan = sa.table("run_plan", sa.column("run_id", sa.BigInteger), sa.column("plan_json", sa.LargeBinary))
_pipeline = sa.table("pipeline", sa.column("id", sa.BigInteger), sa.column("definition", sa.Text))
_DEFAULT: Final = {"more_than": "5%", "min_sample": 20}
"""How many failures were too many where the text of a stage did not say."""
_COUNTS: Final = sa.text(
    """
    select run_id, stage,
        count(*) as exposed,
        sum(case when is_blamed or is_known then 1 else 0 end) as resolved,
        sum(case when is_known and not is_blamed and state <> 'succeeded' then 1 else 0 end) as spared,
        sum(case when state = 'queued' then 1 else 0 end) as waiting
    from (
        select run_id, stage, state, is_blamed,
            state not in ('queued', 'in_progress') and coalesce(reason, '') <> 'lease_ended' as is_known
        from target_run
        where is_started and (is_blamed or state <> 'rejected')
    ) as begun
    group by run_id, stage
    """
)


def upgrade() -> None:
    connection = op.get_bind()
    _count(connection)
    for run_id in _keys(connection, _run_plan.c.run_id):
        plan = json.loads(_read(connection, _run_plan.c.plan_json, _run_plan.c.run_id == run_id))
        if _keep_limits(plan["pipeline"]):
            _write(connection, _run_plan, _run_plan.c.run_id == run_id, plan_json=json.dumps(plan).encode())
    for key in _keys(connection, _pipeline.c.id):
        definition = json.loads(_read(connection, _pipeline.c.definition, _pipeline.c.id == key))
        if _keep_limits(definition):
            _write(connection, _pipeline, _pipeline.c.id == key, definition=json.dumps(definition))


def downgrade() -> None:
    """Leave everything as it is: what was added is true of the schema before as well."""


def _count(connection: sa.Connection) -> None:
    """Write into the stages of every run how many devices have begun, and what is known of them."""
    by_run: defaultdict[int, list[sa.RowMapping]] = defaultdict(list)
    for row in connection.execute(_COUNTS).mappings():
        by_run[row["run_id"]].append(row)
    for run_id, rows in by_run.items():
        state = json.loads(_read(connection, _run.c.state_json, _run.c.id == run_id))
        for row in rows:
            counted = {name: int(row[name]) for name in ("exposed", "resolved", "spared", "waiting")}
            state["stages"][row["stage"]]["tally"].update(counted)
        _write(connection, _run, _run.c.id == run_id, state_json=json.dumps(state).encode())


def _keep_limits(pipeline: dict[str, Any]) -> bool:
    """Give gates that know of no test none, and return whether there were such."""
    gates = [part["gate"] for part in (*pipeline["stages"], pipeline.get("rollback", {})) if "gate" in part]
    earlier = [gate for gate in gates if "sequential" not in gate and gate.get("failures")]
    for gate in earlier:
        gate["sequential"] = None
    for stage in pipeline.get("template", ()) if earlier else ():
        written = stage.setdefault("gate", {})
        if isinstance(written, dict):
            written.setdefault("failures", _DEFAULT)
    return bool(earlier)


def _keys(connection: sa.Connection, column: sa.ColumnClause[Any]) -> list[int]:
    return list(connection.scalars(sa.select(column)))


def _read(connection: sa.Connection, column: sa.ColumnClause[Any], where: sa.ColumnElement[bool]) -> bytes | str:
    found: bytes | str = connection.scalars(sa.select(column).where(where)).one()
    return found


def _write(connection: sa.Connection, table: sa.TableClause, where: sa.ColumnElement[bool], **values: object) -> None:
    connection.execute(sa.update(table).where(where).values(**values))
