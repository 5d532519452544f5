"""Nobody waits for nothing: in a healed world a device that may begin does so before long."""

from collections.abc import Iterator, Sequence
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from controller.domain.pipeline import Stage, Targets
from controller.domain.states import StageState
from controller.domain.target import TargetState
from protocol.health import WATCH
from protocol.units import MINUTE
from simulator.virtual.laws.admission import is_on_path, is_open
from simulator.virtual.laws.selection import mismatch
from simulator.virtual.picture import Picture

LOOKS_MAX: Final = 5
"""At so many looks in a row a device may be found waiting; they are some seconds apart."""


class Waiting:
    """Looks at the queues of a healed world, and judges them by what was committed."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._seen: dict[int, int] = {}

    def look(self, active: Sequence[RunRecord]) -> Iterator[str]:
        """Yield who is found waiting, with nothing that speaks against it, once too often."""
        runs = {run.id: run for run in active if run.run.state == "running" and not run.run.is_paused}
        idle = [row for row in self._picture.targets.values() if row.run_id in runs and self._may_begin(row)]
        self._seen = {row.id: self._seen.get(row.id, 0) + 1 for row in idle}
        for row in idle:
            if self._seen[row.id] > LOOKS_MAX:
                yield f"{row.name} waits in stage {row.stage} of run {runs[row.run_id].uid}, and nothing keeps it"

    def _may_begin(self, row: TargetRecord) -> bool:
        run = self._picture.runs[row.run_id]
        stage, at_work = run.plan.pipeline.stages[row.stage], run.run.stages[row.stage]
        is_control = row.target.is_control
        has_room = self._has_room(row)
        is_going = at_work.state in {StageState.ROLLING_OUT, StageState.PASSED} and not at_work.is_recalled
        is_asked_for = row.target.state is TargetState.QUEUED and row.target.due is None
        if not (has_room and is_going and is_asked_for and self._is_free(row)):
            return False
        if self._is_frozen(run) or (not is_control and self._is_paced(row, stage)):
            return False
        described = self._picture.described[row.device_id]
        is_fit = not stage.preconditions or not mismatch(Targets(query=stage.preconditions), described)
        needed = {*run.plan.operation.requires, *([WATCH] if is_control else [])}
        is_able = needed <= self._picture.capabilities[row.device_id]
        path = self._picture.paths.get(run.plan.operation.version)
        leads = self._picture.goes_back(run) or is_on_path(path, described)
        return is_fit and is_able and leads and is_open(run, stage, described, self._picture.wall_now())

    def _has_room(self, row: TargetRecord) -> bool:
        """Say whether nobody of its stage is at work, of those that are held back where it is so as well."""
        where = row.run_id, row.stage
        if not row.target.is_control:
            return self._picture.counts[where][TargetState.IN_PROGRESS] == 0
        return not any(one.target.state is TargetState.IN_PROGRESS for one in self._picture.held[where].values())

    def _is_frozen(self, run: RunRecord) -> bool:
        now, name = self._picture.wall_now(), run.plan.pipeline.name
        freezes = self._picture.calendar.values()
        return any(
            one.starts_at <= now < one.ends_at and (not one.pipelines or name in one.pipelines) for one in freezes
        )

    def _is_paced(self, row: TargetRecord, stage: Stage) -> bool:
        """Say whether a rate or a ramp may keep it: something has become of another one of its stage in a minute."""
        if stage.pace.per_minute is None and stage.pace.ramp is None:
            return False
        others = (one for one in self._picture.targets.values() if (one.run_id, one.stage) == (row.run_id, row.stage))
        return any(one.updated_at > self._picture.wall_now() - MINUTE for one in others if one.id != row.id)

    def _is_free(self, row: TargetRecord) -> bool:
        """Say whether a device is known to be there, and neither restrained nor at work in another run."""
        picture, device_id = self._picture, row.device_id
        if device_id in picture.blocked | picture.broken | picture.holds.keys() | picture.pins.keys():
            return False
        others = (one for one in picture.targets.values() if one.device_id == device_id)
        is_idle = not any(one.target.state is TargetState.IN_PROGRESS for one in others)
        session = picture.session(row.name)
        return is_idle and session is not None and picture.present.get(device_id) == session[0]
