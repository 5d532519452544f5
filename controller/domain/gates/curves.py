"""What a gate and a ramp do, as curves to be looked at: computed, not sampled, from the rules that are in force.

Where a curve follows one rollout, its failures are spread evenly: of n devices n times the rate have failed, rounded.

>>> [curve.end for curve in evidence(above=0.02, alpha=0.01, rates=(0.01, 0.3), devices=100)]
['goes on', 'stopped on failure 3 of 9']
>>> [curve.points[-1] for curve in ramps((0.0, 0.05), Ramped(devices=1_000, risk=10, above=0.02, alpha=0.01))]
[(6, 1000.0), (15, 217.0)]
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import exp, floor
from typing import Final

import msgspec

from controller.domain.gates import comparison, odds
from controller.domain.gates.ramp import next_batch

STRIDE: Final = 10
"""Between two failures evidence falls so evenly that a point for every tenth device will do."""
BESIDE: Final = ("hawkBit 10%", "AWS 10% of 100")
"""The rules of others beside which the gate is drawn: those that come with the product, or are most often shown."""

Point = tuple[float, float]


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Points from left to right, of what, and how the last one came about."""

    name: str
    points: tuple[Point, ...]
    end: str = ""


class Ramped(msgspec.Struct, frozen=True, kw_only=True):
    """A stage with a ramp and a gate: `above`, `alpha` and `delta` are shares from 0 to 1, the others counts."""

    devices: int
    risk: int
    above: float
    alpha: float
    delta: float = 0.01
    rounds: int = 15


def evidence(*, above: float, alpha: float, rates: Sequence[float], devices: int) -> tuple[Curve, ...]:
    """Return for each true rate the evidence by the number of devices that have begun, up to the stop.

    Args:
        above: the share of failures that is tolerated, above 0 and below 1.
        alpha: the probability of a false stop, above 0 and below 1.
        rates: true rates of failures, shares from 0 to 1.
        devices: how many devices are followed, 1 or more.
    """
    return tuple(_weighed(rate, above=above, alpha=alpha, devices=devices) for rate in rates)


def _weighed(rate: float, *, above: float, alpha: float, devices: int) -> Curve:
    goal, points = odds.threshold(alpha), [(0.0, 1.0)]
    for begun in range(1, devices + 1):
        failed = _failed(rate, begun)
        weight = odds.log_evidence(failed, begun, above=above)
        is_turn = _failed(rate, begun - 1) != failed or _failed(rate, begun + 1) != failed
        if is_turn or begun % STRIDE == 0 or begun == devices:
            points.append((begun, exp(weight)))
        if weight >= goal:
            end = f"stopped on failure {failed} of {begun}"
            return Curve(name=_percent(rate), points=tuple(points), end=end)
    return Curve(name=_percent(rate), points=tuple(points), end="goes on")


def ramps(rates: Sequence[float], ramped: Ramped) -> tuple[Curve, ...]:
    """Return for each true rate, a share, how many devices are exposed by the number of the round."""
    return tuple(_ramp(rate, ramped) for rate in rates)


def _ramp(rate: float, ramped: Ramped) -> Curve:
    batches = list(_batches(rate, ramped))
    exposed = sum(batches)
    points = tuple((spent, float(reached)) for spent, reached in enumerate(accumulate(batches), start=1))
    if _is_stopped(rate, exposed, ramped):
        end = "the gate stops it"
    else:
        end = "all have it" if exposed == ramped.devices else "the ramp holds"
    return Curve(name=_percent(rate), points=points, end=end)


def _batches(rate: float, ramped: Ramped) -> Iterator[int]:
    """Yield how many devices each round exposes, up to the last one that is paid for and that the gate lets go."""
    exposed = 0
    for spent in range(ramped.rounds):
        batch = next_batch(
            exposed,
            _failed(rate, exposed),
            left=ramped.devices - exposed,
            risk=ramped.risk,
            above=ramped.above,
            delta=ramped.delta,
            rounds=ramped.rounds,
            spent=spent,
        )
        if not batch or _is_stopped(rate, exposed, ramped):
            return
        exposed += batch
        yield batch


def _is_stopped(rate: float, exposed: int, ramped: Ramped) -> bool:
    return odds.log_evidence(_failed(rate, exposed), exposed, above=ramped.above) >= odds.threshold(ramped.alpha)


def stops(*, above: float, alpha: float, rates: Sequence[float], devices: int) -> tuple[Curve, ...]:
    """Return for this gate and two others how many devices a build reaches until it is stopped, by its true rate.

    It is the median, computed exactly; all *devices* where fewer than half of such builds are ever stopped.

    Args:
        above: the share of failures that this gate tolerates, above 0 and below 1.
        alpha: the probability of a false stop, above 0 and below 1.
        rates: true rates of failures, shares above 0 and up to 1.
        devices: how many devices the rollout has, 1 or more.
    """
    ours, *others = comparison.rules(above=above, alpha=alpha, devices=devices)
    shown = [ours, *(rule for rule in others if rule.name in BESIDE)]
    rows = comparison.compare(shown, above=above, rates=rates, devices=devices)
    return tuple(
        Curve(name=row.rule, points=tuple((fate.rate, float(fate.median or devices)) for fate in row.fates))
        for row in rows
    )


def _failed(rate: float, devices: int) -> int:
    return floor(rate * devices + 0.5)


def _percent(rate: float) -> str:
    """Return a share in percent.

    >>> _percent(0.05), _percent(0.005)
    ('5%', '0.5%')
    """
    return f"{100 * rate:.3g}%"
