"""Invariants 4 and 15 on the device: one installation for one attempt, and a device knows what it is left with."""

from collections import Counter

from agent.core.model import Phase, Work
from agent.core.work import LATE
from protocol.lifecycle import AttemptState, Left
from simulator.virtual.installer import HALF, NOTHING
from simulator.virtual.laws.law import Complaints, Law, Stepped
from simulator.virtual.picture import Picture


class InstalledOnce(Law):
    """For one device, run and attempt the installer runs at most once, and one attempt is in hand at a time."""

    number = 4

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._installs: Counter[tuple[str, str, int]] = Counter()

    def stepped(self, stepped: Stepped) -> Complaints:
        """Look whether work makes room for other work before it has ended."""
        before, after = stepped.before.durable.work, stepped.after.durable.work
        if before is not None and after is not None and not after.is_of(before.run, before.attempt):
            yield f"{stepped.label} takes attempt {after.attempt} of {after.run} with {before.run} in hand"

    def installs(self, stepped: Stepped) -> Complaints:
        """Count."""
        work = stepped.after.durable.work
        assert work is not None
        key = (stepped.label, work.run, work.attempt)
        self._installs[key] += 1
        if self._installs[key] > 1:
            yield f"{stepped.label} installs attempt {work.attempt} of run {work.run} for the second time"


class WholeOrOld(Law):
    """What a device says it was left with is what is really active on it.

    One that gave its roll back up for taking too long may say that it is broken: nobody knows better yet. A device that
    was left broken has no old release to speak of, until another one is installed.
    """

    number = 15

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._broken: set[str] = set()

    def stepped(self, stepped: Stepped) -> Complaints:
        """Compare the end of the work with the disk; work that a journal lost has no end."""
        work, ends = stepped.before.durable.work, stepped.after.durable.finals
        if work is None or stepped.after.durable.work is not None or not ends:
            return
        ended = ends[-1]
        if ended.left is Left.NEW and stepped.active != _wanted(work):
            yield f"{stepped.label} says that the new release is active, and {stepped.active[:12]} is"
        was_broken = stepped.label in self._broken
        old = {release.sha256 for release in stepped.before.durable.installed} or {NOTHING}
        if ended.left is Left.OLD and (was_broken or stepped.active not in old):
            yield f"{stepped.label} says that the old release is active, and {stepped.active[:12]} is"
        may_be_whole = was_broken or LATE[Phase.ROLLING_BACK].detail in ended.detail
        if ended.left is Left.BROKEN and stepped.active != HALF and not may_be_whole:
            yield f"{stepped.label} says that it is broken, and {stepped.active[:12]} is active"
        (self._broken.add if ended.left is Left.BROKEN else self._broken.discard)(stepped.label)


class FloorsRiseAtCommit(Law):
    """A device's floor of an app rises when a release of it is made final, to that release's floor, and never falls."""

    number = 15

    def stepped(self, stepped: Stepped) -> Complaints:
        """Compare the floors before and after."""
        before, after = stepped.before.durable, stepped.after.durable
        if after.floors == before.floors:
            return
        listed = {release.app: release.floor for release in after.installed}
        is_over = before.work is not None and after.work is None
        is_end = is_over and any(end.state is AttemptState.SUCCEEDED for end in after.finals[-1:])
        for app, floor in after.floors.items():
            last = before.floors.get(app, 0)
            if floor < last:
                yield f"{stepped.label} lowers the floor of {app} from {last} to {floor}"
            if floor > last and not (is_end and listed.get(app) == floor):
                yield f"{stepped.label} raises the floor of {app} to {floor} before such a release is final"


class NeverBelowTheFloor(Law):
    """A device installs no release whose counter lies below the floor that an earlier one set."""

    number = 15

    def installs(self, stepped: Stepped) -> Complaints:
        """Compare what is about to be installed with the device's floors."""
        durable = stepped.after.durable
        for release in durable.work.releases if durable.work is not None else ():
            floor = durable.floors.get(release.app, 0)
            if release.counter < floor:
                yield f"{stepped.label} installs counter {release.counter} of {release.app} below its floor {floor}"


def _wanted(work: Work) -> str:
    return work.refs[0].sha256
