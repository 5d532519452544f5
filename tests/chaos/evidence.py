"""Read what the controller stored, and what devices remember, as evidence for `tests.chaos.history`."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from agent.core.model import Durable, Phase
from agent.journal import Row
from controller.app.records import AuditRecord
from controller.domain.target import TargetState
from protocol.ids import Name
from protocol.messages import InstalledRelease
from simulator.live.fleet import LiveFleet
from simulator.live.history import Deed, Entry
from tests.chaos.history import Database, Memory, StoredCommand, StoredReport, StoredStage, StoredTarget

BUSY_SECONDS: Final = 10.0
_COUNTERS: Final = tuple(state.value for state in TargetState)

RUNS: Final = "SELECT uid, state FROM run"
STAGES: Final = (
    f"SELECT r.uid AS run, s.position AS stage, {', '.join(_COUNTERS)} FROM stage_run s JOIN run r ON r.id = s.run_id"
)
TARGETS: Final = """
SELECT r.uid AS run, t.stage, t.name AS device, t.state, t.attempt, t.late_success_at IS NOT NULL AS is_late_success
FROM target_run t JOIN run r ON r.id = t.run_id
"""
REPORTS: Final = """
SELECT d.name AS device, p.incarnation, p.report_seq, coalesce(r.uid, '') AS run, p.attempt, p.state
FROM report p JOIN device d ON d.id = p.device_id LEFT JOIN target_run t ON t.id = p.target_id
LEFT JOIN run r ON r.id = t.run_id
"""
COMMANDS: Final = """
SELECT c.id, c.name AS device, r.uid AS run, c.attempt, c.seq FROM command c JOIN run r ON r.id = c.run_id
"""
INSTALLED: Final = "SELECT name, installed FROM device"
AUDIT: Final = "SELECT id, at, actor, verb, subject, reason, previous, hash FROM audit ORDER BY id"


def read_database(folder: Path) -> Database:
    """Return what the database in an installation's online *folder* holds, on one snapshot; it must be sound."""
    with closing(sqlite3.connect(folder / "tidegate.db", timeout=BUSY_SECONDS)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
        assert sound == "ok", f"the database is not sound: {sound}"
        return _read(connection)


def _read(connection: sqlite3.Connection) -> Database:
    def rows(statement: str) -> Iterator[dict[str, object]]:
        for row in connection.execute(statement):
            yield dict(row)

    return Database(
        runs=dict(map(tuple, connection.execute(RUNS))),
        stages=[_stage(row) for row in rows(STAGES)],
        targets=[msgspec.convert(row, StoredTarget, strict=False) for row in rows(TARGETS)],
        reports=[msgspec.convert(row, StoredReport) for row in rows(REPORTS)],
        commands=[msgspec.convert(row, StoredCommand) for row in rows(COMMANDS)],
        installed={name: _versions(installed) for name, installed in connection.execute(INSTALLED)},
        audit=[msgspec.convert(row, AuditRecord) for row in rows(AUDIT)],
    )


def _stage(row: dict[str, object]) -> StoredStage:
    counters = {name: row.pop(name) for name in _COUNTERS}
    return msgspec.convert({**row, "counters": counters}, StoredStage)


def _versions(installed: str) -> dict[str, str]:
    return _by_app(msgspec.json.decode(installed, type=tuple[InstalledRelease, ...]))


def _by_app(installed: Iterable[InstalledRelease]) -> dict[str, str]:
    return {release.app: release.version for release in installed}


def memory_of(durable: Durable, outbox: Iterable[Row]) -> Memory:
    """Return what a device remembers, from its journal."""
    return Memory(
        device=durable.name,
        incarnation=durable.incarnation,
        report_seq=durable.report_seq,
        open=frozenset(row.report_seq for row in outbox),
        installed=_by_app(durable.installed),
    )


def read_journal(folder: Path) -> tuple[Durable, Memory]:
    """Return what the journal in a real agent's *folder* holds."""
    with closing(sqlite3.connect(folder / "journal.db", timeout=BUSY_SECONDS)) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        [durable] = (
            msgspec.json.decode(row[0], type=Durable) for row in connection.execute("SELECT durable FROM state")
        )
        outbox = [Row(number, raw) for number, raw in connection.execute("SELECT report_seq, raw FROM outbox")]
    return durable, memory_of(durable, outbox)


def memories_of(fleet: LiveFleet) -> list[Memory]:
    """Return what the simulated devices of this process remember."""
    loaded = [device._journal.load() for device in fleet.devices]
    return [memory_of(durable, outbox) for durable, outbox in loaded if durable is not None]


def read_agent_log(path: Path, device: Name) -> list[Entry]:
    """Return for each time the installer was asked to install what the log of a real agent says of it."""
    found = []
    for line in path.read_text(errors="replace").splitlines():
        if '"step_started"' in line and f'"{Phase.INSTALLING}"' in line:
            told = json.loads(line)
            deed = Entry(
                at=0, device=device, incarnation="", deed=Deed.INSTALLED, run=told["run"], attempt=told["attempt"]
            )
            found.append(deed)
    return found
