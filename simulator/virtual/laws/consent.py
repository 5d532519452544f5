"""What people have not agreed to does not happen: releases that they withdrew, stages that too few have approved."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from controller.app.records import CommandRecord, RunRecord
from protocol.codec import decode
from protocol.messages import Command, Op
from simulator.virtual.laws.law import Asked, Complaints, Handed, Law
from simulator.virtual.picture import Commit, Picture

FIRST_AUTHOR: Final = "ann"
"""Who wrote the pipelines that there are from the beginning."""


class NothingWithdrawnIsSent(Law):
    """From the answer to a withdrawal on, nothing that installs the release is sent, and no run of it begins."""

    number = 3

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._withdrawn: set[str] = set()

    def answered(self, asked: Asked, *, is_done: bool) -> Complaints:
        """Take note that a version is blocked; that is never lifted."""
        if asked.act == "withdraw" and is_done:
            self._withdrawn.add(asked.subject)
        return ()

    def handed(self, handed: Handed) -> Complaints:
        """Judge a command by the release that it names, or that its run installs."""
        command = decode(handed.payload, Command)
        if command.op not in {Op.INSTALL, Op.WATCH, Op.GO}:
            return
        named = {release.path.split("/")[1] for release in command.releases}
        run = self.picture.runs[self.picture.run_ids[command.run]]
        for version in sorted((named or {run.plan.operation.version}) & self._withdrawn):
            yield f"{command.op} of {version} was handed to {handed.name} after its withdrawal was answered"

    def committed(self, commit: Commit) -> Complaints:
        """Judge every run that begins, and every one that goes on."""
        for before, run in commit.runs:
            version = run.plan.operation.version
            if before is None and version in self._withdrawn:
                yield f"run {run.uid} of {version} began after its withdrawal was answered"
            is_going = run.run.state == "running" and not run.run.is_paused and not run.run.reason
            if before is not None and is_going and version in self._withdrawn:
                yield f"run {run.uid} goes on, and {version}, which it installs, is withdrawn"


class ApprovedByOthers(Law):
    """A stage that asks for approvals sends its first command after so many others have asked to approve it."""

    number = 6

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._people: dict[str, set[str]] = defaultdict(set)

    def asked(self, asked: Asked) -> Complaints:
        """Take note of who approves; who is refused for a part in it is left out when they are counted."""
        if asked.act == "approve":
            self._people[asked.subject].add(asked.by)
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Judge every stage that gets a command, and what every approval is bound to."""
        for _, run in commit.runs:
            yield from self._bound(run)
        for command in commit.commands:
            if command.op is Op.INSTALL:
                yield from self._commanded(command)

    def _commanded(self, command: CommandRecord) -> Iterator[str]:
        run = self.picture.runs[command.run_id]
        assert command.target_id is not None, "an install command is of a target"
        wanted = run.plan.pipeline.stages[self.picture.targets[command.target_id].stage]
        author = self.picture.authors.get((run.plan.pipeline.name, run.plan.revision), FIRST_AUTHOR)
        others = self._people[f"{run.uid}/{wanted.name}"] - {author, run.plan.started_by}
        if len(others) < wanted.approvals:
            people = ", ".join(sorted(others)) or "nobody"
            yield f"{wanted.name} of run {run.uid} sends a command, approved by {people} of {wanted.approvals}"

    def _bound(self, run: RunRecord) -> Iterator[str]:
        plan = run.plan
        for stage in run.run.stages:
            names = [one.by for one in stage.approvals]
            if len(set(names)) < len(names):
                yield f"run {run.uid} counts one person twice: {names}"
            for one in stage.approvals:
                if (one.revision, one.version, one.salt) != (plan.revision, plan.operation.version, plan.salt):
                    yield f"an approval of {one.by} in run {run.uid} is bound to something else"
