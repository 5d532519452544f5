"""Whether the silence of some devices says something of the build, or of the way to all of them.

Nobody is blamed without evidence that we would have heard. So before any silent device counts, others are looked at
that the run has not reached: they have the old version, and what ails them is not the build.

>>> gone = Bystander(is_online=False, last_seen_at=Instant(70))
>>> here = Bystander(is_online=True, last_seen_at=Instant(95))
>>> facts = weighed([gone, gone, here], silent=4, since=Instant(60), heard_since=Instant(80))
>>> is_blind(facts), said(facts)
(True, '4 devices fell silent after their updates, and 2 of 3 others went offline as well')
"""

from collections.abc import Iterable

import msgspec

from controller.domain.why.fact import span
from protocol.units import Instant


class Bystander(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A device of the fleet: whether it is connected, when it was last heard of, and whether the run has reached it."""

    is_online: bool
    last_seen_at: Instant | None
    is_reached: bool = False


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known when devices fall silent: how many, and how others fare.

    `heard` are all devices that are connected and were heard of lately. Of those that the run has not reached, `here`
    are among these, and `lost` were heard of until about the time at which the first of the silent ones was.
    """

    silent: int
    heard: int
    here: int
    lost: int


def weighed(bystanders: Iterable[Bystander], *, silent: int, since: Instant, heard_since: Instant) -> Facts:
    """Return the facts of *silent* devices, gone since *since*; to be heard is to be so after *heard_since*."""
    heard = here = lost = 0
    for bystander in bystanders:
        if bystander.last_seen_at is None:
            continue
        is_heard = bystander.is_online and bystander.last_seen_at > heard_since
        heard += is_heard
        here += is_heard and not bystander.is_reached
        lost += not is_heard and not bystander.is_reached and bystander.last_seen_at >= since
    return Facts(silent=silent, heard=heard, here=here, lost=lost)


def is_blind(facts: Facts) -> bool:
    """Say whether the silence says nothing of the build: nobody is heard, or most of the others are gone as well."""
    return facts.heard == 0 or facts.lost > facts.here


def counted(silent: int, silent_after_ms: int) -> str:
    """Return in words that so many devices count as failed.

    >>> counted(1, 1_800_000), counted(3, 7_200_000)
    ('1 device was offline for 30 min: counted as failed', '3 devices were offline for 2 h: counted as failed')
    """
    words = "device was" if silent == 1 else "devices were"
    return f"{silent} {words} offline for {span(silent_after_ms)}: counted as failed"


def said(facts: Facts) -> str:
    """Return the facts in words."""
    words = "device fell silent after its update" if facts.silent == 1 else "devices fell silent after their updates"
    silent = f"{facts.silent} {words}"
    if facts.heard == 0:
        return f"{silent}, and no other device is heard of"
    return f"{silent}, and {facts.lost} of {facts.lost + facts.here} others went offline as well"
