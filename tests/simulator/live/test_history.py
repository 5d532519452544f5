"""What is written down of a device's steps."""

from pathlib import Path

from msgspec.structs import replace

from agent.core.effects import Clean, Install
from agent.core.model import Durable, Ended, Filed, FiledKind, RunNote, Work
from protocol.ids import Digest, Name, RunId, digest_of
from protocol.lifecycle import AttemptState, Left
from protocol.messages import InstalledRelease, Mode
from protocol.units import Instant
from simulator.live.history import Deed, Entry, HistoryFile, deeds, read_history

DIGEST = digest_of(b"command")
RUN = RunId("r1")
IDLE = Durable(name=Name("acme:a"), incarnation="00" * 8)
WORK = Work(digest=DIGEST, run=RUN, attempt=2, epoch=1, not_after=Instant(0), refs=(), releases=())
AT_WORK = replace(IDLE, work=WORK)


def told(deed: Deed, **fields: object) -> Entry:
    return replace(Entry(at=5, device=IDLE.name, incarnation=IDLE.incarnation, deed=deed), **fields)


def filed(report_seq: int) -> Filed:
    return Filed(report_seq=report_seq, kind=FiledKind.STATE, digest=Digest(DIGEST))


def test_work_is_told_when_it_is_accepted_when_the_installer_is_asked_and_when_it_ends() -> None:
    of_work = {"run": "r1", "attempt": 2}
    assert deeds(IDLE, AT_WORK, [], at=5) == [told(Deed.ACCEPTED, **of_work)]
    assert deeds(AT_WORK, AT_WORK, [Install(work=WORK), Clean()], at=5) == [told(Deed.INSTALLED, **of_work)]
    ended = Ended(run=RUN, attempt=2, state=AttemptState.SUCCEEDED, left=Left.NEW)
    installed = InstalledRelease(app="shop", version="2.0")
    after = replace(IDLE, finals=(ended,), installed=(installed,))
    told_end = told(Deed.ENDED, state="succeeded", versions={"shop": "2.0"}, **of_work)
    assert deeds(AT_WORK, after, [], at=5) == [told_end]
    assert deeds(after, after, [], at=5) == []


def test_reports_are_told_when_they_come_into_the_outbox_and_when_they_leave_it() -> None:
    before, after = replace(IDLE, filed=(filed(1), filed(2))), replace(IDLE, filed=(filed(2), filed(3)))
    assert deeds(before, after, [], at=5) == [
        told(Deed.FILED, report_seqs=(3,)),
        told(Deed.SETTLED, report_seqs=(1,)),
    ]


def test_what_holds_for_a_run_is_told_when_it_changes() -> None:
    held = replace(IDLE, runs={RUN: RunNote(epoch=2, mode=Mode.HOLD)})
    assert deeds(IDLE, held, [], at=5) == [told(Deed.OBEYED, run="r1", mode=Mode.HOLD, epoch=2)]
    assert deeds(held, replace(held, runs={RUN: RunNote(epoch=2, mode=Mode.HOLD, ended=1)}), [], at=5) == []


def test_a_permission_is_told_before_what_it_allows() -> None:
    held = replace(AT_WORK, runs={RUN: RunNote(epoch=2, mode=Mode.HOLD)})
    going = replace(AT_WORK, runs={RUN: RunNote(epoch=3, mode=Mode.GO)})
    assert [entry.deed for entry in deeds(held, going, [Install(work=WORK)], at=5)] == [Deed.OBEYED, Deed.INSTALLED]


def test_a_file_gives_back_what_was_written_but_for_a_line_that_was_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    entries = [told(Deed.ACCEPTED, run="r1", attempt=1), told(Deed.FILED, report_seqs=(1, 2))]
    file = HistoryFile(path)
    file.record(entries[:1])
    file.record(entries[1:])
    file.close()
    assert read_history(path) == entries
    path.write_bytes(path.read_bytes() + b'{"at":')
    assert read_history(path) == entries
