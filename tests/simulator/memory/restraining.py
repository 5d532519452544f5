"""What random programs call of admission: blocks of rows, sites, holds, pins and upgrade paths."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from controller.app.repositories import Transaction
from controller.domain.admission import BlockReason, Hold, Pin, UpgradePath
from protocol.units import Instant
from tests.controller.store.samples import at

Place = tuple[int, int, int, int]
SITES: Final = ("", "north", "south")


def block(tx: Transaction, run_id: int, reason: BlockReason, check: int | None, site: str) -> Any:
    """Block what is queued in the first stage of a run, its first row at a site of its own."""
    rows = tx.targets.page(run_id, stage=0, state=None, after=0, limit=9)
    queued = [row for row in rows if row.target.state == "queued"]
    check_at = None if check is None else at(check)
    tx.targets.save([msgspec.structs.replace(row, site=site) for row in queued[:1]])
    blocked = [
        msgspec.structs.replace(row, blocked=reason, block_text=f"for {reason}", check_at=check_at) for row in queued
    ]
    tx.targets.block(blocked)


def settle_at_site(tx: Transaction, run_id: int, site: str) -> Any:
    """Give rows at work a site."""
    tx.targets.save([msgspec.structs.replace(row, site=site) for row in tx.targets.in_flight(run_id)])


def unblock(tx: Transaction, numbers: list[int]) -> Any:
    return tx.targets.unblock(numbers)


def unblock_some(tx: Transaction, run_id: int, reason: BlockReason, when: int, limit: int) -> Any:
    tx.targets.unblock_reason(run_id, reason)
    tx.targets.unblock_checked(run_id, at(when), limit=limit)
    return tx.targets.next_check(run_id)


def unblock_site(tx: Transaction, run_id: int, stage: int, site: str) -> Any:
    tx.targets.unblock_site(run_id, stage, site)
    return tx.targets.at_site(run_id * 2 + stage - 1, SITES), tx.targets.blocked_counts(run_id)


def hold(tx: Transaction, number: int, until: int | None) -> Any:
    end = None if until is None else at(until)
    tx.restraints.hold(number, Hold(by="ann", reason="fair", at=Instant(1), until=end))


def unhold(tx: Transaction, number: int) -> Any:
    return tx.restraints.unhold(number)


def pin(tx: Transaction, number: int, app: str, versions: str) -> Any:
    tx.restraints.pin(number, Pin(app=app, versions=versions, by="ann", reason="audit"))


def unpin(tx: Transaction, number: int, app: str) -> Any:
    return tx.restraints.unpin(number, app)


def set_path(tx: Transaction, app: str, version: str, through: list[str] | None) -> Any:
    path = None if through is None else UpgradePath(reason="old format", through=tuple(through), by="ann")
    tx.restraints.set_path(app, version, path)


_run = st.sampled_from([1, 2, 3])
_number = st.integers(1, 6)
_reason = st.sampled_from(BlockReason)
_when = st.integers(0, 9)
_site = st.sampled_from(SITES)
_word = st.sampled_from(["shop", "a"])
_version = st.sampled_from(["1", "2"])

ARGUMENTS: Final[dict[Callable[..., Any], tuple[st.SearchStrategy[Any], ...]]] = {
    block: (_run, _reason, st.none() | _when, _site),
    settle_at_site: (_run, _site),
    unblock: (st.lists(_number, max_size=4),),
    unblock_some: (_run, _reason, _when, st.integers(0, 2)),
    unblock_site: (_run, st.integers(0, 1), _site),
    hold: (_number, st.none() | _when),
    unhold: (_number,),
    pin: (_number, _word, _version),
    unpin: (_number, _word),
    set_path: (_word, _version, st.none() | st.lists(_version, max_size=2)),
}


def dump(tx: Transaction) -> list[Any]:
    """Return everything that a store shows of admission."""
    runs = tx.runs.page(job=None, active=None, before=None, limit=99)
    ways = [(app, version) for app in ("shop", "a") for version in ("1", "2")]
    return [
        [(tx.targets.next_check(one.id), tx.targets.blocked_counts(one.id)) for one in runs],
        [tx.targets.at_site(stage_id, SITES) for one in runs for stage_id in one.stage_ids],
        tx.restraints.of(range(9)),
        [tx.restraints.path(*way) for way in ways],
    ]
