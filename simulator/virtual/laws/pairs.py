"""Invariant 7, of metrics: who is compared with whom does not depend on what they told, and nobody is twice."""

from collections.abc import Iterator, Mapping

from controller.app.records import TargetRecord
from simulator.virtual.laws.law import Complaints, Law, Measured, Stepped
from simulator.virtual.laws.told import Counted, Told, matches
from simulator.virtual.picture import Commit, Picture


class PairsAreFair(Law):
    """An updated device is compared when it first tells, with the first of its model that is held back and has told.

    As many are compared as are held back, by their place in the order of the stage, whoever tells first.
    What is kept of both is what they told: its first numbers, and the newest of the other, which are not old.
    """

    number = 7

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._told = Told(picture)

    def measured(self, measured: Measured) -> Complaints:
        """Take note of what a device read."""
        self._told.read(measured)
        return ()

    def stepped(self, stepped: Stepped) -> Complaints:
        """Take note of what a device tells."""
        self._told.stepped(stepped)
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Judge what is kept of what was told, every pair, and who is in none."""
        new = self._told.heard(commit)
        yield from self._kept(commit, new)
        found = list(matches(commit))
        for updated, control in found:
            yield from self._judge(updated, control, new)
            self._told.paired |= {updated.id, control.id}
        for before, row in commit.targets:
            if row.target.is_paired and not (before and before.target.is_paired) and row.id not in self._told.paired:
                yield f"{row.name} is in a pair with nobody"
        yield from self._alone(new)
        self._told.forget(commit)

    def _judge(self, updated: TargetRecord, control: TargetRecord, new: dict[int, Counted]) -> Iterator[str]:
        pair = f"{updated.name} is compared with {control.name}"
        if updated.target.is_control or not control.target.is_control:
            yield f"{pair}, and it is not the one that is held back alone"
        if {updated.id, control.id} & self._told.paired:
            yield f"{pair}, and one of them was compared before"
        if updated.id not in new or control.id not in self._told.counted:
            yield f"{pair}, and one of them has told nothing now that is compared"
            return
        told, other = new[updated.id], self._told.counted[control.id]
        if updated.target.measures not in told.one_of or control.target.measures not in other.one_of:
            yield f"{pair} by {updated.target.measures} and {control.target.measures}: expected {told} and {other}"
        first = next(self._told.fresh(updated, told), None)
        if first is None or first.id != control.id:
            yield f"{pair}, and the first that it could be is {None if first is None else first.name}"

    def _alone(self, new: dict[int, Counted]) -> Iterator[str]:
        for id_, told in new.items():
            row = self._told.before(id_)
            if row.target.is_control or id_ in self._told.paired or self._told.is_over(row):
                continue
            other = next(self._told.fresh(row, told), None)
            if other is not None:
                yield f"{row.name} has told its numbers, and is not compared with {other.name}"

    def _kept(self, commit: Commit, new: Mapping[int, Counted]) -> Iterator[str]:
        """Look whether what counts was written, whatever became of the device in the same transaction, and no more.

        Where that brings the verdict of the stage, either may come first.
        """
        for id_, told in new.items():
            kept = [(row.target.measures, row.target.measured_at) for _, row in commit.targets if row.id == id_]
            is_there = any(measures in told.one_of and at == told.at for measures, at in kept)
            if not is_there and not self._told.is_over(self._told.before(id_)):
                yield f"of row {id_} {kept} is kept, and it told {told}"
        for before, row in commit.targets:
            if row.id not in new and row.target.measured_at not in {None, before and before.target.measured_at}:
                yield f"{row.name} told {row.target.measures}, which do not count, and they are kept"
