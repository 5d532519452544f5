"""Invariants 4 and 15 on the device: one installation for one attempt, and a device knows what it is left with."""

from collections import Counter

from agent.core.model import Work
from protocol.lifecycle import Left
from simulator.virtual.laws.law import Complaints, Law, Stepped
from simulator.virtual.picture import Picture


class InstalledOnce(Law):
    """For one device, run and attempt the installer runs at most once."""

    number = 4

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._installs: Counter[tuple[str, str, int]] = Counter()

    def installs(self, stepped: Stepped) -> Complaints:
        """Count."""
        work = stepped.after.durable.work
        assert work is not None
        key = (stepped.label, work.run, work.attempt)
        self._installs[key] += 1
        if self._installs[key] > 1:
            yield f"{stepped.label} installs attempt {work.attempt} of run {work.run} for the second time"


class WholeOrOld(Law):
    """What a device says it was left with is what is really active on it."""

    number = 15

    def stepped(self, stepped: Stepped) -> Complaints:
        """Compare the end of the work with the disk."""
        work = stepped.before.durable.work
        if work is None or stepped.after.durable.work is not None:
            return
        ended = stepped.after.durable.finals[-1]
        if ended.left is Left.NEW and stepped.active != _wanted(work):
            yield f"{stepped.label} says that the new release is active, and {stepped.active[:12]} is"
        if ended.left is Left.OLD and stepped.active == "half":
            yield f"{stepped.label} says that the old release is active, and it is half-way"
        if ended.left is Left.BROKEN and stepped.active != "half":
            yield f"{stepped.label} says that it is broken, and {stepped.active[:12]} is active"


def _wanted(work: Work) -> str:
    return work.refs[0].sha256
