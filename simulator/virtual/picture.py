"""What an observer outside knows of a world: every committed row, and what operators and devices were told.

It is kept from what was committed and handed over, never asked of the controller, so that a controller that deceives
itself does not deceive the laws.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from controller.app.records import (
    AuditRecord,
    ChannelRecord,
    CommandRecord,
    DeviceRecord,
    EventRecord,
    JobRecord,
    ReportRecord,
    RunRecord,
    TargetRecord,
)
from controller.domain.admission import Hold, UpgradePath
from controller.domain.freeze import Freeze
from controller.domain.pipeline import Pipeline
from controller.domain.query import Described
from controller.domain.target import TargetState
from protocol.ids import DeviceId, Digest, Name
from protocol.units import Instant
from simulator.virtual.draws import Draws
from simulator.virtual.watched import Changes

Moved = tuple[TargetRecord | None, TargetRecord]
Session = tuple[int, int]
"""The instance of the transport, and the number of the session within it."""
Ran = tuple[RunRecord | None, RunRecord]


@dataclass(frozen=True, slots=True)
class Commit:
    """One committed transaction: each write of a row, as the row was before and as it was then, in their order.

    `described` has all that each changed device was in turn, from what it was before to what it is now; `paths` has the
    same of the ways to each version.
    """

    targets: list[Moved]
    runs: list[Ran]
    commands: list[CommandRecord]
    reports: list[ReportRecord]
    hellos: list[DeviceRecord]
    voided: list[int]
    channels: list[ChannelRecord]
    jobs: list[JobRecord]
    described: dict[int, list[Described]]
    gone: list[int]
    unseen: list[int]
    kept_out: list[TargetRecord]
    paths: dict[str, list[UpgradePath | None]]
    events: list[EventRecord]
    audit: list[AuditRecord]
    removed: list[int]
    enrolled: list[int]

    @property
    def updated(self) -> list[Moved]:
        """The rows that are not held back. One that was discharged joins its stage."""
        moves = [(before, row) for before, row in self.targets if not row.target.is_control]
        return [(None if before is not None and before.target.is_control else before, row) for before, row in moves]


@dataclass(slots=True)
class Picture:
    """All that was committed. `true_now` is the world's time, `wall_now` what the controller's clock shows.

    `revisions` are the definitions of each pipeline in order, `jobs` those of which anything was saved. `present` has
    the life of the transport in which each device said hello that has not gone since. `down_ms` has each span from a
    death of the controller to the next commit, which is that of its recovery. `session` returns the live session of a
    device, None where it has none or an unnoticed break has made it useless; `instance` this life of the transport,
    None while there is none. Behind a broker `connection` returns by which connection a device is there, None where it
    is not, and `is_lane_up` whether the controller hears and reaches it. `unwritable_at` are the instants at which its
    disk was full. `counters` and `floors` are those of the releases, by version.
    """

    true_now: Callable[[], Instant]
    wall_now: Callable[[], Instant]
    devices: dict[int, DeviceRecord]
    targets: dict[int, TargetRecord] = field(default_factory=dict)
    runs: dict[int, RunRecord] = field(default_factory=dict)
    run_ids: dict[str, int] = field(default_factory=dict)
    commands: dict[Digest, CommandRecord] = field(default_factory=dict)
    reports: dict[tuple[int, str, int], ReportRecord] = field(default_factory=dict)
    revisions: dict[str, list[Pipeline]] = field(default_factory=dict)
    jobs: dict[str, JobRecord] = field(default_factory=dict)
    blocked: set[int] = field(default_factory=set)
    removed: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    present: dict[int, int] = field(default_factory=dict)
    holds: dict[int, Hold] = field(default_factory=dict)
    pins: dict[int, str] = field(default_factory=dict)
    paths: dict[str, UpgradePath] = field(default_factory=dict)
    capabilities: dict[int, frozenset[str]] = field(default_factory=lambda: defaultdict(frozenset))
    """What any agent of a device has ever been able to do."""
    members: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    rows: dict[tuple[int, int], dict[int, TargetRecord]] = field(default_factory=lambda: defaultdict(dict))
    """The rows of each stage, by id, without those that are held back."""
    held: dict[tuple[int, int], dict[int, TargetRecord]] = field(default_factory=lambda: defaultdict(dict))
    """The rows of each stage that are held back, by id."""
    counts: dict[tuple[int, int], dict[TargetState, int]] = field(
        default_factory=lambda: defaultdict(lambda: dict.fromkeys(TargetState, 0))
    )
    jumped_at: list[int] = field(default_factory=list)
    unwritable_at: Sequence[int] = ()
    died_at: int | None = None
    down_ms: list[int] = field(default_factory=list)
    session: Callable[[Name], Session | None] = lambda _: None
    instance: Callable[[], int | None] = lambda: None
    connection: Callable[[Name], str | None] = lambda _: None
    is_lane_up: Callable[[Name], bool] = lambda _: False
    counters: Mapping[str, int] = field(default_factory=dict)
    floors: Mapping[str, int] = field(default_factory=dict)
    names: dict[Name, DeviceRecord] = field(default_factory=dict)
    described: dict[int, Described] = field(default_factory=dict)
    calendar: dict[str, Freeze] = field(default_factory=dict)
    authors: dict[tuple[str, int], str] = field(default_factory=dict)
    """Who wrote each revision of each pipeline since the beginning; those of the beginning are not among them."""

    def __post_init__(self) -> None:
        self.names = {device.name: device for device in self.devices.values()}
        self.described = {
            device.id: Described(device=device.device, model=device.model, labels=dict(device.labels))
            for device in self.devices.values()
        }

    def sort(self, groups: Mapping[int, Sequence[str]]) -> None:
        """Take note to which groups devices belong from the beginning."""
        for device_id, paths in groups.items():
            described = msgspec.structs.replace(self.described[device_id], groups=frozenset(paths))
            self.described[device_id] = described

    def take(self, changes: Changes) -> Commit:
        """Take over what was committed, and return it row by row."""
        self._take_recovery()
        for name, freeze in changes.calendar:
            self.calendar.pop(name, None)
            self.calendar |= {} if freeze is None else {name: freeze}
        targets = [self._take_target(row) for row in changes.targets]
        runs = [self._take_run(run) for run in changes.runs]
        self.commands |= {command.digest: command for command in changes.commands}
        self.reports |= {(r.device_id, r.incarnation, r.report_seq): r for r in changes.reports}
        for record in changes.revisions:
            self.revisions[record.name].append(record.definition)
        self.jobs |= {job.name: job for job in changes.jobs}
        self._take_devices(changes)
        self.authors |= {(name, revision): author for name, revision, author in changes.authors}
        described = self._describe(changes)
        paths = self._take_paths(changes)
        return Commit(
            targets=targets,
            runs=runs,
            commands=changes.commands,
            reports=changes.reports,
            hellos=changes.hellos,
            voided=changes.voided,
            channels=changes.channels,
            jobs=changes.jobs,
            described=described,
            gone=changes.gone,
            unseen=changes.unseen,
            kept_out=changes.kept_out,
            paths=paths,
            events=changes.events,
            audit=changes.audit,
            removed=[self._id_of(device) for device in changes.removed],
            enrolled=[device_id for device_id, _ in changes.enrolled],
        )

    def newest(self, pipeline: str) -> Pipeline:
        """Return the newest revision of a pipeline."""
        return self.revisions[pipeline][-1]

    def goes_back(self, run: RunRecord) -> bool:
        """Say whether a run takes devices back, or tries again one that did."""
        source = run.plan.source
        return source is not None and (source.purpose == "rollback" or self.goes_back(self.runs[source.run_id]))

    def starting(self, draws: Draws) -> list[str]:
        """Return the jobs that may still start runs by themselves."""
        if draws.shape is None:
            return []
        begun_with = zip(draws.pipelines, draws.shape.triggers, strict=True)
        triggers = {definition.name: bool(drawn) for definition, drawn in begun_with}
        known = {name: bool(job.triggers or job.waiting) for name, job in self.jobs.items()}
        return [name for name, is_starting in (triggers | known).items() if is_starting]

    def died(self) -> None:
        """Take note that the controller died."""
        self.died_at = self.true_now() if self.died_at is None else self.died_at

    def _take_recovery(self) -> None:
        if self.died_at is not None:
            self.down_ms.append(self.true_now() - self.died_at)
            self.died_at = None

    def _take_target(self, row: TargetRecord) -> Moved:
        before = self.targets.get(row.id)
        counts = self.counts[row.run_id, row.stage]
        if before is not None and not before.target.is_control:
            counts[before.target.state] -= 1
        if not row.target.is_control:
            counts[row.target.state] += 1
        self.targets[row.id] = row
        self.held[row.run_id, row.stage].pop(row.id, None)
        (self.held if row.target.is_control else self.rows)[row.run_id, row.stage][row.id] = row
        self.members[row.run_id].add(row.device_id)
        return before, row

    def _take_run(self, run: RunRecord) -> Ran:
        before = self.runs.get(run.id)
        self.runs[run.id] = run
        self.run_ids[run.uid] = run.id
        return before, run

    def _take_paths(self, changes: Changes) -> dict[str, list[UpgradePath | None]]:
        turns: dict[str, list[UpgradePath | None]] = {}
        for version, path in changes.paths:
            turns.setdefault(version, [self.paths.pop(version, None)]).append(path)
            self.paths.pop(version, None)
            self.paths |= {} if path is None else {version: path}
        return turns

    def _id_of(self, device: DeviceId) -> int:
        return next(record.id for record in self.devices.values() if record.device == device)

    def _take_devices(self, changes: Changes) -> None:
        self.removed |= {self._id_of(device) for device in changes.removed}
        for device_id, _ in changes.enrolled:
            self.removed.discard(device_id)
            self.broken.discard(device_id)
            self.present.pop(device_id, None)
            self.capabilities.pop(device_id, None)
        for device, is_blocked in changes.blocked:
            ids = {record.id for record in self.devices.values() if record.device == device}
            self.blocked = self.blocked | ids if is_blocked else self.blocked - ids
        self.present |= {device.id: device.instance for device in changes.hellos}
        for hello in changes.hellos:
            self.capabilities[hello.id] |= frozenset(hello.capabilities)
        for device_id in (*changes.gone, *changes.unseen):
            self.present.pop(device_id, None)
        for device_id, hold in changes.held:
            self.holds.pop(device_id, None)
            if hold is not None:
                self.holds[device_id] = hold
        for device_id, versions in changes.pinned:
            self.pins.pop(device_id, None)
            if versions is not None:
                self.pins[device_id] = versions
        for device_id, is_broken in changes.installed:
            (self.broken.add if is_broken else self.broken.discard)(device_id)

    def _describe(self, changes: Changes) -> dict[int, list[Described]]:
        """Take over what queries ask about; return for each device that changed what it was, one after the other."""
        turns: dict[int, list[Described]] = {}

        def change(device_id: int, **said: object) -> None:
            turn = turns.setdefault(device_id, [self.described[device_id]])
            self.described[device_id] = msgspec.structs.replace(self.described[device_id], **said)
            turn.append(self.described[device_id])

        for device, labels in changes.labelled:
            for record in self.devices.values():
                if record.device == device:
                    change(record.id, labels=dict(labels))
        for device_id, enrolled in changes.enrolled:
            change(device_id, model=enrolled.model, facts={}, apps=(), agent=enrolled.agent)
        for device_id, said in changes.said:
            change(device_id, **said)
        for path, ids, is_added in changes.grouped:
            for device_id in sorted(ids):
                groups = self.described[device_id].groups
                change(device_id, groups=groups | {path} if is_added else groups - {path})
        return turns
