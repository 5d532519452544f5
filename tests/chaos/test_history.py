"""The checker finds each kind of wrong, and nothing where there is none."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from controller.app.records import AuditRecord
from protocol.ids import Name
from protocol.messages import Mode
from protocol.units import Instant
from simulator.live.history import Deed, Entry
from tests.chaos import history
from tests.chaos.history import (
    Database,
    Evidence,
    Memory,
    StoredCommand,
    StoredReport,
    StoredStage,
    StoredTarget,
    assert_clean,
    wrongs,
)

COUNTERS = dict.fromkeys(
    ("queued", "in_progress", "succeeded", "failed", "rejected", "timed_out", "cancelled", "removed"), 0
)
INCARNATION = "00" * 8
STATES = ("accepted", "downloading", "installing", "verifying", "succeeded")


def entry(deed: Deed, **fields: object) -> Entry:
    return replace(
        Entry(at=0, device=Name("acme:a"), incarnation=INCARNATION, deed=deed, run="r1", attempt=1), **fields
    )


def report(number: int, state: str, **fields: object) -> StoredReport:
    made = StoredReport(device="acme:a", incarnation=INCARNATION, report_seq=number, run="r1", attempt=1, state=state)
    return replace(made, **fields)


ENTRIES = (
    entry(Deed.ACCEPTED),
    entry(Deed.FILED, report_seqs=(1, 2, 3, 4)),
    entry(Deed.OBEYED, mode=Mode.HOLD, epoch=2),
    entry(Deed.OBEYED, mode=Mode.GO, epoch=3),
    entry(Deed.INSTALLED),
    entry(Deed.FILED, report_seqs=(5,)),
    entry(Deed.ENDED, state="succeeded", versions={"shop": "2"}),
    entry(Deed.SETTLED, report_seqs=(1, 2, 3, 4, 5)),
)
DATABASE = Database(
    runs={"r1": "succeeded"},
    stages=[StoredStage(run="r1", stage=0, counters=COUNTERS | {"succeeded": 1})],
    targets=[StoredTarget(run="r1", stage=0, device="acme:a", state="succeeded", attempt=1)],
    reports=[report(number + 1, state) for number, state in enumerate(STATES)],
    commands=[StoredCommand(id=1, device="acme:a", run="r1", attempt=1, seq=5)],
    installed={"acme:a": {"shop": "2"}},
)
MEMORY = Memory(device="acme:a", incarnation=INCARNATION, report_seq=5, open=frozenset(), installed={"shop": "2"})
CLEAN = Evidence(database=DATABASE, entries=ENTRIES, memories=[MEMORY])


def stored(**changes: object) -> Evidence:
    return replace(CLEAN, database=replace(DATABASE, **changes))


def told(*more: Entry) -> Evidence:
    return replace(CLEAN, entries=(*ENTRIES, *more), memories=())


TARGET = DATABASE.targets[0]
AUDIT = AuditRecord(
    id=1, at=Instant(0), actor="ann", verb="pause", subject="r1", reason="", previous="", hash="made up"
)
PLANTED: dict[str, tuple[history.Check, Evidence, str]] = {
    "a run goes on": (history.unfinished, stored(runs={"r1": "running"}), "run r1 is still running"),
    "a device is left queued": (
        history.unfinished,
        stored(targets=[replace(TARGET, state="queued")]),
        "run r1 has ended, and acme:a is queued",
    ),
    "a counter is off": (
        history.miscounted,
        stored(stages=[StoredStage(run="r1", stage=0, counters=COUNTERS | {"succeeded": 2})]),
        "succeeded counts 2, 1 devices are",
    ),
    "at work twice": (
        history.at_work_twice,
        stored(
            runs={"r1": "running", "r2": "running"},
            targets=[replace(TARGET, state="in_progress", run=run) for run in ("r1", "r2")],
        ),
        "acme:a is in progress in 2 runs",
    ),
    "success without a report": (
        history.misjudged,
        stored(reports=DATABASE.reports[:4]),
        "acme:a succeeded, and never said so of attempt 1",
    ),
    "success that was not heard": (
        history.misjudged,
        stored(targets=[replace(TARGET, state="failed")]),
        "acme:a is failed, and said that it succeeded",
    ),
    "a settled report is gone": (
        history.lost,
        stored(reports=DATABASE.reports[1:]),
        "acme:a was told that report 1",
    ),
    "a report that left an outbox is gone": (
        history.lost,
        replace(CLEAN, entries=(), memories=[replace(MEMORY, report_seq=6)]),
        "acme:a was told that report 6",
    ),
    "a report is not settled": (
        history.unsettled,
        told(entry(Deed.FILED, report_seqs=(6,))),
        "acme:a still waits for the acknowledgement of [6]",
    ),
    "a report stays in an outbox": (
        history.unsettled,
        replace(CLEAN, memories=[replace(MEMORY, open=frozenset({5}))]),
        "acme:a still waits for the acknowledgement of [5]",
    ),
    "installed twice": (
        history.installed_twice,
        told(entry(Deed.INSTALLED)),
        "acme:a installed 2 times for attempt 1 of run r1",
    ),
    "two units of work": (
        history.overlapping,
        stored(reports=[report(1, "accepted"), report(2, "accepted", run="r2"), report(3, "succeeded")]),
        "acme:a works for attempt 1 of run r2 beside attempt 1 of run r1",
    ),
    "installed while held": (
        history.installed_while_held,
        told(entry(Deed.OBEYED, mode=Mode.HOLD, epoch=4), entry(Deed.INSTALLED, attempt=2)),
        "acme:a installs for run r1 in mode hold",
    ),
    "work nobody asked for": (
        history.unasked,
        told(entry(Deed.ACCEPTED, attempt=2)),
        "acme:a accepted attempt 2 of run r1, for which no command is stored",
    ),
    "a number goes back": (
        history.misnumbered,
        stored(commands=[*DATABASE.commands, replace(DATABASE.commands[0], id=2)]),
        "command 2 of acme:a has number 5 after 5",
    ),
    "another version is installed": (
        history.disagreeing,
        stored(installed={"acme:a": {"shop": "1"}}),
        "acme:a has {'shop': '2'}, the database says {'shop': '1'}",
    ),
    "the audit log was changed": (
        history.rewritten,
        stored(audit=[AUDIT]),
        "the audit log does not hold at entry 1",
    ),
}


def test_a_clean_history_has_no_wrongs() -> None:
    assert wrongs(CLEAN, history.CHECKS) == []
    assert_clean(CLEAN, checks=history.CHECKS, repeat="never")


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_wrong_is_found(name: str) -> None:
    check, evidence, expected = PLANTED[name]
    found = list(check(evidence))
    assert len(found) == 1
    assert expected in found[0]
    assert set(found) <= set(wrongs(evidence, history.CHECKS))


def test_every_check_has_a_planted_wrong() -> None:
    checks: set[Callable[..., object]] = {check for check, _, _ in PLANTED.values()}
    assert checks == set(history.CHECKS)


def test_repeated_reports_of_work_that_ended_are_no_second_work() -> None:
    again = [report(6, "accepted", run="r2"), report(7, "succeeded"), report(8, "succeeded", run="r2")]
    assert not list(history.overlapping(stored(reports=[*DATABASE.reports, *again])))


def test_a_failure_names_the_wrongs_and_the_command_that_repeats_it() -> None:
    with pytest.raises(AssertionError, match=r"1 wrongs in the history:\n  run r1 is still running\nrepeat with: make"):
        assert_clean(stored(runs={"r1": "running"}), checks=history.CHECKS, repeat="make")
