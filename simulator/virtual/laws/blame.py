"""Invariant 7, at its root: a build is blamed only for what came of it on a device, and for no outage."""

from typing import Final

from agent.core.model import Phase
from protocol.ids import Name
from simulator.virtual.laws.law import Complaints, Law, Stepped
from simulator.virtual.picture import Commit, Picture

_BEYOND: Final = frozenset({Phase.INSTALLING, Phase.VERIFYING, Phase.COMMITTING, Phase.ROLLING_BACK})
_LOOPS: Final = "transitions_exhausted"
"""The one reason for which a build is blamed wherever a device stands: it got nowhere in many tries."""


class BlameIsDeserved(Law):
    """Who counts as a failure of the build had gone beyond the download, by its own journal, or watched it."""

    number = 7

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._beyond: set[tuple[Name, str, int]] = set()

    def stepped(self, stepped: Stepped) -> Complaints:
        """Take note of who has gone how far."""
        work = stepped.after.durable.work
        if work is not None and work.phase in _BEYOND:
            self._beyond.add((stepped.name, work.run, work.attempt))
        watch = stepped.after.durable.watch  # of a release that may have been active before, and nothing was installed
        if watch is not None:
            self._beyond.add((stepped.name, watch.run, watch.attempt))
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Judge every device that a build is blamed for from now on."""
        for before, row in commit.targets:
            is_new = row.target.is_blamed and (before is None or not before.target.is_blamed)
            run, last = self.picture.runs[row.run_id].uid, row.target.attempt
            first = 1 if row.target.is_unwell else last  # harm is told of any attempt, also of one taken for lost
            is_beyond = any((row.name, run, attempt) in self._beyond for attempt in range(first, last + 1))
            is_beyond = is_beyond or row.target.is_silent  # which follows a success, and that is told by the device
            if is_new and not is_beyond and row.target.reason != _LOOPS:
                yield f"{row.name} is blamed on the build for {row.target.reason}, and has never begun to install it"
