"""One connection to the broker: a paho client on asyncio, from its birth to its end.

The rules this module keeps:

1. A connection has a client object of its own. What it did not send dies with it, and acknowledgements reach only the
   connection that their message came by: message ids are used again by the next (paho 2.2.0).
2. Only `reconnect`, which looks up, connects and shakes hands, runs in a thread, since it blocks. All else is called
   by the event loop when the socket is ready. paho's own loop uses `select`, which dies silently at 1,024 descriptors.
3. Whatever paho or a callback raises ends the connection: left alone it would be dead and claim to be connected.
4. paho queues nothing: what does not fit the window is refused. Pausing means not to read.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec
import structlog
from paho.mqtt import MQTTException
from paho.mqtt.client import MQTT_LOG_ERR, Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from controller.address import BrokerAddress
from controller.app.errors import EnvironmentFault
from controller.mqtt.limits import Counts, Limits
from protocol.profiles import Profile

SESSION_TAKEN_OVER: Final = 0x8E
GRANTED_QOS_1: Final = 1
PACKET_OVERHEAD_BYTES: Final = 16
"""Of a PUBLISH beside topic and payload, at the most (MQTT 5.0, section 3.3)."""
NO_RETAINED_MESSAGES: Final = 2
"""Retain Handling (MQTT 5.0, section 3.8.3.1)."""

T = TypeVar("T")

log = structlog.get_logger()


class How(StrEnum):
    """How a connection ended."""

    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    NO_ANSWER = "no_answer"
    NOT_SUBSCRIBED = "not_subscribed"
    LOST = "lost"
    SILENT = "silent"
    TAKEN_OVER = "taken_over"
    FAULT = "fault"
    CLOSED = "closed"


class ConnectionEnded(EnvironmentFault):
    """The connection is no more; `how` says in one word why, the message in more."""

    slug = "broker-unavailable"

    def __init__(self, how: How, message: str) -> None:
        """Take the kind of end, and what is known about it."""
        super().__init__(message)
        self.how = how


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to connect to, as whom, and how to speak."""

    address: BrokerAddress
    client_id: str
    profile: Profile
    filters: tuple[str, ...]


