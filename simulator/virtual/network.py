"""The network between devices and endpoint: how long messages take, which are lost, and who listens and lies."""

from collections import deque
from collections.abc import Callable
from typing import Final

from protocol.ids import Name
from protocol.topics import DownlinkKind, UplinkKind
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

DOUBLE_MS_MAX: Final = 60_000
RECORDINGS_MAX: Final = 64

Act = Callable[[], None]


class Network:
    """What the seed makes of messages; all connections share it."""

    def __init__(self, world: World) -> None:
        self.world: Final = world
        self.draws: Final = world.draws.network
        self._chance = world.chance("network")
        self._cut_until: dict[Name, int] = {}
        self._recorded_down: deque[tuple[DownlinkKind, bytes]] = deque(maxlen=RECORDINGS_MAX)
        self._recorded_up: deque[tuple[UplinkKind, bytes]] = deque(maxlen=RECORDINGS_MAX)

    # --- time ---------------------------------------------------------------------------------------------------

    def delay_ms(self) -> int:
        """Return how long the next message takes."""
        return int(self._chance.random() * 2 * self.draws.delay_ms)

    def within(self, span_ms_max: int, act: Act) -> None:
        """Let *act* happen some time in the next *span_ms_max*."""
        self.world.scheduler.after(int(self._chance.random() * span_ms_max), act)

    # --- faults -------------------------------------------------------------------------------------------------

    def loses(self) -> bool:
        """Say whether this message is lost, though its sender is told that it arrived."""
        return self._strikes(self.draws.loss, Sometimes.MESSAGE_LOST)

    def doubles(self) -> bool:
        """Say whether this message comes once more, later."""
        return self._strikes(self.draws.doubling, Sometimes.MESSAGE_DOUBLED)

    def delays(self) -> bool:
        """Say whether this message lets others overtake it."""
        return self._strikes(self.draws.late_share, Sometimes.MESSAGE_OVERTAKEN)

    def _strikes(self, rate: float, path: Sometimes) -> bool:
        if not self.world.strikes(rate, self._chance):
            return False
        self.world.sometimes(path)
        return True

    def cut_off(self, name: Name, *, until: int) -> None:
        """Let nothing of a device through until then."""
        self._cut_until[name] = until
        self.world.sometimes(Sometimes.PARTITIONED)

    def is_cut_off(self, name: Name) -> bool:
        """Say whether a device is cut off."""
        return not self.world.is_healed and self._cut_until.get(name, 0) > self.world.now

    # --- hostility ----------------------------------------------------------------------------------------------

    def overhear_down(self, kind: DownlinkKind, payload: bytes) -> tuple[DownlinkKind, bytes] | None:
        """Record a message to a device; return one that somebody forges on this occasion, if any."""
        if not self.draws.hostility:
            return None
        self._recorded_down.append((kind, payload))
        if not self.world.strikes(self.draws.hostility, self._chance):
            return None
        recorded_kind, recorded = self._chance.choice(self._recorded_down)
        return recorded_kind, self._garbled(recorded)

    def overhear_up(self, kind: UplinkKind, payload: bytes) -> tuple[UplinkKind, bytes] | None:
        """Record a message of a device; return one that somebody forges on this occasion, if any."""
        if not self.draws.hostility:
            return None
        self._recorded_up.append((kind, payload))
        if not self.world.strikes(self.draws.hostility, self._chance):
            return None
        recorded_kind, recorded = self._chance.choice(self._recorded_up)
        return recorded_kind, self._garbled(recorded)

    def _garbled(self, payload: bytes) -> bytes:
        """Return the bytes as they were recorded, or with one of them changed, or cut short."""
        place = self._chance.randrange(len(payload))
        match self._chance.randrange(3):
            case 0:
                return payload
            case 1:
                changed = payload[place] ^ (1 << self._chance.randrange(8))
                return payload[:place] + bytes([changed]) + payload[place + 1 :]
            case _:
                return payload[:place]
