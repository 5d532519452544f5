"""One connection to the controller or its broker: a paho client from birth to end, in the profile of the enrolment.

The rules this module keeps:

1. No callback lets an exception out: it would end paho's thread while `is_connected()` stays true (paho
   2.2.0).
2. A connection counts only when both subscriptions are granted. Its nonce is also that of its will.
3. Its end has the will published: in MQTT 5 by saying so, in MQTT 3.1.1 by not saying goodbye.
"""

import logging
import socket
import ssl
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from paho.mqtt import MQTTException
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.clock import boottime_ms, new_nonce, suspended_ms
from agent.https import pinned
from agent.logs import fields
from protocol.codec import encode
from protocol.errors import MalformedMessage
from protocol.ids import Name
from protocol.messages import MESSAGE_BYTES_MAX, Gone
from protocol.profiles import Profile
from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind, parse
from protocol.units import SECOND

log = logging.getLogger(__name__)

KEEPALIVE_SECONDS: Final = 60
CONNECT_SECONDS: Final = 15.0
PACKET_BYTES_MAX: Final = MESSAGE_BYTES_MAX + 1_024
"""What we let the other side send: a message, its topic and properties."""
WATCH_SECONDS: Final = 1.0
SUSPEND_MS: Final = 10 * SECOND
_FAILURE: Final = 0x80
"""From here on an MQTT 5 reason code is an error (MQTT 5.0, section 2.4), as is the one SUBACK code of MQTT 3.1.1."""
_PATIENCE: Final = 2.5


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to connect to, as whom; `device_pem` holds certificate and key and is read for each connection."""

    host: str
    port: int
    name: Name
    ca: Path
    device_pem: Path
    profile: Profile = Profile.MQTT5


class Up(msgspec.Struct, frozen=True, kw_only=True):
    """A connection stands."""

    nonce: str


class Down(msgspec.Struct, frozen=True, kw_only=True):
    """The connection is gone."""


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A message arrived."""

    kind: DownlinkKind
    raw: bytes


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """The other side answered a publish of this report; `code` is its reason code."""

    report_seq: int
    code: int


News = Up | Down | Received | Released


