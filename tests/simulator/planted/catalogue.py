"""All planted bugs, in the order in which they are shown."""

from typing import Final

from tests.simulator.planted import agents, intake, rollout, sending
from tests.simulator.planted.planted import Planted

PLANTED: Final[tuple[Planted, ...]] = tuple(
    bug for module in (sending, rollout, intake, agents) for bug in vars(module).values() if isinstance(bug, Planted)
)
