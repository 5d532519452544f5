"""The course of a stage: what its gate saw, as far as another gate could have stopped on it.

A gate is nearer to its stop only where one more device has failed, or where a share that it limits is of fewer devices.
These *turning points* are kept, with the whole tally of each; what lies between them stops no gate that did not stop
before. They are as many as there are failures, and not as there are devices. The record of a stage begins with its
membership, so that one sees where it begins later: the controller that began the run kept none.

>>> is_turn(Tally(failed=1, started=8, exposed=8, blamed=1), Tally(failed=1, started=9, exposed=9, blamed=1))
False
>>> is_turn(Tally(failed=1, started=8, exposed=8, blamed=1), Tally(failed=2, started=9, exposed=9, blamed=2))
True
"""

from collections.abc import Sequence

import msgspec

from controller.domain.counters import Tally
from controller.domain.gates.judgement import Excepted
from controller.domain.pipeline import Denominator


class Moment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a gate saw at one look, at run time `at`; an operator had `accepted` so many failures by then.

    Its test left out the quarantined devices: `out_exposed`, of which `out_blamed` had failed, and `out_accepted` of
    these failures were accepted. It had the part `share` of the stage's alpha.
    """

    at: int
    accepted: int
    tally: Tally
    out_exposed: int = 0
    out_blamed: int = 0
    out_accepted: int = 0
    share: float = 1.0

    @property
    def excepted(self) -> Excepted:
        """Whom the test left out, as far as it asks about them."""
        out = Tally(exposed=self.out_exposed, blamed=self.out_blamed)
        return Excepted(tallies=(out,) if self.out_exposed else (), accepted=self.out_accepted, share=self.share)


def seen(tally: Tally, excepted: Excepted, *, at: int, accepted: int) -> Moment:
    """Return the moment at which a gate looks at *tally*."""
    return Moment(
        at=at,
        accepted=accepted,
        tally=tally,
        out_exposed=excepted.exposed,
        out_blamed=excepted.blamed,
        out_accepted=excepted.accepted,
        share=excepted.share,
    )


def is_turn(before: Tally, now: Tally) -> bool:
    """Say whether a gate may stop on *now* that did not stop on *before*, the look that went before it."""
    if not now.blamed:
        return False
    return now.blamed > before.blamed or any(now.of(share) < before.of(share) for share in Denominator)


def is_beginning(before: Tally, now: Tally) -> bool:
    """Say whether devices belong to a stage for the first time."""
    return before.targets == 0 < now.targets


def unseen(moments: Sequence[Moment], now: Tally) -> int:
    """Return how many failures of a stage, which stands at *now*, came before the record of it begins; at most.

    Before the first turning point is one failure less than at it, unless a transaction brought more than one.

    >>> moment = Moment(at=9, accepted=0, tally=Tally(failed=3, started=8, exposed=8, blamed=3))
    >>> unseen([moment], moment.tally), unseen([], moment.tally), unseen([], Tally(queued=8))
    (2, 3, 0)
    """
    return max(0, moments[0].tally.blamed - 1) if moments else now.blamed
