"""The journal of a simulated device: it may be full, and the agent may die of writing to it."""

from collections.abc import Callable, Sequence

from agent.core.model import Durable
from agent.errors import StorageFull
from agent.journal import MemoryJournal, Row
from simulator.virtual.ports import Killed
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World


class MortalJournal(MemoryJournal):
    """A journal that may be full, and at whose commits the agent may die."""

    __slots__ = ("_chance", "_dropped", "_world")

    def __init__(self, world: World, name: str, *, dropped: Callable[[str, Sequence[int]], None]) -> None:
        """Take whom to tell, by incarnation and numbers, which reports are gone for good."""
        super().__init__()
        self._dropped = dropped
        self._world = world
        self._chance = world.chance(f"{name}/journal")

    def begin_with(self, durable: Durable) -> None:
        """Hold what an agent has kept in times before the world, in which nothing fails."""
        super().commit(durable)

    def commit(self, durable: Durable, *, add: Sequence[Row] = (), drop: Sequence[int] = ()) -> None:
        """Store the state, or fail, or die before or after."""
        world, draws = self._world, self._world.draws.device
        if world.strikes(draws.disk_full, self._chance):
            world.sometimes(Sometimes.AGENT_DISK_FULL)
            raise StorageFull("drawn")
        if world.strikes(draws.kill_at_commit, self._chance):
            world.sometimes(Sometimes.AGENT_KILLED_BEFORE_JOURNAL)
            raise Killed
        super().commit(durable, add=add, drop=drop)
        if drop:
            self._dropped(durable.incarnation, drop)
        if world.strikes(draws.kill_at_commit, self._chance):
            world.sometimes(Sometimes.AGENT_KILLED_AFTER_JOURNAL)
            raise Killed