class _SslSocket(ssl.SSLSocket):
    """A socket that is closed when its handshake fails; paho 2.2.0 leaves that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's signature
        """Shake hands."""
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class Connection:
    """A connection that is opened once, and then used until it ends."""

    def __init__(
        self, settings: Settings, *, limits: Limits, counts: Counts, receive: Callable[[MQTTMessage], None]
    ) -> None:
        """Take whom to connect to, and who takes the messages that arrive."""
        self._settings = settings
        self._limits = limits
        self._counts = counts
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[ConnectionEnded] = self._loop.create_future()
        self._accepted: asyncio.Future[bool] = self._loop.create_future()
        self._granted: asyncio.Future[Sequence[int]] = self._loop.create_future()
        self._socket: socket.socket | ssl.SSLSocket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = self._loop.time()
        self._is_paused = False
        self._is_flushing = False
        self._window = limits.window
        self._unsettled: dict[int, int] = {}
        self._unsettled_bytes = 0
        self._packet_bytes_max = limits.packet_bytes_max
        self._client = self._new_client()
        self._why = ""
        self.accepted_at: float | None = None

    def _new_client(self) -> Client:
        is_mqtt5 = self._settings.profile.is_mqtt5
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._settings.client_id,
            clean_session=None if is_mqtt5 else False,
            protocol=MQTTProtocolVersion.MQTTv5 if is_mqtt5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.max_inflight_messages_set(0)  # no bound of paho's: it would queue, and walk its queue for each answer
        client.connect_timeout = self._limits.connect_timeout_s
        address = self._settings.address
        if address.user:
            client.username_pw_set(address.user, address.password)
        client.connect_async(
            address.host,
            address.port,
            keepalive=self._limits.keepalive_s,
            clean_start=False,
            properties=self._connect_properties() if is_mqtt5 else None,
        )
        client.on_log = self._on_log
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_write_wanted
        return client

    def _connect_properties(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._limits.session_expiry_s
        properties.ReceiveMaximum = self._limits.receive_max
        properties.MaximumPacketSize = self._limits.packet_bytes_max
        return properties

    # --- life -----------------------------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        """Whether the connection is no more."""
        return self._ended.done()

    async def open(self, context: ssl.SSLContext | None) -> bool:
        """Connect and subscribe; return whether the broker still had our session.

        Args:
            context: how TLS is spoken; None speaks none.

        Raises:
            ConnectionEnded: when the broker cannot be reached or refuses; the connection is closed then.
        """
        if context is not None:
            context.sslsocket_class = _SslSocket
            self._client.tls_set_context(context)
        try:
            await self._loop.run_in_executor(None, self._connect)
        except (OSError, MQTTException, ValueError) as error:
            raise self.close(How.UNREACHABLE, str(error)) from error
        self._attach()
        is_present = await self._answer(self._accepted)
        self._subscribe()
        granted = await self._answer(self._granted)
        if any(code != GRANTED_QOS_1 for code in granted):
            raise self.close(How.NOT_SUBSCRIBED, f"subscriptions answered with {sorted(set(granted))}: expected QoS 1")
        return is_present

    def _connect(self) -> None:
        """Connect, in a thread; where nobody waits for it any more, close again."""
        self._client.reconnect()
        opened = self._client.socket()
        if self.has_ended and opened is not None:
            opened.close()

    def _attach(self) -> None:
        opened = self._client.socket()
        if opened is None or self.has_ended:
            return
        assert isinstance(opened, socket.socket), "only web sockets are of another kind"
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = opened
        self._heard_at = self._loop.time()
        if not self._is_paused:
            self._loop.add_reader(opened, self._readable)
        self._timer = self._loop.call_later(self._limits.tick_s, self._tick)
        self._flush()

    async def _answer(self, answer: "asyncio.Future[T]") -> T:
        either: set[asyncio.Future[Any]] = {answer, self._ended}
        await asyncio.wait(either, timeout=self._limits.answer_timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if answer.done() and not self.has_ended:
            return answer.result()
        raise self.close(How.NO_ANSWER, f"no answer within {self._limits.answer_timeout_s:g} s")

    async def until_end(self) -> ConnectionEnded:
        """Wait for the end of the connection, and return it."""
        return await asyncio.shield(self._ended)

    def close(self, how: How = How.CLOSED, message: str = "closed") -> ConnectionEnded:
        """End the connection at once, unless it has ended, and return its end."""
        if not self.has_ended:
            self._ended.set_result(ConnectionEnded(how, message))
            opened = self._socket or self._client.socket()
            self._detach()
            if opened is not None:
                opened.close()
        return self._ended.result()

    async def leave(self) -> None:
        """Say goodbye, so that the broker keeps the session and knows that nobody is there."""
        if self._socket is not None:
            self.pause()
            self._client.disconnect()
            await asyncio.wait({self._ended}, timeout=self._limits.shutdown_timeout_s)
        self.close()

    def _detach(self) -> None:
        self._unread()
        if self._socket is not None:
            self._loop.remove_writer(self._socket)
            self._socket = None
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        """Let paho ping, and give up a connection that says nothing."""
        self._timer = self._loop.call_later(self._limits.tick_s, self._tick)
        silence_s = self._loop.time() - self._heard_at
        if silence_s > self._client.keepalive * self._limits.silence_factor:
            self.close(How.SILENT, f"nothing was heard for {silence_s:.0f} s")
        else:
            self._step(self._client.loop_misc)

    # --- the socket -----------------------------------------------------------------------------------------

    def _readable(self) -> None:
        """Read packets until there are none, or it is somebody else's turn."""
        self._heard_at = self._loop.time()
        until = self._heard_at + self._limits.turn_s
        while self._step(self._client.loop_read) and self._has_more and not self._is_paused:
            if self._loop.time() >= until:
                self._loop.call_soon(self._read_on)
                return

    def _read_on(self) -> None:
        if not self.has_ended and not self._is_paused:
            self._readable()

    @property
    def _has_more(self) -> bool:
        """Whether TLS holds bytes back that were read already: the loop does not know of those."""
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def pause(self) -> None:
        """Read nothing until `resume`."""
        self._is_paused = True
        self._unread()

    def resume(self) -> None:
        """Read again."""
        if self._is_paused and self._socket is not None:
            self._loop.add_reader(self._socket, self._readable)
            self._loop.call_soon(self._read_on)
        self._is_paused = False

    def _unread(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)

    def _on_write_wanted(self, _client: Client, _data: Any, _socket: Any) -> None:
        """Write at the end of this turn, all that has come together by then."""
        if self._socket is not None and not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        if not self._step(self._client.loop_write) or self._socket is None:
            return
        if self._client.want_write():
            self._loop.add_writer(self._socket, self._flush)
        else:
            self._loop.remove_writer(self._socket)

    def _on_socket_close(self, _client: Client, _data: Any, _socket: Any) -> None:
        self._detach()

    def _step(self, act: Callable[[], MQTTErrorCode]) -> bool:
        """Let paho do something; say whether the connection still stands."""
        if self.has_ended:
            return False
        try:
            code = act()
        except Exception as error:
            if not self.has_ended:
                log.exception("broker_connection_failed", client_id=self._settings.client_id)
                self.close(How.FAULT, repr(error))
            return False
        if code is not MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.close(How.LOST, self._why or code.name)
        return not self.has_ended

    # --- what is sent ---------------------------------------------------------------------------------------

    @property
    def unsettled_count(self) -> int:
        """The messages that the broker has not acknowledged, at QoS 0 those that are not written out."""
        return len(self._unsettled)

    def publish(self, topic: str, payload: bytes) -> bool:
        """Hand a message over; False, and nothing kept, when the connection cannot take it now."""
        if self._socket is None or not self._has_room(len(topic) + len(payload)):
            return False
        info = self._client.publish(topic, payload, qos=self._settings.profile.downlink_qos)
        if info.rc is not MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        self._unsettled[info.mid] = len(payload)
        self._unsettled_bytes += len(payload)
        return True

    def _has_room(self, length: int) -> bool:
        is_in_window = self._settings.profile.downlink_qos == 0 or len(self._unsettled) < self._window
        fits = self._unsettled_bytes + length <= self._limits.unsent_bytes_max
        return is_in_window and fits and length + PACKET_OVERHEAD_BYTES <= self._packet_bytes_max

    def acknowledge(self, message_id: int) -> None:
        """Acknowledge a message that came by this connection; later than its end that means nothing."""
        if self._socket is None:
            self._counts.acknowledgements_dropped += 1
            return
        self._client.ack(message_id, qos=1)

    def _subscribe(self) -> None:
        filters = self._settings.filters
        if self._settings.profile.is_mqtt5:
            options = SubscribeOptions(qos=1, retainHandling=NO_RETAINED_MESSAGES)
            self._client.subscribe([(pattern, options) for pattern in filters])
        else:
            self._client.subscribe([(pattern, 1) for pattern in filters])

    # --- what paho says -------------------------------------------------------------------------------------

    def _on_connect(
        self, _client: Client, _data: Any, flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            self.close(How.REFUSED, str(code))
            return
        self.accepted_at = self._loop.time()
        self._client.on_log = None  # from here on it would cost more than it tells
        self._window = min(self._window, getattr(properties, "ReceiveMaximum", self._window))
        self._packet_bytes_max = getattr(properties, "MaximumPacketSize", self._packet_bytes_max)
        self._accepted.set_result(flags.session_present)

    def _on_subscribe(self, _client: Client, _data: Any, _mid: int, codes: list[ReasonCode], _properties: Any) -> None:
        self._granted.set_result([code.value for code in codes])

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._receive(message)

    def _on_publish(self, _client: Client, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        self._unsettled_bytes -= self._unsettled.pop(mid, 0)
        self._counts.publishes_refused += code.is_failure

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        how = How.TAKEN_OVER if code.value == SESSION_TAKEN_OVER else How.LOST
        self.close(how, self._why or str(code))

    def _on_log(self, _client: Client, _data: Any, level: int, text: str) -> None:
        """Keep the reason of a failure; a refused certificate, for one, is told nowhere else."""
        if level == MQTT_LOG_ERR:
            self._why = text
