"""Admission: nothing is sent to whom orders, hours, paths, sites or its own agent keep back, judged from outside."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from controller.app.records import CommandRecord, RunRecord, TargetRecord
from controller.domain.admission import UpgradePath
from controller.domain.pipeline import Stage, Targets
from controller.domain.query import Described
from controller.domain.target import TargetState
from protocol.health import WATCH
from protocol.lifecycle import AttemptState
from protocol.messages import Op
from simulator.virtual.laws.law import Asked, Complaints, Handed, Law
from simulator.virtual.laws.selection import mismatch, order
from simulator.virtual.picture import Commit, Picture
from simulator.virtual.places import TIMEZONE


class OnlyAdmitted(Law):
    """Nobody is commanded who is held or pinned, outside the window, against a precondition, or beyond its site.

    Nor is anybody whose agent cannot do what is required, or who has a version from which no path leads there; devices
    that are taken back need no path.
    """

    number = 2

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._held: set[str] = set()
        self._sites: dict[tuple[int, int], dict[int, str]] = defaultdict(dict)
        """By run and stage: where each device at work was when its attempt began."""

    def committed(self, commit: Commit) -> Complaints:
        """Judge each new command for work, and who is at work at each site."""
        for before, row in commit.updated:
            self._note(before, row)
        for command in commit.commands:
            if command.op in {Op.INSTALL, Op.WATCH} and command.target_id is not None:
                yield from self._commanded(command, self.picture.targets[command.target_id], commit)
        for (run_id, stage), sites in self._sites.items():
            yield from self._crowded(self.picture.runs[run_id].plan.pipeline.stages[stage], list(sites.values()))

    def _note(self, before: TargetRecord | None, row: TargetRecord) -> None:
        site = self.picture.runs[row.run_id].plan.pipeline.stages[row.stage].pace.per_site
        if site is None:
            return
        at_work = self._sites[row.run_id, row.stage]
        if row.target.state is not TargetState.IN_PROGRESS:
            at_work.pop(row.id, None)
        elif before is not None and before.target.state is not TargetState.IN_PROGRESS:
            at_work[row.id] = self.picture.described[row.device_id].labels[site.label]

    def _crowded(self, stage: Stage, places: list[str]) -> Iterator[str]:
        assert stage.pace.per_site is not None
        for place in sorted(set(places)):
            if places.count(place) > stage.pace.per_site.max:
                yield f"{places.count(place)} devices of stage {stage.name} are at work at {place}"

    def _commanded(self, command: CommandRecord, row: TargetRecord, commit: Commit) -> Iterator[str]:
        run = self.picture.runs[row.run_id]
        stage = run.plan.pipeline.stages[row.stage]
        hold, pin = self.picture.holds.get(row.device_id), self.picture.pins.get(row.device_id)
        if hold is not None and (hold.until is None or hold.until > command.created_at):
            yield f"a command for {row.name}, which is held"
        if pin is not None and pin != run.plan.operation.version:
            yield f"a command for {row.name} and {run.plan.operation.version}, and it is pinned to {pin}"
        turns = commit.described.get(row.device_id) or [self.picture.described[row.device_id]]
        if not any(is_open(run, stage, turn, command.created_at) for turn in turns):
            yield f"a command for {row.name} outside the windows of stage {stage.name} where it is"
        needed = {*run.plan.operation.requires, *([WATCH] if command.op is Op.WATCH else [])}
        missing = needed - self.picture.capabilities[row.device_id]
        if missing:
            yield f"a command for {row.name}, whose agent has never been able to do {sorted(missing)}"
        version = run.plan.operation.version
        ways = commit.paths.get(version) or [self.picture.paths.get(version)]
        if not self.picture.goes_back(run) and not any(is_on_path(way, turn) for way in ways for turn in turns):
            yield f"a command for {row.name} and {version}, to which no path leads from {turns[-1].apps}"
        if stage.preconditions and all(mismatch(Targets(query=stage.preconditions), turn) for turn in turns):
            yield f"a command for {row.name} against the precondition {stage.preconditions}"

    def handed(self, handed: Handed) -> Complaints:
        """Judge what goes to a device whose hold was answered; one that has begun may be told again what it does."""
        command, device = handed.command, self.picture.names[handed.name]
        if command is None or command.target_id is None or device.device not in self._held:
            return
        if self.picture.targets[command.target_id].target.attempt_state is AttemptState.SENT:
            yield f"a command was handed to {handed.name} after its hold was answered"

    def asked(self, asked: Asked) -> Complaints:
        """Let a device go as soon as somebody asks for it, or for another hold, which may end by itself."""
        if asked.act in {"hold", "unhold"}:
            self._held.discard(asked.subject)
        return ()

    def answered(self, asked: Asked, *, is_done: bool) -> Complaints:
        """Take note that a device is held with no end, and nobody has undone it; accepted work goes on all the same."""
        if asked.act == "hold" and is_done:
            ids = {device.id for device in self.picture.devices.values() if device.device == asked.subject}
            holds = [self.picture.holds[id_] for id_ in ids if id_ in self.picture.holds]
            if holds and all(hold.until is None for hold in holds):
                self._held.add(asked.subject)
        return ()


def is_open(run: RunRecord, stage: Stage, device: Described, at: int) -> bool:
    """Say whether some window of a stage is open on a device's clock; on one that there is not none ever is."""
    if not stage.windows:
        return True
    zone = device.labels.get(TIMEZONE) or device.facts.get(TIMEZONE) or run.plan.pipeline.timezone or "UTC"
    try:
        local = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone))
    except ZoneInfoNotFoundError:
        return False
    minute = local.hour * 60 + local.minute
    return any(window.begin <= minute < window.end for window in stage.windows)


def is_on_path(path: UpgradePath | None, device: Described) -> bool:
    """Say whether a path leads on from what a device has; worlds draw no other ranges than these."""
    return path is None or all(_leads(path, version) for _, version in device.apps)


def _leads(path: UpgradePath, version: str) -> bool:
    floors = [path.allowed.removeprefix(">="), *path.through]
    is_far_enough = all(order(version, floor) >= 0 for floor in floors if floor)
    return is_far_enough and (not path.forbidden or order(version, path.forbidden) != 0)
