"""An installation, a real broker for it, and clients that show certificates and speak through paho."""

import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from controller.clock import SystemClock
from controller.signing.authority import CONTROLLER_NAME, Authority, new_key
from controller.signing.installation import initialise
from controller.signing.keyfile import to_pem
from protocol.ids import Name, TenantId
from protocol.topics import Uplink, UplinkKind
from simulator.brokers import HOST, Broker, Kind
from simulator.processes import Processes
from tests.controller.signing.keys import request

TENANT: Final = TenantId("acme")
D1: Final = Name("acme:d1")
D2: Final = Name("acme:d2")
LANE: Final = "tidegate-acme-lane-00"
WAIT_S: Final = 10.0


def up(name: Name, kind: UplinkKind = UplinkKind.REPORT) -> str:
    """Return a topic that a device writes to."""
    return str(Uplink(name, kind))


class World:
    """One broker for one installation; `certificate` and `client` make who talks to it."""

    def __init__(self, kind: Kind, folder: Path, processes: Processes) -> None:
        self.folder = folder
        keys = folder / "online"
        keystore = initialise(keys, folder / "offline", tenant=TENANT, hosts=[HOST], at=SystemClock().now())
        self.authority = keystore.authority()
        self.broker = Broker.create(kind, folder / "broker", keys=keys, processes=processes)
        self.clients: list[Client] = []

    def device(self, name: Name, *, authority: Authority | None = None) -> Path:
        """Return key and certificate of a device, in one file."""
        key = new_key()
        issued = (authority or self.authority).issue(request(key), name, at=SystemClock().now())
        return self._kept(str(name), to_pem(key) + issued.certificate_pem.encode())

    def controller(self) -> Path:
        """Return key and certificate of the controller, in one file."""
        shown = self.authority.broker_client_certificate(at=SystemClock().now())
        return self._kept(CONTROLLER_NAME, shown.key_pem + shown.certificate_pem)

    def _kept(self, name: str, pem: bytes) -> Path:
        path = self.folder / f"{name.replace(':', '-')}-{len(list(self.folder.iterdir()))}.pem"
        path.write_bytes(pem)
        return path

    def client(self, client_id: str, certificate: Path | None, *, port: int, **options: Any) -> "Client":
        """Return a client that has been answered, or dropped."""
        client = Client(client_id, ca=self.broker.ca, certificate=certificate, **options)
        self.clients.append(client)
        client.connect(port)
        return client

    def lane(self, client_id: str = LANE, **options: Any) -> "Client":
        """Return a client as the controller connects: with its certificate, its name and its password."""
        url = urlsplit(self.broker.url)
        login = (url.username, url.password or "") if url.username else None
        return self.client(
            client_id, self.controller(), port=self.broker.controller_port, login=login, is_clean=False, **options
        )

    def connect(self, name: Name) -> "Client":
        """Return a client as a device connects."""
        return self.client(name, self.device(name), port=self.broker.device_port)

    def close(self) -> None:
        """End every client."""
        for client in self.clients:
            client.close()


class Client:
    """A client of MQTT 3.1.1 or 5 that remembers what happened, and waits for it within bounds."""

    def __init__(
        self,
        client_id: str,
        *,
        ca: Path,
        certificate: Path | None,
        login: tuple[str, str] | None = None,
        is_clean: bool = True,
        is_mqtt5: bool = False,
    ) -> None:
        self.is_connected = False
        self.answer = ""
        self.is_session_present = False
        self.granted: list[str] = []
        self.puback: dict[int, str] = {}
        self.received: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        self._is_mqtt5, self._is_clean = is_mqtt5, is_clean
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if is_mqtt5 else is_clean,
            protocol=MQTTProtocolVersion.MQTTv5 if is_mqtt5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        self.paho.tls_set_context(_context(ca, certificate))
        if login is not None:
            self.paho.username_pw_set(*login)
        self.paho.on_connect = self._connected
        self.paho.on_disconnect = self._disconnected
        self.paho.on_subscribe = self._subscribed
        self.paho.on_publish = self._published
        self.paho.on_message = self._heard

    def connect(self, port: int) -> None:
        """Connect and wait for the answer; a refusal leaves `is_connected` false."""
        is_clean = self._is_clean if self._is_mqtt5 else paho.MQTT_CLEAN_START_FIRST_ONLY
        try:
            self.paho.connect(HOST, port, clean_start=is_clean, properties=self._properties())
        except OSError as error:  # a TLS alert comes as one
            self.answer = str(error)
            return
        self.paho.loop_start()
        self.until(lambda: self.answer != "")

    def _properties(self) -> Properties | None:
        if not self._is_mqtt5 or self._is_clean:
            return None
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 86_400
        return properties

    def until(self, what: Callable[[], object]) -> None:
        """Wait until *what* holds."""
        with self._changed:
            assert self._changed.wait_for(what, WAIT_S), (self.answer, self.granted, self.puback, self.received)

    def until_heard(self, *messages: tuple[str, bytes]) -> None:
        """Wait until exactly these have come, in this order."""
        self.until(lambda: self.received == list(messages))

    def subscribe(self, topic: str, *, qos: int = 1) -> str:
        """Subscribe, and return what was granted."""
        count = len(self.granted)
        self.paho.subscribe(topic, qos)
        self.until(lambda: len(self.granted) > count)
        return self.granted[-1]

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> str:
        """Publish, and return how that was acknowledged; empty where the connection was ended instead."""
        sent = self.paho.publish(topic, payload, qos=1, retain=retain)
        self.until(lambda: sent.mid in self.puback or not self.is_connected)
        return self.puback.get(sent.mid, "")

    def close(self) -> None:
        """Leave."""
        self.paho.disconnect()
        self.paho.loop_stop()

    def _connected(self, _client: Any, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        with self._changed:
            self.answer, self.is_session_present = str(reason), flags.session_present
            self.is_connected = not reason.is_failure
            self._changed.notify_all()

    def _disconnected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        with self._changed:
            self.answer = self.answer or str(reason)
            self.is_connected = False
            self._changed.notify_all()

    def _subscribed(self, _client: Any, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        with self._changed:
            self.granted += [str(reason) for reason in reasons]
            self._changed.notify_all()

    def _published(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        with self._changed:
            self.puback[mid] = str(reason)
            self._changed.notify_all()

    def _heard(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        with self._changed:
            self.received.append((message.topic, bytes(message.payload)))
            self._changed.notify_all()


def _context(ca: Path, certificate: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context
