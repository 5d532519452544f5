"""Numbers that updated devices tell, beside those of devices that are held back: one sign test for each metric.

The rules this module keeps:

1. A pair is an updated device and one of its model and time that is held back. A device is in one pair at most, and
   who is paired with whom does not depend on what either tells. So if the build is no worse, the updated device of a
   pair is the worse one with a probability of one half at most (`controller.domain.gates.sign`).
2. A metric takes a step of its test with each pair of which both told it. Equal numbers say nothing.
3. Pairs count in the order in which they were made, each for good.

>>> metric = Metric(name="scan_ms")
>>> slower = Pair(updated={"scan_ms": 190.0}, control={"scan_ms": 120.0})
>>> known = counted({}, [slower] * 8, [metric])
>>> print(said(known["scan_ms"], alpha=0.01))
worse on 8 of 8 updated devices, each beside one held back; evidence 37 of 100
"""

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from controller.domain.gates import odds, sign
from controller.domain.gates.judgement import LOG_SHOWN_MAX, shown
from controller.domain.pipeline import Metric, Worse
from controller.domain.target import Measures


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """What an updated device told, and what told that of those held back with which it is compared."""

    updated: Measures
    control: Measures


class MetricBreach(msgspec.Struct, frozen=True, kw_only=True):
    """What was known of a metric when it stopped its stage, at a run time, and in words. Later pairs change it no more.

    Of `pairs` the updated device was the worse one in `worse`.
    """

    at: int
    pairs: int
    worse: int
    evidence: str


class MetricRun(msgspec.Struct, frozen=True, kw_only=True):
    """A metric at work: in how many of the `pairs` that told it the updated device was `worse`, and in how many equal.

    `accepted` is the number of worse ones over which a person resumed the run, `breach` the newest breach.
    """

    pairs: int = 0
    worse: int = 0
    equal: int = 0
    evidence: odds.Evidence = sign.START
    accepted: int = 0
    breach: MetricBreach | None = None


NOTHING_KNOWN: Final = MetricRun()


def counted(
    known: Mapping[str, MetricRun], pairs: Iterable[Pair], metrics: Iterable[Metric]
) -> Mapping[str, MetricRun]:
    """Return what is known of each metric after more pairs, in their order."""
    after = dict(known)
    rules = list(metrics)
    for pair in pairs:
        for metric in rules:
            if metric.name in pair.updated and metric.name in pair.control:
                after[metric.name] = _after(after.get(metric.name, NOTHING_KNOWN), pair, metric)
    return after


def _after(known: MetricRun, pair: Pair, metric: Metric) -> MetricRun:
    turn = 1 if metric.worse is Worse.HIGHER else -1
    updated, control = turn * pair.updated[metric.name], turn * pair.control[metric.name]
    return msgspec.structs.replace(
        known,
        pairs=known.pairs + 1,
        worse=known.worse + (updated > control),
        equal=known.equal + (updated == control),
        evidence=sign.after_pair(known.evidence, treated=updated, control=control),
    )


def is_breached(known: MetricRun, *, alpha: float) -> bool:
    """Say whether updated devices are the worse ones too often: there is evidence, and more of it than was accepted."""
    return known.worse > known.accepted and known.evidence.log >= odds.threshold(alpha)


def breached(known: MetricRun, *, alpha: float, now: int) -> MetricRun:
    """Return a metric that keeps what is known of it at a run time as its newest breach."""
    breach = MetricBreach(at=now, pairs=known.pairs, worse=known.worse, evidence=said(known, alpha=alpha))
    return msgspec.structs.replace(known, breach=breach)


def accepted(known: MetricRun) -> MetricRun:
    """Return a metric over which a person has gone on as it is."""
    return msgspec.structs.replace(known, accepted=known.worse)


@lru_cache(maxsize=256)
def pairs_min(alpha: float) -> int:
    """Return with how many pairs a metric stops its stage at the soonest, where the updated device is always worse.

    >>> pairs_min(0.01), pairs_min(0.0025)
    (10, 13)
    """
    evidence, count = sign.START, 0
    while evidence.log < odds.threshold(alpha):
        evidence, count = sign.after_pair(evidence, treated=1, control=0), count + 1
    return count


def value(known: MetricRun) -> float:
    """Return the evidence itself, as far as a number can."""
    return math.exp(min(known.evidence.log, LOG_SHOWN_MAX))


def said(known: MetricRun, *, alpha: float) -> str:
    """Return what is known of a metric, in words.

    >>> said(NOTHING_KNOWN, alpha=0.005), said(MetricRun(pairs=3, worse=1, equal=1), alpha=0.01).partition(",")[0]
    ('no device is compared yet', 'worse on 1 of 3 updated devices')
    """
    if not known.pairs:
        return "no device is compared yet"
    who = f"worse on {known.worse} of {known.pairs} updated devices"
    same = f", equal on {known.equal}" if known.equal else ""
    return f"{who}{same}, each beside one held back; evidence {shown(value(known))} of {shown(1 / alpha)}"
