"""Size the next batch of a ramp: as large as what its devices have proved so far pays for.

The promise: for every failure rate, failures ever exceed `risk + above * exposed` with a probability of at most
`delta`. It holds under these rules:

1. Devices come in random order, each fails with the same probability, and that is the same in every round or falls
   from round to round. A rate that rises between rounds is promised nothing: an order that puts other devices first,
   a load that grows with the rollout, or malice.
2. A batch is exposed as a whole from the moment it is released, and the next one is sized when each of its devices
   has an outcome. One that has none by then counts as failed; that only makes the next batch smaller.
3. Nobody fails after that. A failure that comes later still counts against the limit, but its batch was paid for
   without it.

Why: for a rate p let M(p) be the mean over `TILTS` of the likelihood ratio of "the odds of a failure are t times those
of p" to "the rate is p". As every t is below one, M is a supermartingale for every rate from p up, so at the rate p its
expectation is one at most, whenever one looks. A batch goes out if for every p its chance to break the limit is at most
M(p) * delta / rounds. The expectation of that is delta / rounds a round, and delta over all rounds.

"For every p" is meant literally, rates below `above` too. In x = ln(p) the logarithm of the chance is concave: it is
the distribution function of the logarithm of a beta variable, which has a log-concave density (Prékopa 1973; Bagnoli
and Bergstrom 2005). ln(M) is convex in x, as a sum of exponentials of -n ln(1 - (1 - t) e^x). Their difference is
concave, so two tangents bound it on both sides of where they meet: no grid of rates, and nothing between its points.

The sources of evidence that pays for exposure: Ville (1939); Ramdas, Grünwald, Vovk and Shafer, Game-theoretic
statistics and safe anytime-valid inference (2023). What is spent on a ramp, of another kind: Zhao, Liu and Deb (2019),
arXiv 1905.10493; Li, Mao and Bojinov (2023), arXiv 2305.09626.

>>> next_batch(0, 0, left=100_000, risk=25, above=0.02, delta=0.01, rounds=15)
25
>>> next_batch(25, 0, left=99_975, risk=25, above=0.02, delta=0.01, rounds=15)
103
>>> next_batch(25, 20, left=99_975, risk=25, above=0.02, delta=0.01, rounds=15)
5
"""

from bisect import bisect_left
from math import ceil, copysign, exp, floor, log, log1p, sqrt
from operator import mul
from typing import Final, NamedTuple

from controller.domain.gates.tail import Tangent, log_chance

RISK_MIN: Final = 10
RISK_MAX: Final = 50
DEVICES_PER_FAILURE: Final = 400
"""A stage may cost one device in so many, within the two bounds above."""

TILTS: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7)
"""Odds ratios below one: by how much better than a rate the build may be, for evidence against that rate."""

PROBES_MAX: Final = 64
HIGHEST: Final = log1p(-1e-12)
"""The logarithm of the highest rate that is probed. A tangent bounds what lies between it and certain failure."""
ROUNDING: Final = 1e-9
"""Added before rounding down: 0.29 * 100 is 29."""


