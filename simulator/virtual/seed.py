"""One seed: a world is made, broken for a while, healed, and must then come to its end.

First safety: faults strike and operators act, and no law may be broken. Then liveness: everything heals, and within
a bounded time every run has ended, every report is settled, and the devices are what the database says they are.
"""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

import msgspec

from controller.app.ports import Priority
from controller.app.repositories import Store, Transaction
from protocol.ids import AppName, digest_of
from protocol.units import MINUTE, SECOND
from simulator.virtual.beginning import APP, identity, prepare, trusts
from simulator.virtual.device import Device
from simulator.virtual.draws import Draws, draw
from simulator.virtual.keys import Keys
from simulator.virtual.logs import gathered
from simulator.virtual.nemesis import Nemesis
from simulator.virtual.network import Network
from simulator.virtual.operator import Operator
from simulator.virtual.oracle import Oracle
from simulator.virtual.picture import Picture
from simulator.virtual.server import Server
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

T = TypeVar("T")

EVENTS_MAX: Final = 400_000
HEALING_MS_MAX: Final = 90 * MINUTE
QUIET_MS: Final = 12 * MINUTE
CHECK_MS: Final = 20 * SECOND


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a seed; the same seed has the same outcome wherever it runs. `fingerprint` is of all commits."""

    seed: int
    violations: tuple[str, ...]
    counts: dict[str, int]
    events: int
    virtual_ms: int
    timeline: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Say whether no law was broken."""
        return not self.violations
