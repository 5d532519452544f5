"""What a gate promises and how soon it stops, beside the rules of others on the same footing.

>>> ours, *others = compare(rules(above=0.02, alpha=0.01, devices=500), above=0.02, rates=(0.05,), devices=500)
>>> ours.rule, ours.false_stop < 0.01, ours.fates[0].median
('this gate', True, 336)
>>> [(one.rule, one.median, one.median_of_ours) for one in faster(ours, others, above=0.02)]
[('hawkBit 5%', 70, 336), ('AWS 5% of 50', 54, 336)]
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import msgspec

from controller.domain.gates import peers
from controller.domain.gates.exact import Boundary, run
from controller.domain.gates.odds import ladder

GROUPS: Final = 10
"""Into how many groups hawkBit is told to divide the devices."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that stops a rollout; where it works in groups, it counts anew in each."""

    name: str
    boundary: Boundary
    group: int | None = None


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of builds of one true rate of failures, a share."""

    rate: float
    stopped: float
    """The probability that such a build is ever stopped."""
    median: int | None
    """Within how many devices half of such builds are stopped; None where fewer than half ever are."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """How one rule does."""

    rule: str
    false_stop: float
    """The probability that a build is ever stopped that is just as good as this gate tolerates."""
    fates: tuple[Fate, ...]


class Faster(msgspec.Struct, frozen=True, kw_only=True):
    """Where another rule stops sooner than this gate, and what that costs."""

    rule: str
    rate: float
    median: int
    median_of_ours: int | None
    false_stop: float


def rules(*, above: float, alpha: float, devices: int) -> tuple[Rule, ...]:
    """Return this gate, and then rules of others: as shipped, and as one who knows the rate might tune them.

    Args:
        above: the share of failures that this gate tolerates, above 0 and below 1.
        alpha: the probability of a false stop, above 0 and below 1.
        devices: how many devices the rollout has, 1 or more.
    """
    rungs, group = ladder(devices, above=above, alpha=alpha), -(-devices // GROUPS)
    return (
        Rule(name="this gate", boundary=lambda started: bisect_left(rungs, started)),
        Rule(name="hawkBit 10%", boundary=peers.hawkbit(10, group=group), group=group),
        Rule(name="hawkBit 5%", boundary=peers.hawkbit(5, group=group), group=group),
        Rule(name="AWS 10% of 100", boundary=peers.aws(10, minimum=100)),
        Rule(name="AWS 5% of 50", boundary=peers.aws(5, minimum=50)),
        Rule(name="AWS 3% of 500", boundary=peers.aws(3, minimum=500)),
    )


def compare(rules: Sequence[Rule], *, above: float, rates: Sequence[float], devices: int) -> tuple[Row, ...]:
    """Return how each rule does with builds of each true rate, exactly.

    Args:
        rules: the rules.
        above: the share of failures at which a stop is still a false one.
        rates: the true rates of failures, shares from 0 to 1.
        devices: how many devices the rollout has, 1 or more.
    """
    return tuple(_row(rule, above=above, rates=rates, devices=devices) for rule in rules)


def faster(ours: Row, others: Sequence[Row], *, above: float) -> tuple[Faster, ...]:
    """Return of each rule that somewhere stops half of bad builds sooner: where it gains most, and at what price."""
    found = (_gains(ours, other, above=above) for other in others)
    return tuple(max(gains, key=_gain) for gains in found if gains)


def _row(rule: Rule, *, above: float, rates: Sequence[float], devices: int) -> Row:
    def fate(rate: float) -> Fate:
        crossing = run(rule.boundary, rate=rate, devices=devices, restart_every=rule.group)
        return Fate(rate=rate, stopped=crossing.stopped, median=crossing.median)

    fates = {rate: fate(rate) for rate in {above, *rates}}
    return Row(rule=rule.name, false_stop=fates[above].stopped, fates=tuple(fates[rate] for rate in rates))


def _gains(ours: Row, other: Row, *, above: float) -> list[Faster]:
    return [
        Faster(
            rule=other.rule,
            rate=theirs.rate,
            median=theirs.median,
            median_of_ours=own.median,
            false_stop=other.false_stop,
        )
        for own, theirs in zip(ours.fates, other.fates, strict=True)
        if theirs.rate > above and theirs.median and (own.median is None or theirs.median < own.median)
    ]


def _gain(found: Faster) -> float:
    return 1.0 if found.median_of_ours is None else 1 - found.median / found.median_of_ours
