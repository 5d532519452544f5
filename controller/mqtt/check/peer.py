"""One MQTT client of the probe: paho in a thread, every wait bounded, everything it hears kept.

The rules this module keeps:

1. A peer is one connection. Whoever connects again under the same client id makes another peer.
2. No callback raises: it only notes what happened, under one condition.
3. When the probe's time is over, waits raise `OutOfTime`: what did not come by then is not held against the broker.
"""

import contextlib
import math
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from paho.mqtt import MQTTException
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from controller.mqtt.limits import Limits

FAILURE: Final = 0x80
"""From here on a reason code is an error (MQTT 5.0, section 2.4); 3.1.1 refuses a subscription by it too."""
ANSWER_S: Final = 5.0
LEAVE_S: Final = 1.0
KEEPALIVE_S: Final = 15
"""Also how long paho lets a TLS handshake take."""
WINDOW: Final = 50
"""Publishes of one peer that are not answered: paho's own queue costs time with its length."""


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """Where and as whom to connect; without a context no TLS is spoken."""

    host: str
    port: int
    context: ssl.SSLContext | None
    username: str = ""
    password: str = ""


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How to connect: `session_s` keeps a session that long, 0 none; `will` is published when the peer is lost."""

    version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5
    session_s: int = 0
    is_acking: bool = True
    will: tuple[str, bytes] | None = None

    @property
    def is_mqtt5(self) -> bool:
        """Whether MQTT 5 is spoken, else 3.1.1."""
        return self.version == MQTTProtocolVersion.MQTTv5


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A message that arrived, and when, in seconds."""

    topic: str
    payload: bytes
    is_retained: bool
    is_repeated: bool
    packet_id: int
    at: float


class Refused(Exception):
    """The broker did not do what a check needs; the message says what it did."""


class OutOfTime(Exception):
    """The time of the whole probe is over."""


