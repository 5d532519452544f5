"""A run of 40 stages goes through a large fleet, and its database finds everything by an index.

`SCALE_DEVICES=100000` plays a fleet of that size; `make bench ARGS=scale` says how long that takes.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from controller.app import runs
from controller.app.views import RunView
from controller.domain.target import TargetState
from controller.store import devices, target_statements
from controller.store.inline_store import InlineStore
from controller.store.sql_store import SqlStore
from tests.controller.app.rig import START, TENANT
from tests.scale.fleet import insert_fleet
from tests.scale.graph import BY_HAND, IN_FLIGHT_MAX, STAGE_COUNT, WIDTH, pipeline_stages
from tests.scale.rollout import Rollout, rollout
from tests.scale.statements import Statement, Statements

SIZE = int(os.environ.get("SCALE_DEVICES", "20000"))
STEPS_MAX = 50_000
"""What a statement of a whole batch may take, for each row it is given. Looking at 20,000 rows takes more."""
LARGE = (
    *("target_run", "command", "report", "device", "event"),
    *("device_label", "device_fact", "device_app", "device_group"),
)
ONCE_A_STAGE: dict[str, sa.Select[tuple[object]]] = {
    "a stage that opens finds its devices; where it wants all, it looks at all": devices.CANDIDATES,
    "a stage that opens leaves out whom the run has already": target_statements.MEMBERS,
}
WHEN_ASKED: dict[str, sa.Select[tuple[object]]] = {
    "a list of those that wait passes by those of its run that do not, on a connection that only reads": (
        target_statements.PAGE_IN[TargetState.QUEUED]
    ),
}


@pytest.mark.no_cover
@pytest.mark.timeout(900)
def test_forty_stages_go_through_a_large_fleet_by_index_alone() -> None:
    with rollout(SIZE) as played, _watched(played.store) as statements:
        played.start(*pipeline_stages())
        played.play(lambda run: _stage_state(run, BY_HAND) == "awaiting_promotion")
        _look_around(played)
        played.promote(BY_HAND)
        played.play(lambda run: run.state != "running")
        _ended_well(played.view())
        assert played.asked_max <= IN_FLIGHT_MAX * WIDTH
        assert _slow(statements) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT id FROM device WHERE hardware_id = '7'", ("SCAN device",)),
        ("SELECT count(*) FROM device_label WHERE key > 'a'", ()),
        ("SELECT id FROM device WHERE model = 'k1' ORDER BY agent LIMIT 1", ("USE TEMP B-TREE FOR ORDER BY",)),
    ],
)
def test_what_looks_at_every_device_is_found_slow(text: str, found: tuple[str, ...]) -> None:
    store, seen = InlineStore(), Statements()
    with store._connection.begin(), seen.watched(store._engine):
        insert_fleet(store._connection, 20_000, tenant=TENANT, key=bytes(32), instance=7, at=START)
        store._connection.exec_driver_sql(text).all()
        slow = _slow(seen)
    store.close()
    assert [statement.scans(LARGE) for statement in seen if statement.text == text] == [found]
    assert len(slow) == 1
    assert text in slow[0]


def _watched(store: SqlStore) -> AbstractContextManager[Statements]:
    return Statements().watched(store._writer._session._engine, store._readers._engine)


def _look_around(played: Rollout) -> None:
    """Do what people do with a run: hold it, look into it, let it go on."""
    rig, run = played.rig, played.run
    rig.do(runs.pause, run=run, reason="lunch")
    rig.do(runs.resume, run=run)
    rig.do(runs.list_runs)
    rig.do(runs.events, run=run)
    for state in (None, *TargetState):
        rig.do(runs.targets, run=run, state=state and state.value)
        rig.do(runs.targets, run=run, stage="pilot", state=state and state.value)


def _ended_well(run: RunView) -> None:
    assert run.state == "succeeded", run.reason
    assert {stage.state for stage in run.stages} == {"passed"}
    assert len(run.stages) == STAGE_COUNT == len(pipeline_stages())
    ended = [stage.counters.succeeded + stage.counters.failed for stage in run.stages]
    assert sum(ended) == SIZE
    assert ended[:-1] == [SIZE // 100] * (STAGE_COUNT - 1)
    assert sum(stage.counters.failed for stage in run.stages) == len(range(7, SIZE, 49))


def _stage_state(run: RunView, name: str) -> str:
    return next(stage.state for stage in run.stages if stage.name == name)


def _slow(statements: Statements) -> list[str]:
    """Return the statements that look at more than they need, with why."""
    rare = _texts({**ONCE_A_STAGE, **WHEN_ASKED})
    return [why for statement in statements if (why := _why_slow(statement, rare))]


def _texts(statements: Mapping[str, sa.Select[tuple[object]]]) -> tuple[str, ...]:
    return tuple(str(statement.compile(dialect=sqlite.dialect())) for statement in statements.values())


def _why_slow(statement: Statement, rare: Sequence[str]) -> str:
    is_once = statement.text.startswith(tuple(rare)) and statement.times <= STAGE_COUNT
    scans = statement.scans(LARGE)
    is_long = statement.steps_max > STEPS_MAX
    if is_once or not (scans or is_long):
        return ""
    return f"{statement.steps_max:.0f} steps, {statement.times} times, {scans}: {' '.join(statement.text.split())}"
