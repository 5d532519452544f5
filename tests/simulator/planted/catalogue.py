"""All planted bugs, in the order in which they are shown.

Some bugs were planted and taken out again, since nothing came of them that anybody could see:

- fences that a restart forgets: what they would hold back was made void, or is closed before it is sent again;
- an agent that obeys old epochs: such a command has an old sequence number, too;
- an agent that takes an old permit for a new one: the work in hand still has the old epoch, and waits;
- an audit entry that is hashed without its reason: the reader of the chain makes the same mistake.
"""

from typing import Final

from tests.simulator.planted import (
    admission,
    agents,
    checks,
    clocks,
    consent,
    control,
    gates,
    health,
    intake,
    metrics,
    pacing,
    presence,
    quarantine,
    removals,
    repeats,
    reruns,
    rollout,
    sending,
    shapes,
    silence,
)
from tests.simulator.planted.planted import Planted

_MODULES: Final = (
    *(
        sending,
        rollout,
        gates,
        health,
        control,
        metrics,
        silence,
        checks,
        quarantine,
        reruns,
        admission,
        consent,
        shapes,
    ),
    *(clocks, pacing, intake, repeats, removals, presence, agents),
)

PLANTED: Final[tuple[Planted, ...]] = tuple(
    bug for module in _MODULES for bug in vars(module).values() if isinstance(bug, Planted)
)
