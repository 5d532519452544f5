"""A batch takes as many statements as a message or two: nothing asks the database device by device."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from controller.app import runs
from controller.app.ports import Disposition, Uplinked
from controller.domain.pipeline import Control, Gate, Metric, Pace, Trigger
from controller.store.inline_store import InlineStore
from protocol.health import HEALTH, MEASURE, WATCH
from protocol.lifecycle import AttemptState, Left
from protocol.messages import InstalledRelease, Op
from protocol.topics import UplinkKind
from protocol.units import HOUR
from tests.controller.app.rig import APP, Rig, stage

FEW, MANY = 2, 40


@pytest.fixture(autouse=True)
def either_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only SQL has statements to count."""
    monkeypatch.setattr(Rig, "make_store", InlineStore)


def waiting(count: int) -> tuple[Rig, str]:
    """Return a rig whose run waits to be promoted, with that many devices online, and the run's id."""
    rig = Rig()
    names = [f"d{number}" for number in range(count)]
    rig.enrol(*names)
    rig.connect(*names)
    return rig, rig.start(stage(trigger=Trigger.MANUAL, pace=Pace(max_in_flight=count)))


def statements(rig: Rig, act: Callable[[], object]) -> list[str]:
    """Return the statements that *act* has the database carry out; one for many rows counts once."""
    assert isinstance(rig.store, InlineStore)
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    sa.event.listen(rig.store._engine, "before_cursor_execute", note)
    act()
    sa.event.remove(rig.store._engine, "before_cursor_execute", note)
    return seen


def promoting(count: int) -> int:
    rig, run = waiting(count)
    taken = len(statements(rig, lambda: rig.do(runs.promote, run=run, stage="all")))
    assert rig.counters(run) == {"in_progress": count}
    return taken


def reporting(count: int, state: AttemptState) -> int:
    rig, run = waiting(count)
    rig.do(runs.promote, run=run, stage="all")
    said: dict[str, Any] = (
        {"left": Left.NEW, "installed": (InstalledRelease(app=APP, version="1.0.0"),)} if state.is_terminal else {}
    )
    batch = [
        Uplinked(name=device.name, kind=UplinkKind.REPORT, payload=rig.signed_report(name, state, **said))
        for name, device in rig.devices.items()
    ]
    taken = len(statements(rig, lambda: _stored(rig, batch)))
    assert rig.counters(run) == {"succeeded" if state.is_terminal else "in_progress": count}
    return taken


def measuring(count: int, *metrics: Metric) -> list[str]:
    """Return what the database carries out when half of the devices of a stage tell numbers that have partners."""
    rig = Rig()
    names = [f"d{number}" for number in range(2 * count)]
    rig.enrol(*names)
    rig.connect(*names, capabilities=("install", HEALTH, WATCH, MEASURE))
    gate = Gate(soak_ms=HOUR, control=Control(share_percent=50, metrics=metrics))
    rig.start(stage(gate=gate, pace=Pace(max_in_flight=2 * count)))
    held = [name for name in names if rig.last_install(name)[1].op == Op.WATCH]
    rig.watch(*held)
    rig.succeed(*(name for name in names if name not in held))
    for batch in (held, [name for name in names if name not in held]):
        said = [rig.said_measure(name, scan_ms=7) for name in batch]
        taken = statements(rig, lambda said=said: _stored(rig, said))  # type: ignore[misc]
    return taken


def _stored(rig: Rig, batch: list[Uplinked]) -> None:
    assert set(rig.receive(batch)) == {Disposition.STORED}


def test_commands_are_released_and_sent_together() -> None:
    assert promoting(MANY) == promoting(FEW)


@pytest.mark.parametrize("state", [AttemptState.ACCEPTED, AttemptState.VERIFYING, AttemptState.SUCCEEDED])
def test_reports_are_folded_together(state: AttemptState) -> None:
    assert reporting(MANY, state) == reporting(FEW, state)


def test_pairs_are_found_and_kept_together() -> None:
    few, many = measuring(FEW, Metric(name="scan_ms")), measuring(MANY, Metric(name="scan_ms"))
    assert len(few) == len(many)
    assert sum("is_paired = 0" in statement for statement in many) == 1


def test_a_batch_looks_for_no_partners_where_no_numbers_are_compared() -> None:
    assert not any("is_paired = 0" in statement for statement in measuring(FEW))
