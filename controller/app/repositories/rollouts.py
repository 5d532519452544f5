"""Runs, the devices in them, and their commands."""

from collections.abc import Collection, Sequence
from typing import Protocol

from controller.app.records import (
    CommandRecord,
    GivenCommand,
    OfModel,
    PastTarget,
    RunRecord,
    TargetRecord,
)
from controller.domain.admission import BlockReason
from controller.domain.control import EVERYWHERE, Places
from controller.domain.target import TargetState
from protocol.ids import AppName, Digest
from protocol.units import Instant


class Runs(Protocol):
    """Runs and their stages."""

    def add(self, run: RunRecord) -> RunRecord:
        """Insert a run and its stages; return it with its ids.

        Raises:
            controller.app.errors.Conflict: when its job has an active run (a partial unique index says so).
        """

    def get(self, run_id: int) -> RunRecord:
        """Return a run that exists."""

    def by_uid(self, uid: str) -> RunRecord | None:
        """Return a run, or None."""

    def save(self, run: RunRecord) -> None:
        """Store state, projected columns, each stage's state and counters, wake_at and ended_at."""

    def page(self, *, job: str | None, active: bool | None, before: int | None, limit: int) -> list[RunRecord]:
        """Return up to *limit* runs with an id below *before*, newest first."""

    def active_ids(self) -> list[int]:
        """Return the ids of runs that have not ended."""

    def open_to_newcomers(self) -> list[int]:
        """Return the ids of runs of which a stage takes new devices, as they were saved."""

    def waking(self, at: Instant) -> list[int]:
        """Return the ids of active runs whose `wake_at` has come."""

    def next_wake(self) -> Instant | None:
        """Return the earliest `wake_at`."""


class Targets(Protocol):
    """Devices in runs."""

    def add(self, targets: Sequence[TargetRecord]) -> None:
        """Insert the frozen membership of a stage, or devices that join it later."""

    def members(self, run_id: int) -> set[int]:
        """Return the ids of the devices that some stage of the run has frozen."""

    def members_among(self, run_id: int, device_ids: Collection[int]) -> set[int]:
        """Return those of *device_ids* that some stage of the run has."""

    def next_id(self, stage_id: int) -> int:
        """Return the id of the next row of a stage: behind all that it has."""

    def placed(self, run_id: int) -> dict[int, int]:
        """Return the stage id of every device that some stage of the run has frozen, by device id."""

    def get(self, ids: Collection[int]) -> dict[int, TargetRecord]:
        """Return those that exist, by id."""

    def ready(
        self, stage_id: int, *, instance: int, now: int, limit: int, places: Places = EVERYWHERE
    ) -> list[TargetRecord]:
        """Return up to *limit* queued devices of a stage at some *places* in dispatch order that may go now.

        They are online in *instance*, their `due` (run time) is None or not after *now*, and they are at work in no
        run, neither shut out nor broken, and nothing blocks their row.
        """

    def in_stage(self, stage_id: int, state: TargetState) -> list[TargetRecord]:
        """Return a stage's devices in *state*."""

    def of_model(self, stage_id: int, state: TargetState, meant: OfModel) -> list[TargetRecord]:
        """Return a stage's devices in *state* that are of the models meant; rows that know none are of none."""

    def in_flight(self, run_id: int) -> list[TargetRecord]:
        """Return a run's devices at work."""

    def unsuccessful(self, stage_ids: Sequence[int], *, with_cancelled: bool) -> list[PastTarget]:
        """Return the devices that failed or timed out in adjacent stages of a run, in dispatch order.

        Those that were cancelled are among them *with_cancelled*, and those that were held back to the end.
        """

    def reached(self, stage_ids: Sequence[int]) -> list[PastTarget]:
        """Return the devices of adjacent stages of a run that were commanded more than to watch, in dispatch order."""

    def find(self, run_id: int, device_id: int) -> TargetRecord | None:
        """Return a device's row in a run, or None where it is no member."""

    def of_device(self, device_id: int) -> list[TargetRecord]:
        """Return a device's rows in active runs, by run."""

    def at_work(self, device_id: int) -> TargetRecord | None:
        """Return the one run's row in which the device is at work."""

    def due(self, run_id: int, now: int, *, limit: int) -> list[TargetRecord]:
        """Return up to *limit* devices of a run whose `due` (run time) is not after *now*, earliest first.

        Queued ones that only wait for a retry are included.
        """

    def next_due(self, run_id: int) -> int | None:
        """Return the earliest `due` of a run, in run time."""

    def save(self, targets: Sequence[TargetRecord]) -> None:
        """Store `target`, `site` and `updated_at` of each.

        `ready` is `set_ready`'s, and `previous` is `note_previous`'s.

        A row that enters another state, or the queue anew, is blocked no more.
        """

    def block(self, targets: Sequence[TargetRecord]) -> None:
        """Store why each of these queued rows may not go, until when, and its `site`."""

    def unblock(self, device_ids: Collection[int]) -> list[int]:
        """Let the rows of devices be judged anew; return the ids of the runs that had any blocked."""

    def unblock_rows(self, ids: Collection[int]) -> None:
        """Let these rows be judged anew."""

    def unblock_checked(self, run_id: int, at: Instant, *, limit: int) -> None:
        """Let up to *limit* rows of a run whose `check_at` has come be judged anew, the earliest first."""

    def unblock_reason(self, run_id: int, reason: BlockReason) -> None:
        """Let the rows of a run that are blocked for one reason be judged anew."""

    def unblock_site(self, run_id: int, stage: int, site: str) -> None:
        """Let the rows of a stage that found this site full be judged anew."""

    def next_check(self, run_id: int) -> Instant | None:
        """Return the earliest `check_at` of a run."""

    def at_site(self, stage_id: int, sites: Collection[str]) -> dict[str, int]:
        """Return how many devices of a stage are at work at each of these sites that has any."""

    def blocked_counts(self, run_id: int) -> dict[tuple[int, BlockReason], int]:
        """Return how many devices of a run are blocked, by (position of the stage, reason)."""

    def note_previous(self, ids: Collection[int], *, app: AppName) -> None:
        """Set `previous` of rows that have none to the version of *app* that the device has, the highest of several."""

    def set_ready(self, device_ids: Collection[int], instance: int) -> list[int]:
        """Set `ready` on the queued rows of devices; return the ids of the active runs that have such rows."""

    def page(
        self, run_id: int, *, stage: int | None, state: TargetState | None, after: int, limit: int
    ) -> list[TargetRecord]:
        """Return up to *limit* rows with an id above *after*, in that order."""


