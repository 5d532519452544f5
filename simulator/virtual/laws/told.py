"""What devices told of metrics, as far as it counts: found from what they read, what they filed, and what is stored.

Nothing of it is asked of the code that it judges.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from agent.core.model import FiledKind
from controller.app.records import ReportRecord, RunRecord, TargetRecord
from controller.domain.pipeline import Metric
from protocol.ids import Name
from protocol.outputs import Outputs
from protocol.units import SECOND, Instant
from simulator.virtual.laws.law import Measured, Stepped
from simulator.virtual.picture import Commit, Moved, Picture

Numbers = Mapping[str, float]


def again_ms(late_ms: int) -> int:
    """Return after how long those tell again that are held back, where updated devices tell *late_ms* after success."""
    return min(late_ms, max(late_ms // 6, 5 * SECOND))


@dataclass(frozen=True, slots=True)
class Counted:
    """What counts of what a device told, as of one wall time, and heard at another: one of these, where clones tell."""

    at: Instant
    heard_at: Instant
    one_of: tuple[Numbers, ...]


@dataclass(slots=True)
class Told:
    """What counts of what devices told, by row, in its newest attempt; `paired` are the rows that were compared.

    Of an updated device that is what it told first, of one that is held back what it told last.
    """

    picture: Picture
    counted: dict[int, Counted] = field(default_factory=dict)
    paired: set[int] = field(default_factory=set)
    _were: dict[int, TargetRecord] = field(default_factory=dict)
    """The rows that the newest commit has changed, as they were before."""
    _runs_were: dict[int, RunRecord] = field(default_factory=dict)
    _read: dict[str, Measured] = field(default_factory=dict)
    _filed: defaultdict[tuple[Name, str, int], list[Outputs]] = field(default_factory=lambda: defaultdict(list))

    def read(self, measured: Measured) -> None:
        """Take note of what a device read."""
        self._read[measured.label] = measured

    def stepped(self, stepped: Stepped) -> None:
        """Take note that a device tells what it has read last, under the number of a report."""
        before, after = stepped.before.durable, stepped.after.durable
        for filed in after.filed:
            if filed.kind is FiledKind.MEASURE and filed.report_seq > before.report_seq:
                outputs = self._read[stepped.label].outputs
                self._filed[stepped.name, after.incarnation, filed.report_seq].append(outputs)

    def heard(self, commit: Commit) -> dict[int, Counted]:
        """Take in the reports of a commit; return what counts now that did not before, by row."""
        self._were.clear()
        self._runs_were = {record.id: before for before, record in reversed(commit.runs) if before is not None}
        for before, row in commit.targets:
            self._were.setdefault(row.id, before or row)
        new: dict[int, Counted] = {}
        for report in commit.reports:
            if report.state == "measured" and report.target_id is not None:
                row = self.before(report.target_id)
                if self._was_over(row):
                    continue
                told = self._numbers(report, row)
                if told is not None and self._is_awaited(report, row):
                    self.counted[row.id] = new[row.id] = told
        return new

    def before(self, row_id: int) -> TargetRecord:
        """Return a row as it was before the newest commit, in which much may become of it."""
        return self._were.get(row_id, self.picture.targets[row_id])

    def is_over(self, row: TargetRecord) -> bool:
        """Say whether the stage of a row has its verdict: then nothing is compared any more."""
        return self.picture.runs[row.run_id].run.stages[row.stage].state.is_verdict

    def _was_over(self, row: TargetRecord) -> bool:
        record = self._runs_were.get(row.run_id, self.picture.runs[row.run_id])
        return record.run.stages[row.stage].state.is_verdict

    def forget(self, commit: Commit) -> None:
        """Forget what was told in the attempts before those that began in a commit, or while a device was held back."""
        for before, row in commit.targets:
            if before is not None and _is_anew(before, row):
                self.counted.pop(row.id, None)

    def metrics(self, row: TargetRecord) -> tuple[Metric, ...]:
        """Return what the stage of a row compares."""
        rules = self.picture.runs[row.run_id].plan.pipeline.stages[row.stage].gate.control
        return () if rules is None else rules.metrics

    def fresh(self, updated: TargetRecord, told: Counted) -> Iterator[TargetRecord]:
        """Yield those who can be compared with an updated device that told this now, in the order of the stage.

        As many updated devices are compared as are held back, those that come next in that order.
        """
        run = self.picture.runs[updated.run_id]
        group, soak_ms = run.run.stages[updated.stage].control, run.plan.pipeline.stages[updated.stage].gate.soak_ms
        if group is None or updated.id % 2**32 >= 2 * group.held:
            return
        since = told.heard_at - 2 * again_ms(soak_ms * 9 // 10)
        of = updated.run_id, updated.stage, updated.model
        for id_ in sorted(self.counted):
            row = self.before(id_)
            is_held = row.target.is_control and id_ not in self.paired and (row.run_id, row.stage, row.model) == of
            if is_held and min(told.at, self.counted[id_].at) >= since:
                yield row

    def _is_awaited(self, report: ReportRecord, row: TargetRecord) -> bool:
        is_first = row.target.is_control or row.id not in self.counted
        is_of_now = report.attempt == row.target.attempt and row.target.is_compared
        return is_of_now and is_first and row.id not in self.paired

    def _numbers(self, report: ReportRecord, row: TargetRecord) -> Counted | None:
        name = self.picture.devices[report.device_id].name
        names = [metric.name for metric in self.metrics(row)]
        told = self._filed[name, report.incarnation, report.report_seq]
        one_of = tuple(numbers for numbers in (_only(names, outputs) for outputs in told) if numbers)
        as_of = min(report.device_at, report.received_at)
        return Counted(as_of, report.received_at, one_of) if one_of else None


def _only(names: Iterable[str], outputs: Outputs) -> Numbers:
    return {name: outputs[name] for name in names if isinstance(outputs.get(name), int | float)}  # type: ignore[misc]


def _is_anew(before: TargetRecord, row: TargetRecord) -> bool:
    return row.target.attempt > before.target.attempt or row.target.is_control is not before.target.is_control


def matches(commit: Commit) -> Iterator[tuple[TargetRecord, TargetRecord]]:
    """Yield the rows that come to be paired in a commit two by two, as they were written: an updated device first."""
    rows = [row for before, row in commit.targets if _is_paired_now((before, row))]
    yield from zip(rows[::2], rows[1::2], strict=False)


def _is_paired_now(move: Moved) -> bool:
    before, row = move
    return row.target.is_paired and not (before is not None and before.target.is_paired)
