"""The network between devices and endpoint: how long messages take, which are lost, and who listens and lies."""

from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from protocol.codec import encode
from protocol.envelope import parse
from protocol.errors import MalformedMessage
from protocol.ids import Name
from protocol.topics import DownlinkKind, UplinkKind
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

DOUBLE_MS_MAX: Final = 60_000
SOON_MS_MAX: Final = 1_000
RECORDINGS_MAX: Final = 64
NEWEST_MAX: Final = 3
_DIGITS: Final = b"123456789"

Act = Callable[[], None]
K = TypeVar("K", DownlinkKind, UplinkKind)


class Network:
    """What the seed makes of messages; all connections share it."""

    def __init__(self, world: World) -> None:
        self.world: Final = world
        self.draws: Final = world.draws.network
        self._chance = world.chance("network")
        self._cut_until: dict[Name, int] = {}
        self._recorded_down: dict[DownlinkKind, deque[bytes]] = {}
        self._recorded_up: dict[UplinkKind, deque[bytes]] = {}

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
        return self._forged(self._recorded_down, kind, payload)

    def overhear_up(self, kind: UplinkKind, payload: bytes) -> tuple[UplinkKind, bytes] | None:
        """Record a message of a device; return one that somebody forges on this occasion, if any."""
        if not self.draws.hostility:
            return None
        return self._forged(self._recorded_up, kind, payload)

    def _forged(self, recorded: dict[K, deque[bytes]], kind: K, payload: bytes) -> tuple[K, bytes] | None:
        """Record a message; return what somebody makes of a recording of some kind, now and then."""
        recorded.setdefault(kind, deque(maxlen=RECORDINGS_MAX)).append(payload)
        if not self.world.strikes(self.draws.hostility, self._chance):
            return None
        chosen = kind if self._chance.randrange(2) else self._chance.choice(list(recorded))
        return chosen, self._garbled(self._any_of(recorded[chosen]))

    def intercepts(self) -> bool:
        """Say whether a liar who has just forged a message also keeps the one that was overheard."""
        return bool(self._chance.randrange(2))

    def _any_of(self, recorded: deque[bytes]) -> bytes:
        """Return one of all recordings, or of the newest, which are still good."""
        count = min(len(recorded), self._chance.choice((NEWEST_MAX, RECORDINGS_MAX)))
        return recorded[-1 - self._chance.randrange(count)]

    def at_any_time(self, act: Act) -> None:
        """Let *act* of a liar happen, soon or late."""
        self.within(self._chance.choice((SOON_MS_MAX, DOUBLE_MS_MAX)), act)

    def _garbled(self, payload: bytes) -> bytes:
        """Return the bytes as they were recorded, with one of them changed, cut short, or with another content."""
        place = self._chance.randrange(len(payload))
        match self._chance.randrange(6):
            case 0 | 1:
                return payload
            case 2:
                changed = payload[place] ^ (1 << self._chance.randrange(8))
                return payload[:place] + bytes([changed]) + payload[place + 1 :]
            case 3:
                return payload[:place]
            case _:
                return self._altered(payload)

    def _altered(self, payload: bytes) -> bytes:
        """Return an envelope with one digit of its content changed, and the signature as it was."""
        try:
            envelope = parse(payload)
        except MalformedMessage:
            return payload
        place = self._chance.choice([place for place, byte in enumerate(envelope.payload) if byte in _DIGITS])
        changed = envelope.payload[:place] + bytes([self._chance.choice(_DIGITS)]) + envelope.payload[place + 1 :]
        return encode(msgspec.structs.replace(envelope, payload=changed))