class Commands(Protocol):
    """Commands, with their exact bytes."""

    @property
    def closed(self) -> Sequence[int]:
        """The ids of the commands that this transaction has dropped, closed or made void: nobody may send them."""

    def add(self, commands: Sequence[CommandRecord]) -> list[CommandRecord]:
        """Insert commands; return them with their ids."""

    def given(self, digests: Collection[Digest]) -> dict[Digest, GivenCommand]:
        """Return what those that exist are about."""

    def open_for(self, target_id: int) -> list[CommandRecord]:
        """Return the target's commands that are unsent or sent, the oldest first."""

    def controls_for(self, device_ids: Collection[int]) -> list[CommandRecord]:
        """Return the control commands of devices that are unsent, the oldest first."""

    def due(self, at: Instant, *, limit: int) -> list[CommandRecord]:
        """Return up to *limit* unsent or sent commands whose `send_at` has come, earliest first."""

    def next_due(self) -> Instant | None:
        """Return the earliest `send_at` of a command that is unsent or sent."""

    def mark_sent(self, ids: Collection[int], *, again_at: Instant) -> None:
        """Mark install commands sent, to be sent again at *again_at*; control commands become done."""

    def drop(self, ids: Collection[int]) -> list[int]:
        """Mark open commands done, and return their ids: nobody is to be told of them any more."""

    def postpone(self, ids: Collection[int], *, until: Instant) -> None:
        """Try commands that are unsent or sent again at *until*."""

    def close(self, target_ids: Collection[int]) -> list[int]:
        """Mark every open command of these targets done, and return their ids.

        The device has accepted them, or their attempt is over, or a newer command takes their place.
        """

    def void(self, *, run_id: int, stage: int | None) -> list[int]:
        """Void the open install commands of a run, or of one of its stages, for good; return their ids."""

    def unsent_count(self) -> int:
        """Return the number of unsent commands."""
