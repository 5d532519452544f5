"""Find a run and its stages by what people call them."""

from controller.app.errors import Conflict, NotFound
from controller.app.records import RunRecord
from controller.app.repositories import Transaction
from controller.domain.states import RunState


def find(tx: Transaction, uid: str) -> RunRecord:
    """Return a run.

    Raises:
        NotFound: when there is none of that id.
    """
    record = tx.runs.by_uid(uid)
    if record is None:
        raise NotFound(f"there is no run {uid!r}")
    return record


def stage_index(record: RunRecord, name: str) -> int:
    """Return which of a run's stages has a name.

    Raises:
        NotFound: when none has.
    """
    names = [stage.name for stage in record.plan.pipeline.stages]
    if name not in names:
        raise NotFound(f"run {record.uid} has no stage {name!r}; it has {', '.join(names)}")
    return names.index(name)  # type: ignore[arg-type]


def require_running(record: RunRecord) -> None:
    """Go on only with a run that is running.

    Raises:
        Conflict: when it has ended or is ending.
    """
    if record.run.state is not RunState.RUNNING:
        raise Conflict(f"run {record.uid} is not running: it is {record.run.state}")
