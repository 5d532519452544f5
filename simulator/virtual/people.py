"""What a seed draws of people: how often they act, and which acts they prefer."""

import random
from typing import Final

import msgspec

from protocol.units import MINUTE, SECOND

ACTS: Final = ("start", "pause", "resume", "terminate", "promote", "edit", "label", "group", "block", "look")


class OperatorDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Mean time between two acts in milliseconds, and how likely each act is beside the others.

    `stop_gap_ms` is the mean time until everything is stopped, and until that is lifted again; `decide_gap_ms` that
    between two decisions about a stage or a device that a run would wait for; `freeze_gap_ms` that between two freezes;
    `rerun_gap_ms` that between two runs over an earlier one. 0 is never.
    """

    gap_ms: int
    weights: dict[str, int]
    stop_gap_ms: int = 0
    decide_gap_ms: int = 0
    freeze_gap_ms: int = 0
    rerun_gap_ms: int = 0


class ConsentDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Mean times between withdrawals, approvals, and changes that let devices join, in milliseconds; 0 is never."""

    withdraw_gap_ms: int = 0
    approve_gap_ms: int = 0
    relabel_gap_ms: int = 0


class PathsDraw(msgspec.Struct, frozen=True, kw_only=True):
    """The mean time between two orders about an upgrade path in milliseconds, 0 for none."""

    gap_ms: int = 0


class RemovalsDraw(msgspec.Struct, frozen=True, kw_only=True):
    """The mean time between two removals in milliseconds, 0 for none; which shares come back, and as new hardware."""

    gap_ms: int = 0
    returns: float = 0.0
    replaced: float = 0.0


class KeysDraw(msgspec.Struct, frozen=True, kw_only=True):
    """The share of requests that clients name by keys, and send again."""

    share: float = 0.0


def draw_operator(chance: random.Random) -> OperatorDraw:
    """Return who acts; what is rarer is drawn by itself."""
    weights = {act: chance.choice((0, 1, 1, 3)) for act in ACTS}
    return OperatorDraw(
        gap_ms=int(chance.choice((5, 20, 60)) * SECOND),
        weights={**weights, "start": 3, "promote": 3, "resume": max(1, weights["pause"])},
    )


def draw_consent(chance: random.Random) -> ConsentDraw:
    """Return who withdraws releases, approves stages, and changes what stages ask about."""
    return ConsentDraw(
        withdraw_gap_ms=chance.choice((0, 0, 0, 2 * MINUTE)),
        approve_gap_ms=chance.choice((5 * SECOND, 20 * SECOND)),
        relabel_gap_ms=chance.choice((5 * SECOND, 20 * SECOND)),
    )


def draw_paths(chance: random.Random) -> PathsDraw:
    """Return who says from which versions a release may be installed."""
    return PathsDraw(gap_ms=0 if chance.randrange(6) else chance.choice((10 * SECOND, 40 * SECOND)))


def draw_keys(chance: random.Random) -> KeysDraw:
    """Return whether clients name their requests: in one of five worlds."""
    return KeysDraw(share=0.0 if chance.randrange(5) else chance.choice((0.3, 0.9)))


def draw_removals(chance: random.Random) -> RemovalsDraw:
    """Return whether devices are taken out of the fleet: in one of six worlds."""
    if chance.randrange(6):
        return RemovalsDraw()
    return RemovalsDraw(
        gap_ms=chance.choice((20 * SECOND, MINUTE)),
        returns=chance.choice((0.5, 0.9)),
        replaced=chance.choice((0.0, 0.5)),
    )