class Connection:
    """One connection: a paho client, from birth to end."""

    def __init__(self, settings: Settings, tell: Callable[[News], None]) -> None:
        self._settings = settings
        self._tell = tell
        self._nonce = new_nonce()
        self._heard_at = boottime_ms()
        self._suspended_ms = suspended_ms()
        self._keepalive_ms = KEEPALIVE_SECONDS * SECOND
        self._is_mqtt5 = settings.profile.is_mqtt5
        self._sent: dict[int, int | None] = {}
        self._early: dict[int, int] = {}
        self._lock = threading.Lock()
        self.ended = threading.Event()
        self.was_up = False
        self._client = self._new_client()

    def _new_client(self) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._settings.name,
            protocol=MQTTProtocolVersion.MQTTv5 if self._is_mqtt5 else MQTTProtocolVersion.MQTTv311,
            clean_session=None if self._is_mqtt5 else True,
            reconnect_on_failure=False,
        )
        context = pinned(self._settings.ca)
        context.load_cert_chain(self._settings.device_pem)
        client.tls_set_context(context)
        client.connect_timeout = CONNECT_SECONDS
        will = encode(Gone(connection=self._nonce))
        client.will_set(str(Uplink(self._settings.name, UplinkKind.GONE)), will, qos=1)
        client.on_socket_open = self._safely(_set_no_delay)
        client.on_connect = self._safely(self._on_connect)
        client.on_subscribe = self._safely(self._on_subscribe)
        client.on_message = self._safely(self._on_message)
        client.on_publish = self._safely(self._on_publish)
        client.on_disconnect = self._safely(self._on_disconnect)
        client.on_log = self._safely(self._on_log)
        return client

    def _safely(self, callback: Callable[..., None]) -> Callable[..., None]:
        """Let no exception of *callback* out: end the connection instead."""

        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception:
                log.exception("callback_failed")
                self.ended.set()

        return guarded

    def hold(self, stopping: threading.Event) -> None:
        """Connect, and stay until the connection ends."""
        dial = partial(self._client.connect, self._settings.host, self._settings.port, keepalive=KEEPALIVE_SECONDS)
        if self._is_mqtt5:
            dial(clean_start=True, properties=_properties())
        else:
            dial()
        self._client.loop_start()
        while not self.ended.wait(WATCH_SECONDS) and not stopping.is_set():
            why = self._why_dead()
            if why:
                log.warning("connection_given_up", extra=fields(why=why))
                return

    def _why_dead(self) -> str:
        """Return why the connection is to be taken for dead; empty while it is not."""
        if suspended_ms() - self._suspended_ms > SUSPEND_MS:
            return "the device was suspended"
        if boottime_ms() - self._heard_at > self._keepalive_ms * _PATIENCE:
            return "nothing was heard"
        return ""

    def close(self) -> None:
        """Disconnect so that the will is published, and tell the end once."""
        try:
            self._part()
            self._client.loop_stop()
        except (OSError, ValueError, MQTTException) as error:
            log.info("disconnect_failed", extra=fields(error=error))
        if self.was_up:
            self._tell(Down())

    def _part(self) -> None:
        """Ask for the will (MQTT 5.0, section 3.14.2.1), or where a DISCONNECT forbids it (3.1.1, 3.14.4) send none."""
        if self._is_mqtt5:
            self._client.disconnect(reasoncode=ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
            return
        opened = self._client.socket()
        if isinstance(opened, socket.socket):
            opened.shutdown(socket.SHUT_RDWR)

    def publish(self, kind: UplinkKind, payload: bytes, *, qos: int, report_seq: int | None) -> None:
        """Hand a message to paho; one that is too long is dropped here, as paho would send it for ever."""
        if len(payload) > MESSAGE_BYTES_MAX:
            log.error("message_too_long", extra=fields(kind=kind, length=len(payload)))
            return
        # No lock of ours around paho's publish: paho calls back under its own locks (paho issues 226, 354).
        info = self._client.publish(str(Uplink(self._settings.name, kind)), payload, qos=qos)
        if info.rc is not MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.ended.set()
        with self._lock:
            code = self._early.pop(info.mid, None)
            if code is None:
                self._sent[info.mid] = report_seq
        if code is not None:
            self._release(report_seq, code)

    def _release(self, report_seq: int | None, code: int) -> None:
        if report_seq is not None and not self.ended.is_set():
            self._tell(Released(report_seq=report_seq, code=code))

    # --- what paho says, in its thread ---

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, properties: Any) -> None:
        self._heard_at = boottime_ms()
        if code.is_failure:
            log.warning("connect_refused", extra=fields(code=code))
            self.ended.set()
            return
        server_keepalive = getattr(properties, "ServerKeepAlive", None)
        if isinstance(server_keepalive, int) and server_keepalive > 0:
            self._keepalive_ms = server_keepalive * SECOND
        qos = self._settings.profile.downlink_qos
        topics = [str(Downlink(self._settings.name, kind)) for kind in DownlinkKind]
        if self._is_mqtt5:
            self._client.subscribe([(topic, SubscribeOptions(qos=qos)) for topic in topics])
        else:
            self._client.subscribe([(topic, qos) for topic in topics])

    def _on_subscribe(self, _client: Client, _data: Any, _mid: int, codes: list[ReasonCode], _properties: Any) -> None:
        self._heard_at = boottime_ms()
        if any(code.value >= _FAILURE for code in codes):
            log.error("subscription_refused", extra=fields(codes=", ".join(map(str, codes))))
            self.ended.set()
        elif not self.was_up and not self.ended.is_set():
            self.was_up = True
            log.info("connected", extra=fields(host=self._settings.host))
            self._tell(Up(nonce=self._nonce))

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._heard_at = boottime_ms()
        try:
            topic = parse(message.topic)
        except MalformedMessage as error:
            log.warning("topic_unknown", extra=fields(error=error))
            return
        if isinstance(topic, Downlink) and topic.name == self._settings.name and not self.ended.is_set():
            self._tell(Received(kind=topic.kind, raw=bytes(message.payload)))

    def _on_publish(self, _client: Client, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        self._heard_at = boottime_ms()
        with self._lock:
            is_known = mid in self._sent
            report_seq = self._sent.pop(mid, None)
            if not is_known:  # the answer was quicker than `publish` itself
                self._early[mid] = code.value
        self._release(report_seq, code.value)

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        log.info("disconnected", extra=fields(code=code))
        self.ended.set()

    def _on_log(self, _client: Client, _data: Any, _level: int, text: str) -> None:
        """Hear the answers to pings, for which paho has no callback."""
        if text.startswith("Received"):
            self._heard_at = boottime_ms()


def _properties() -> Properties:
    """Return what CONNECT says in MQTT 5: no session is kept, and no message is longer than ours."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 0
    properties.MaximumPacketSize = PACKET_BYTES_MAX
    return properties


def _set_no_delay(_client: Client, _data: Any, opened: socket.socket | ssl.SSLSocket) -> None:
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
