"""The devices of a stage in the order in which they began, in waves: what a proof that few enough fail looks at.

The rules this module keeps:

1. A device belongs to the wave that is the last one when it is first heard of, and stays there. So whoever is of a
   wave began no later than those of the next; which outcome it has says nothing about when it began.
2. A wave is left for the next one by how many have begun in all: ten in each of the first, then a tenth more each
   time, so that a million devices need about a hundred.
3. Of a prefix of the waves everybody counts as failed who is not known to be faultless: at work, silent, called back.

>>> waves = counted((), [(0, 1, 1)] * 9 + [(0, 1, 0)] * 3)
>>> waves, current(waves)
((Wave(begun=12, faultless=9),), 1)
"""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

import msgspec

from controller.domain.counters import Tally
from controller.domain.gates import mirror, odds
from controller.domain.gates.mirror import Prefix
from controller.domain.pipeline import Proof
from controller.domain.wording import are

SIZE_MIN: Final = 10
"""How many begin in a wave at least."""
_WAVES_MAX: Final = 200
_ENDS: Final = tuple(accumulate(range(_WAVES_MAX), lambda end, _: end + max(SIZE_MIN, end // 10), initial=0))[1:]
"""After how many devices each wave is left."""


class Wave(msgspec.Struct, frozen=True, array_like=True):
    """How many devices first began together, and how many of them succeeded and never failed."""

    begun: int = 0
    faultless: int = 0


Waves = tuple[Wave, ...]


def current(waves: Waves) -> int:
    """Return the wave of whoever begins now."""
    return max(len(waves) - 1, bisect_right(_ENDS, sum(wave.begun for wave in waves)))


def counted(waves: Waves, changes: Iterable[tuple[int | None, int, int]]) -> Waves:
    """Return *waves* after changes of devices: the wave of each, by how much it has begun, and is faultless.

    Devices of no wave count nowhere.
    """
    numbers = [[wave.begun, wave.faultless] for wave in waves]
    for wave, begun, faultless in changes:
        if wave is not None and (begun or faultless):
            numbers += [[0, 0] for _ in range(wave + 1 - len(numbers))]
            numbers[wave][0] += begun
            numbers[wave][1] += faultless
    assert all(0 <= faultless <= begun for begun, faultless in numbers), f"a wave has no such devices: {numbers}"
    return tuple(Wave(begun, faultless) for begun, faultless in numbers)


def safest(waves: Waves, *, below: float) -> Prefix:
    """Return the first waves that show the largest safety; none where none shows any."""
    sums = accumulate(
        waves, lambda sum_, wave: Wave(sum_.begun + wave.begun, sum_.faultless + wave.faultless), initial=Wave()
    )
    prefixes = (_prefix(sum_.begun, sum_.begun - sum_.faultless, below=below) for sum_ in sums)
    return max(prefixes, key=lambda prefix: prefix.log)


def shown(proof: Proof, waves: Waves, rest: Tally) -> Prefix:
    """Return what is the best evidence for a build: of the first waves, or of all that have begun and do count.

    *rest* are all devices but those of models that are quarantined, which the waves still have. How many of them
    succeeded though they had failed, or told of harm since, is not known: as many as can be.
    """
    whole = _prefix(rest.exposed, rest.exposed - max(0, rest.succeeded - rest.blamed), below=proof.below / 100)
    return max(safest(waves, below=proof.below / 100), whole, key=lambda prefix: prefix.log)


def is_proved(prefix: Prefix, proof: Proof) -> bool:
    """Say whether a prefix is evidence enough."""
    return prefix.log >= odds.threshold(proof.beta_percent / 100)


def said(prefix: Prefix, proof: Proof) -> str:
    """Return how far a proof has come, in words.

    >>> said(Prefix(counted=40, failed=1, log=0.2), Proof(below=5, beta_percent=5))
    '39 of the first 40 are well; passes at 130 with as many failures (fewer than 5 % fail, beta 5 %)'
    """
    needed = mirror.passes_after(prefix.failed, below=proof.below / 100, beta=proof.beta_percent / 100)
    count = prefix.counted - prefix.failed
    well = f"{count} of the first {prefix.counted} {are(count)} well"
    promise = f"fewer than {proof.below:g} % fail, beta {proof.beta_percent:g} %"
    return (
        f"{well}; proved ({promise})"
        if is_proved(prefix, proof)
        else (f"{well}; passes at {needed} with as many failures ({promise})")
    )


def _prefix(counted: int, failed: int, *, below: float) -> Prefix:
    return Prefix(counted=counted, failed=failed, log=mirror.log_safety(failed, counted, below=below))
