"""One connection between a device and the endpoint.

The rules this module keeps:

1. Messages arrive in their order, but for those that the seed makes late: they overtake, and may even arrive over a
   later connection of the device, as they do from a broker that keeps sessions.
2. A lost message was acknowledged to its sender: only an acknowledgement by the other program proves anything.
3. Who listens hears lost messages, too, and may keep a message to a device for himself.
4. When a connection is cut both ends learn of it, each in its own time; until then what is sent is gone.
"""

from collections.abc import Callable
from typing import Final, Protocol

from controller.app.ports import Uplinked
from protocol.ids import Name
from protocol.topics import DownlinkKind, UplinkKind
from simulator.virtual.network import DOUBLE_MS_MAX, Network
from simulator.virtual.sometimes import Sometimes

NOTICE_MS_MAX: Final = 90_000
"""The longest that an end believes in a dead connection: one and a half keepalives."""
CLOSE_MS_MAX: Final = 100

Settled = Callable[[], None]


class DeviceEnd(Protocol):
    """What a connection asks of its device."""

    @property
    def connection(self) -> "Connection | None":
        """The connection that the device has now."""

    def came(self, kind: DownlinkKind, payload: bytes) -> None:
        """Take a message."""

    def lost(self, connection: "Connection") -> None:
        """Learn that a connection is gone."""


class EndpointEnd(Protocol):
    """What a connection asks of its endpoint."""

    def take(self, message: Uplinked, settled: Settled | None) -> None:
        """Take a message; *settled* is called once it is stored."""

    def left(self, connection: "Connection") -> None:
        """Learn that a connection is gone."""


class Connection:
    """A session of one device, from the endpoint's consent on."""

    __slots__ = ("_last_down", "_last_up", "_network", "_unsettled", "device", "endpoint", "is_whole", "name", "will")

    def __init__(self, network: Network, name: Name, *, device: DeviceEnd, endpoint: EndpointEnd, will: bytes) -> None:
        self.name = name
        self.device = device
        self.endpoint = endpoint
        self.will = will
        self.is_whole = True
        self._network = network
        self._unsettled = 0
        self._last_down = self._last_up = 0

    # --- to the device ------------------------------------------------------------------------------------------

    def down(self, kind: DownlinkKind, payload: bytes) -> bool:
        """Send a message; False, and nothing kept, where the window of unacknowledged ones is full."""
        if self._unsettled >= self._network.draws.window:
            self._network.world.sometimes(Sometimes.WINDOW_FULL)
            return False
        self._unsettled += 1
        self._last_down = self._arrival(self._last_down)
        self._network.world.scheduler.at(self._last_down, lambda: self._arrive_down(kind, payload))
        return True

    def _arrive_down(self, kind: DownlinkKind, payload: bytes) -> None:
        network = self._network
        if not self.is_whole:
            return
        self._unsettled -= 1
        forged = network.overhear_down(kind, payload)
        if forged is not None:
            network.at_any_time(lambda: self._hand_down(*forged))
            if network.intercepts():
                return
        if network.loses():
            return
        if network.delays():
            network.within(network.draws.late_ms, lambda: self._hand_down(kind, payload))
        else:
            self._hand_down(kind, payload)
        if network.doubles():
            network.within(DOUBLE_MS_MAX, lambda: self._hand_down(kind, payload))

    def _hand_down(self, kind: DownlinkKind, payload: bytes) -> None:
        current = self.device.connection
        if current is not None and current.is_whole:
            self.device.came(kind, payload)

    # --- to the endpoint ----------------------------------------------------------------------------------------

    def up(self, kind: UplinkKind, payload: bytes, settled: Settled | None = None) -> None:
        """Send a message; *settled* is called when it was acknowledged while the connection lasts."""
        message = Uplinked(name=self.name, kind=kind, payload=payload)
        self._last_up = self._arrival(self._last_up)
        self._network.world.scheduler.at(self._last_up, lambda: self._arrive_up(message, settled))

    def _arrive_up(self, message: Uplinked, settled: Settled | None) -> None:
        network = self._network
        if not self.is_whole:
            return
        forged = network.overhear_up(message.kind, message.payload)
        if forged is not None:
            lie = Uplinked(name=self.name, kind=forged[0], payload=forged[1])
            network.at_any_time(lambda: self._take_again(lie))
        answer = None if settled is None else self._answering(settled)
        if network.loses():
            if answer is not None:
                answer()
            return
        self.endpoint.take(message, answer)
        if network.doubles():
            network.within(DOUBLE_MS_MAX, lambda: self._take_again(message))

    def _take_again(self, message: Uplinked) -> None:
        if self.is_whole:
            self.endpoint.take(message, None)

    def _answering(self, settled: Settled) -> Settled:
        def answer() -> None:
            if self.is_whole:
                self._network.world.scheduler.after(self._network.delay_ms(), settled)

        return answer

    def _arrival(self, last: int) -> int:
        return max(last, self._network.world.now + self._network.delay_ms())

    # --- ends ---------------------------------------------------------------------------------------------------

    def cut(self, *, notice_ms_max: int = CLOSE_MS_MAX) -> None:
        """Break the connection; each end learns of it within *notice_ms_max*."""
        if self.is_whole:
            self.is_whole = False
            self._network.within(notice_ms_max, lambda: self.device.lost(self))
            self._network.within(notice_ms_max, lambda: self.endpoint.left(self))