class Peer:
    """A client under *client_id*; `connect` it before anything else, and `leave` in the end."""

    def __init__(
        self, door: Door, client_id: str, manner: Manner, *, now_s: Callable[[], float], until_s: float = math.inf
    ) -> None:
        """Take where and how to connect, a clock that never goes back, and when by it the probe's time is over."""
        self.session_present = False
        self.announced: dict[str, Any] = {}
        self.heard: list[Heard] = []
        self.ended = ""
        """Why the connection ended, empty while it stands."""
        self.ended_code = 0
        self._door = door
        self._manner = manner
        self._now_s = now_s
        self._until_s = until_s
        self._changed = threading.Condition()
        self._code: ReasonCode | None = None
        self._answers: dict[int, int] = {}
        self._grants: dict[int, list[int]] = {}
        self._client = self._new_client(client_id)

    def _new_client(self, client_id: str) -> Client:
        is_clean = None if self._manner.is_mqtt5 else not self._manner.session_s
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=is_clean,
            protocol=self._manner.version,
            reconnect_on_failure=False,
            manual_ack=not self._manner.is_acking,
        )
        if self._door.context is not None:
            client.tls_set_context(self._door.context)
        if self._door.username:
            client.username_pw_set(self._door.username, self._door.password)
        if self._manner.will is not None:
            client.will_set(*self._manner.will, qos=1)
        client.connect_timeout = ANSWER_S
        client.suppress_exceptions = True
        client.max_inflight_messages_set(WINDOW)
        client.on_socket_open = _set_no_delay
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    def connect(self) -> Self:
        """Connect, and return this peer once it is welcome.

        Raises:
            Refused: when the broker cannot be reached, says no, hangs up, or says nothing in time.
        """
        try:
            self._open()
            self._client.loop_start()
        except (OSError, MQTTException, ValueError) as error:
            raise Refused(str(error) or type(error).__name__) from error
        try:
            self.wait(lambda: self._code is not None or bool(self.ended), ANSWER_S)
        except OutOfTime:
            self.leave()
            raise
        if self._code is None or self._code.is_failure:
            why = str(self._code or self.ended or f"no answer in {ANSWER_S:.0f} s")
            self.leave()
            raise Refused(why)
        return self

    def _open(self) -> None:
        if not self._manner.is_mqtt5:
            self._client.connect(self._door.host, self._door.port, keepalive=KEEPALIVE_S)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._manner.session_s
        if self._manner.session_s:
            properties.ReceiveMaximum = Limits().receive_max  # as a lane does
        is_clean = not self._manner.session_s
        self._client.connect(
            self._door.host, self._door.port, keepalive=KEEPALIVE_S, clean_start=is_clean, properties=properties
        )

    def wait(self, is_done: Callable[[], bool], seconds: float) -> bool:
        """Wait until *is_done*, or *seconds* have passed; say whether it is.

        Raises:
            OutOfTime: when the probe's time is over before that.
        """
        left_s = self._until_s - self._now_s()
        if self._wait(is_done, min(seconds, left_s)):
            return True
        if left_s < seconds:
            raise OutOfTime("the probe ran out of time")
        return False

    def _wait(self, is_done: Callable[[], bool], seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(is_done, seconds)

    def hears(self, payload: bytes, *, seconds: float = ANSWER_S) -> bool:
        """Say whether a message with *payload* is heard within *seconds*."""
        return self.wait(lambda: any(heard.payload == payload for heard in self.heard), seconds)

    def subscribe(self, topic_filter: str, *, qos: int = 1) -> int:
        """Subscribe, and return the granted QoS or a code of failure.

        Raises:
            Refused: when no answer comes.
        """
        result, packet_id = self._client.subscribe(topic_filter, qos)
        if result is not MQTTErrorCode.MQTT_ERR_SUCCESS or packet_id is None:
            raise Refused(f"cannot subscribe to {topic_filter}: {result.name}")
        self.wait(lambda: packet_id in self._grants or bool(self.ended), ANSWER_S)
        if packet_id not in self._grants:
            raise Refused(f"no answer to the subscription of {topic_filter}; {self.ended or 'the connection stands'}")
        return self._grants[packet_id][0]

    def listen(self, topic_filter: str, *, qos: int = 1) -> None:
        """Subscribe, and insist on the QoS asked for.

        Raises:
            Refused: when it is not granted.
        """
        granted = self.subscribe(topic_filter, qos=qos)
        if granted != qos:
            raise Refused(f"the subscription of {topic_filter} at QoS {qos} was answered with {granted:#04x}")

    def send(self, topic: str, payload: bytes, *, qos: int = 1, is_retained: bool = False) -> int:
        """Publish without awaiting the answer; return the packet id."""
        return self._client.publish(topic, payload, qos=qos, retain=is_retained).mid

    def publish(self, topic: str, payload: bytes, *, is_retained: bool = False) -> int | None:
        """Publish at QoS 1 and return the reason code of the answer, None where the connection ended instead.

        Raises:
            Refused: when nothing happens at all.
        """
        packet_id = self.send(topic, payload, is_retained=is_retained)
        if not self.wait(lambda: packet_id in self._answers or bool(self.ended), ANSWER_S):
            raise Refused(f"a publish of {len(payload)} bytes on {topic} was not answered in {ANSWER_S:.0f} s")
        return self._answers.get(packet_id)

    def publish_all(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Publish many at QoS 1, at most `WINDOW` of them unanswered, and wait for the last answer.

        Raises:
            Refused: when answers stop coming.
        """
        sent, before = 0, len(self._answers)

        def is_free(limit: int) -> bool:
            return sent - (len(self._answers) - before) < limit or bool(self.ended)

        for topic, payload in messages:
            self._insist(self.wait(lambda: is_free(WINDOW), ANSWER_S))
            self.send(topic, payload)
            sent += 1
        self._insist(self.wait(lambda: is_free(1), ANSWER_S))

    def _insist(self, is_answered: bool) -> None:  # noqa: FBT001 - a private name for an if
        if not is_answered or self.ended:
            raise Refused(f"publishes stay without an answer; {self.ended or 'the connection stands'}")

    def acknowledge(self, heard: Heard) -> None:
        """Acknowledge a message that was held back."""
        self._client.ack(heard.packet_id, 1)

    def cut(self) -> None:
        """Lose the connection without a word, as a broken network does."""
        opened = self._client.socket()
        if isinstance(opened, socket.socket):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        self._wait(lambda: bool(self.ended), LEAVE_S)

    def leave(self, *, with_will: bool = False) -> None:
        """Disconnect and end the thread; a second call does nothing."""
        reason = ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message") if with_will else None
        with contextlib.suppress(OSError, MQTTException, ValueError):
            self._client.disconnect(reasoncode=reason)
            if not self._wait(lambda: bool(self.ended), LEAVE_S):
                self.cut()  # else paho would wait for ever for a broker that does not read
        self._client.loop_stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    # --- what paho says, in its thread ---

    def _on_connect(self, _client: Client, _data: Any, flags: Any, code: ReasonCode, properties: Any) -> None:
        with self._changed:
            self.session_present = bool(flags.session_present)
            self.announced = {} if properties is None else dict(properties.json())
            self._code = code
            self._changed.notify_all()

    def _on_disconnect(self, _client: Client, _data: Any, flags: Any, code: ReasonCode, _properties: Any) -> None:
        with self._changed:
            is_told = bool(flags.is_disconnect_packet_from_server)
            self.ended_code = code.value if is_told else 0
            self.ended = (
                f"the broker said {code} ({code.value:#04x})" if is_told else "the broker closed the connection"
            )
            self._changed.notify_all()

    def _on_subscribe(self, _client: Client, _data: Any, mid: int, codes: list[ReasonCode], _properties: Any) -> None:
        with self._changed:
            self._grants[mid] = [code.value for code in codes]
            self._changed.notify_all()

    def _on_publish(self, _client: Client, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        with self._changed:
            self._answers[mid] = code.value
            self._changed.notify_all()

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        heard = Heard(
            topic=message.topic,
            payload=bytes(message.payload),
            is_retained=message.retain,
            is_repeated=message.dup,
            packet_id=message.mid,
            at=self._now_s(),
        )
        with self._changed:
            self.heard.append(heard)
            self._changed.notify_all()


def _set_no_delay(_client: Client, _data: Any, opened: Any) -> None:
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