def risk_of(devices: int) -> int:
    """Return how many failures a stage of so many *devices* may cost: 0.25 percent of them, 10 at least, 50 at most.

    >>> [risk_of(devices) for devices in (100, 4_000, 10_000, 1_000_000)]
    [10, 10, 25, 50]
    """
    return min(max(RISK_MIN, devices // DEVICES_PER_FAILURE), RISK_MAX)


def next_batch(
    exposed: int, failed: int, *, left: int, risk: int, above: float, delta: float, rounds: int, spent: int = 0
) -> int:
    """Return how many devices may be exposed next: the largest batch that, like every smaller one, keeps the promise.

    Args:
        exposed: devices that were exposed so far.
        failed: those of them that failed or have no outcome, 0 to *exposed*.
        left: devices that were not exposed yet.
        risk: failures that are put up with whatever the rate is, 0 or more.
        above: the share of failures that is put up with besides, 0 or more and below 1.
        delta: the probability with which the promise may be broken, above 0 and below 1.
        rounds: over how many batches *delta* is spread; the same number every time.
        spent: how many batches there were. Whoever does not say it counts them, and asks no more after the last.

    Returns:
        A number from 0 to *left*. Zero while devices are left means HOLD: the risk is spent, and a person decides.

    Raises:
        AssertionError: if an argument is outside its range.
    """
    assert 0 <= failed <= exposed, f"{failed} failures of {exposed} exposed devices"
    assert 0 <= above < 1, f"a share to put up with is from 0 to below 1, not {above}"
    assert 0 < delta < 1, f"a probability of a broken promise is above 0 and below 1, not {delta}"
    stand = Stand(exposed=exposed, failed=failed, risk=risk, above=above)
    if spent >= rounds or left <= 0 or stand.breaking(0) <= 0:
        return 0
    return _largest(stand, left=left, price=log(delta / rounds))


class Stand(NamedTuple):
    """Where a ramp stands once every device of its batches has an outcome: counts of devices, and what is allowed."""

    exposed: int
    failed: int
    risk: int
    above: float

    def breaking(self, batch: int) -> int:
        """Return how many failures in a next *batch* of that size break the limit."""
        return self.risk + floor(self.above * (self.exposed + batch) + ROUNDING) - self.failed + 1

    def end(self, breaking: int) -> float:
        """Return where batches end that so many failures break, between two numbers; they do if `above` is not 0."""
        return (breaking + self.failed - self.risk - ROUNDING) / self.above - self.exposed

    def most(self, breaking: int) -> int:
        """Return the largest batch that so many failures break."""
        return ceil(self.end(breaking)) - 1


def _largest(stand: Stand, *, left: int, price: float) -> int:
    """Return the largest batch, up to *left*, up to which all are safe.

    While as many failures break it, a larger batch is a greater risk; where one failure more is put up with, the risk
    falls a little. So first those numbers of failures are sought of which the largest batch is safe. For that a batch
    may have a part of a device: whole ones end now nearer to the limit, now less near, and their risk does not simply
    rise.
    """

    def is_unsafe(batch: int) -> bool:
        return not is_safe(stand, batch, price=price)

    def is_risky(breaking: int) -> bool:
        return not _is_paid(stand, stand.end(breaking), breaking, price=price)

    steps = range(stand.breaking(0), stand.breaking(left))
    is_free = bool(steps) and not is_risky(steps[-1])
    safe = len(steps) if is_free else bisect_left(steps, True, key=is_risky)
    while safe < len(steps) and not is_unsafe(stand.most(steps[safe])):
        safe += 1
    low = stand.most(steps[safe - 1]) if safe else 0
    high = stand.most(steps[safe]) if safe < len(steps) else left
    return low + bisect_left(range(low + 1, high + 1), True, key=is_unsafe)


def is_safe(stand: Stand, batch: int, *, price: float) -> bool:
    """Say whether a *batch* is paid for at every failure rate; if that cannot be shown, it is not.

    Args:
        stand: where the ramp stands.
        batch: how many devices are to be exposed.
        price: the logarithm of the probability that one batch may break the limit with.
    """
    return _is_paid(stand, batch, stand.breaking(batch), price=price)


def _is_paid(stand: Stand, batch: float, breaking: int, *, price: float) -> bool:
    if batch < breaking:
        return True
    failed = stand.failed + breaking
    step = 1 / sqrt(failed)
    at = min(log(failed / (stand.exposed + batch)) + step / 2, HIGHEST)
    rising = falling = None
    for _ in range(PROBES_MAX):
        probe = _probe(stand, batch, breaking, at)
        if probe.value > price:
            return False
        rising, falling = (probe, falling) if probe.slope > 0 else (rising, probe)
        if rising and rising.at(rising.meets(falling) if falling else 0) <= price:
            return True
        at = rising.meets(falling) if rising and falling else min(at + copysign(step, probe.slope), HIGHEST)
        step *= 2
    return False


def _probe(stand: Stand, batch: float, breaking: int, x: float) -> Tangent:
    """Return the chance that a batch breaks the limit over the evidence, both as logarithms, at the rate e^x."""
    chance, evidence = log_chance(batch, breaking, x), log_evidence(stand.exposed, stand.failed, x)
    return Tangent(x=x, value=chance.value - evidence.value, slope=chance.slope - evidence.slope)


def log_evidence(exposed: int, failed: int, x: float) -> Tangent:
    """Return ln(M), the evidence that devices fail less often than at the rate e^x, as it grows with *x*."""
    rate = exp(x)
    better = [tilt for tilt in TILTS if tilt or not failed]
    logs = [(failed and failed * log(tilt)) - exposed * log1p((tilt - 1) * rate) for tilt in better]
    top = max(logs)
    weights = [exp(each - top) for each in logs]
    slopes = [(1 - tilt) * rate / (1 + (tilt - 1) * rate) for tilt in better]
    slope = exposed * sum(map(mul, weights, slopes)) / sum(weights)
    return Tangent(x=x, value=top + log(sum(weights) / len(TILTS)), slope=slope)
