"""What must hold of everything that happened: pure functions over the database's rows and the devices' own records.

Each check yields one line for each wrong that it finds, in words that name the device, run and attempt. `CHECKS` are
for evidence at rest: every run has ended, and every device has been told that its reports are stored. `ALWAYS` are
those of them that must hold at any moment, as between the death of a controller and its next start.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from controller.app.audit import first_break
from controller.app.records import AuditRecord
from controller.domain.target import TargetState
from protocol.lifecycle import AttemptState
from protocol.messages import Mode
from simulator.live.history import Deed, Entry

WORST_SHOWN_MAX: Final = 20


class StoredReport(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `report`; `run` is empty where it belongs to no device of a run, as a control command's does."""

    device: str
    incarnation: str
    report_seq: int
    run: str
    attempt: int
    state: str


class StoredTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `target_run`."""

    run: str
    stage: int
    device: str
    state: str
    attempt: int
    is_late_success: bool = False


class StoredStage(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `stage_run`, with the eight counters by name."""

    run: str
    stage: int
    counters: Mapping[str, int]


class StoredCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `command`; `id` is in the order of insertion."""

    id: int
    device: str
    run: str
    attempt: int
    seq: int


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """What the controller has stored; `runs` are states by id, `installed` versions by app by device."""

    runs: Mapping[str, str]
    stages: Sequence[StoredStage]
    targets: Sequence[StoredTarget]
    reports: Sequence[StoredReport]
    commands: Sequence[StoredCommand]
    installed: Mapping[str, Mapping[str, str]]
    audit: Sequence[AuditRecord] = ()


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What one device remembers: reports 1 to `report_seq`, of which those that are `open` are not settled."""

    device: str
    incarnation: str
    report_seq: int
    open: frozenset[int]
    installed: Mapping[str, str]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known. `entries` are in the order of each device, as it wrote them."""

    database: Database
    entries: Sequence[Entry] = ()
    memories: Sequence[Memory] = ()


Check = Callable[[Evidence], Iterator[str]]


def wrongs(evidence: Evidence, checks: Sequence[Check]) -> list[str]:
    """Return every wrong that any of *checks* finds."""
    return [wrong for check in checks for wrong in check(evidence)]


def assert_clean(evidence: Evidence, *, checks: Sequence[Check], repeat: str) -> None:
    """Fail with the first wrongs, and with the command that repeats the test."""
    found = wrongs(evidence, checks)
    shown = "\n  ".join(found[:WORST_SHOWN_MAX])
    assert not found, f"{len(found)} wrongs in the history:\n  {shown}\nrepeat with: {repeat}"


# --- runs and counters ----------------------------------------------------------------------------------------


def unfinished(evidence: Evidence) -> Iterator[str]:
    """Yield runs that have not ended, and devices that are not done in runs that have."""
    open_states = {"pending", "running", "terminating"}
    for run, state in evidence.database.runs.items():
        if state in open_states:
            yield f"run {run} is still {state}"
    for target in evidence.database.targets:
        is_over = evidence.database.runs[target.run] not in open_states
        if is_over and not TargetState(target.state).is_terminal:
            yield f"run {target.run} has ended, and {target.device} is {target.state}"


def miscounted(evidence: Evidence) -> Iterator[str]:
    """Yield counters that are not the number of devices in their state."""
    counted = Counter((target.run, target.stage, target.state) for target in evidence.database.targets)
    for stage in evidence.database.stages:
        for state, number in stage.counters.items():
            found = counted[stage.run, stage.stage, state]
            if number != found:
                yield f"run {stage.run} stage {stage.stage}: {state} counts {number}, {found} devices are"


def at_work_twice(evidence: Evidence) -> Iterator[str]:
    """Yield devices that are in progress in more than one run."""
    at_work = Counter(target.device for target in evidence.database.targets if target.state == TargetState.IN_PROGRESS)
    yield from (f"{device} is in progress in {number} runs" for device, number in at_work.items() if number > 1)


def _ends(database: Database) -> Mapping[tuple[str, str, int], set[str]]:
    ends: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for report in database.reports:
        if report.state == "refused" or not AttemptState(report.state).is_terminal:
            continue
        ends[report.device, report.run, report.attempt].add(report.state)
    return ends


def misjudged(evidence: Evidence) -> Iterator[str]:
    """Yield targets whose state is not what the device reported of their last attempt."""
    ends = _ends(evidence.database)
    for target in evidence.database.targets:
        said = ends.get((target.device, target.run, target.attempt), set())
        if target.state == TargetState.SUCCEEDED and AttemptState.SUCCEEDED not in said:
            yield f"run {target.run}: {target.device} succeeded, and never said so of attempt {target.attempt}"
        is_unheard = target.state in {TargetState.QUEUED, TargetState.IN_PROGRESS, TargetState.FAILED}
        if is_unheard and AttemptState.SUCCEEDED in said:
            yield f"run {target.run}: {target.device} is {target.state}, and said that it succeeded"


# --- reports --------------------------------------------------------------------------------------------------


def lost(evidence: Evidence) -> Iterator[str]:
    """Yield reports that a device was told are stored, and that are not."""
    stored = {(r.device, r.incarnation, r.report_seq) for r in evidence.database.reports}
    settled: set[tuple[str, str, int]] = {
        (entry.device, entry.incarnation, number)
        for entry in evidence.entries
        if entry.deed is Deed.SETTLED
        for number in entry.report_seqs
    }
    for memory in evidence.memories:
        numbers = set(range(1, memory.report_seq + 1)) - memory.open
        settled |= {(memory.device, memory.incarnation, number) for number in numbers}
    for device, incarnation, number in sorted(settled - stored):
        yield f"{device} was told that report {number} of {incarnation} is stored, and it is not"


def unsettled(evidence: Evidence) -> Iterator[str]:
    """Yield devices that still wait for the acknowledgement of a report."""
    open_: dict[tuple[str, str], set[int]] = defaultdict(set)
    for entry in evidence.entries:
        numbers = open_[entry.device, entry.incarnation]
        if entry.deed is Deed.FILED:
            numbers.update(entry.report_seqs)
        elif entry.deed is Deed.SETTLED:
            numbers.difference_update(entry.report_seqs)
    for memory in evidence.memories:
        open_[memory.device, memory.incarnation] = set(memory.open)
    for (device, _), numbers in open_.items():
        if numbers:
            yield f"{device} still waits for the acknowledgement of {sorted(numbers)[:5]}"


# --- work -----------------------------------------------------------------------------------------------------


def installed_twice(evidence: Evidence) -> Iterator[str]:
    """Yield attempts for which the installer was asked more than once."""
    asked = Counter((e.device, e.run, e.attempt) for e in evidence.entries if e.deed is Deed.INSTALLED)
    for (device, run, attempt), number in asked.items():
        if number > 1:
            yield f"{device} installed {number} times for attempt {attempt} of run {run}"


def overlapping(evidence: Evidence) -> Iterator[str]:
    """Yield devices that began one unit of work while they had another, by their reports in their own order."""
    by_device: dict[tuple[str, str], list[StoredReport]] = defaultdict(list)
    for report in evidence.database.reports:
        if report.run and report.state != "refused":
            by_device[report.device, report.incarnation].append(report)
    for (device, _), reports in by_device.items():
        yield from _overlaps(device, sorted(reports, key=lambda report: report.report_seq))


def _overlaps(device: str, reports: Sequence[StoredReport]) -> Iterator[str]:
    at_work: tuple[str, int] | None = None
    ended: set[tuple[str, int]] = set()
    for report in reports:
        of = (report.run, report.attempt)
        if of in ended:
            continue
        if AttemptState(report.state).is_terminal:
            ended.add(of)
            at_work = None if at_work == of else at_work
        elif at_work is None or at_work == of:
            at_work = of
        else:
            yield f"{device} works for attempt {of[1]} of run {of[0]} beside attempt {at_work[1]} of run {at_work[0]}"


def installed_while_held(evidence: Evidence) -> Iterator[str]:
    """Yield installations that a device began although it had learnt that the run is held or called off."""
    modes: dict[tuple[str, str], Mode] = {}
    for entry in evidence.entries:
        if entry.deed is Deed.OBEYED:
            modes[entry.device, entry.run] = entry.mode
        elif entry.deed is Deed.INSTALLED and modes.get((entry.device, entry.run), Mode.GO) is not Mode.GO:
            yield f"{entry.device} installs for run {entry.run} in mode {modes[entry.device, entry.run]}"


def unasked(evidence: Evidence) -> Iterator[str]:
    """Yield work that a device accepted without a stored command for it."""
    commands = {(c.device, c.run, c.attempt) for c in evidence.database.commands}
    for entry in evidence.entries:
        if entry.deed is Deed.ACCEPTED and (entry.device, entry.run, entry.attempt) not in commands:
            yield f"{entry.device} accepted attempt {entry.attempt} of run {entry.run}, for which no command is stored"


def misnumbered(evidence: Evidence) -> Iterator[str]:
    """Yield commands of a device whose sequence numbers do not strictly increase."""
    last: dict[str, int] = {}
    for command in sorted(evidence.database.commands, key=lambda command: command.id):
        if command.seq <= last.get(command.device, -1):
            yield f"command {command.id} of {command.device} has number {command.seq} after {last[command.device]}"
        last[command.device] = command.seq


# --- what is where --------------------------------------------------------------------------------------------


def disagreeing(evidence: Evidence) -> Iterator[str]:
    """Yield devices that have other versions installed than the database says."""
    own: dict[str, Mapping[str, str]] = {}
    for entry in evidence.entries:
        if entry.deed is Deed.ENDED:
            own[entry.device] = entry.versions
    own |= {memory.device: memory.installed for memory in evidence.memories}
    for device, versions in own.items():
        known = evidence.database.installed.get(device, {})
        if dict(versions) != dict(known):
            yield f"{device} has {dict(versions)}, the database says {dict(known)}"


def rewritten(evidence: Evidence) -> Iterator[str]:
    """Yield the first entry of the audit log that does not fit the one before it."""
    broken = first_break(evidence.database.audit)
    if broken is not None:
        yield f"the audit log does not hold at entry {broken.id}"


CHECKS: Final[tuple[Check, ...]] = (
    unfinished,
    miscounted,
    at_work_twice,
    misjudged,
    lost,
    unsettled,
    installed_twice,
    overlapping,
    installed_while_held,
    unasked,
    misnumbered,
    disagreeing,
    rewritten,
)
"""For evidence at rest."""

ALWAYS: Final[tuple[Check, ...]] = tuple(check for check in CHECKS if check not in {unfinished, unsettled, disagreeing})
"""What must hold in the midst of things too."""
