"""A batch takes as many statements as a message or two: nothing asks the database device by device."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from controller.app import runs
from controller.app.ports import Disposition, Uplinked
from controller.domain.pipeline import Pace, Trigger
from controller.store.inline_store import InlineStore
from protocol.lifecycle import AttemptState, Left
from protocol.messages import InstalledRelease
from protocol.topics import UplinkKind
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


def statements(rig: Rig, act: Callable[[], object]) -> int:
    """Return how many statements *act* has the database carry out; one for many rows counts once."""
    assert isinstance(rig.store, InlineStore)
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    sa.event.listen(rig.store._engine, "before_cursor_execute", note)
    act()
    sa.event.remove(rig.store._engine, "before_cursor_execute", note)
    return len(seen)


def promoting(count: int) -> int:
    rig, run = waiting(count)
    taken = statements(rig, lambda: rig.do(runs.promote, run=run, stage="all"))
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
    taken = statements(rig, lambda: _stored(rig, batch))
    assert rig.counters(run) == {"succeeded" if state.is_terminal else "in_progress": count}
    return taken


def _stored(rig: Rig, batch: list[Uplinked]) -> None:
    assert set(rig.receive(batch)) == {Disposition.STORED}


def test_commands_are_released_and_sent_together() -> None:
    assert promoting(MANY) == promoting(FEW)


@pytest.mark.parametrize("state", [AttemptState.ACCEPTED, AttemptState.VERIFYING, AttemptState.SUCCEEDED])
def test_reports_are_folded_together(state: AttemptState) -> None:
    assert reporting(MANY, state) == reporting(FEW, state)
