"""A controller that is just enough: enrolment, artifacts and MQTT over TLS, in threads of the test."""

import base64
import contextlib
import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mqtt5

from protocol.codec import decode, encode
from protocol.envelope import parse, seal, verify
from protocol.ids import Name, digest_of
from protocol.keys import ring_of
from protocol.messages import (
    Ack,
    Command,
    DeviceRequest,
    Hello,
    HelloReply,
    PayloadType,
    Report,
    StateReport,
    Tick,
)
from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind
from protocol.topics import parse as parse_topic
from protocol.units import Instant
from tests.agent.papers import Authority, Trustees

PATIENCE_SECONDS = 20.0


def wall_ms() -> Instant:
    return Instant(int(time.time() * 1000))


class Hub:
    """The controller of one device."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.trustees = Authority(), Trustees()
        self.name = Name("acme:kiosk-17")
        self.files: dict[str, tuple[bytes, dict[str, Any]]] = {}
        self.releases_version = 1
        self.life = timedelta(days=7)
        self.device_key = b""
        self.hellos: list[Hello] = []
        self.reports: list[Report] = []
        self.ticks: list[Tick] = []
        self.gone: list[bytes] = []
        self.disconnects: list[str] = []
        self.wills: list[bytes] = []
        self.deaf = False
        self.told: dict[str, str] = {}
        """What an enrolment is told besides."""
        self.connack = mqtt5.ConnAckReasonCode.SUCCESS
        self.suback = mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE
        self.subscribe_count = 0
        self.refused_count = 0
        self.requests: list[tuple[str, str]] = []
        self.acks = True
        self.replies = True
        self.puback = mqtt5.PubAckReasonCode.SUCCESS
        self._lock = threading.Lock()
        self._tls = threading.Lock()  # a TLS connection must not be read and written at the same time
        self._connections: list[ssl.SSLSocket] = []
        self._seq = 0
        server_pem, ca_pem = folder / "server.pem", folder / "ca.pem"
        server_pem.write_bytes(self.authority.server())
        ca_pem.write_bytes(self.authority.pem)
        self.ca = ca_pem
        self._http = _http_server(self, _context(server_pem))
        mutual = _context(server_pem)
        mutual.verify_mode = ssl.CERT_REQUIRED
        mutual.load_verify_locations(ca_pem)
        self._mutual = mutual
        self._listener = socket.create_server(("127.0.0.1", 0))
        for target in (lambda: self._http.serve_forever(0.02), self._accept):
            threading.Thread(target=target, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut every connection, as a network does."""
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def until(self, wanted: Callable[[], Any], *, seconds: float = PATIENCE_SECONDS) -> Any:
        """Wait until *wanted* is true, and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = wanted()
            if found:
                return found
            time.sleep(0.02)
        states = [getattr(r, "state", None) or r for r in self.reports]
        raise AssertionError(f"waited {seconds} s in vain; reports: {states}; requests: {self.requests}")

    def states(self, run: str) -> list[str]:
        """Return the distinct states reported of a run, in order."""
        seen: dict[int, str] = {}
        for report in self.reports:
            if isinstance(report, StateReport) and report.run == run:
                seen[report.report_seq] = str(report.state)
        return [seen[seq] for seq in sorted(seen)]

    # --- MQTT ---

    def send(self, command: Command) -> None:
        """Send a signed command to the device."""
        self._publish(DownlinkKind.COMMAND, seal(encode(command), PayloadType.COMMAND, self.trustees.director))

    def send_raw(self, raw: bytes) -> None:
        self._publish(DownlinkKind.COMMAND, raw)

    def _publish(self, kind: DownlinkKind, raw: bytes) -> None:
        self._seq = self._seq % 60_000 + 1
        packet = mqtt5.PublishPacket(
            str(Downlink(self.name, kind)), raw, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=self._seq
        )
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    self._send(connection, packet.write())

    def _send(self, connection: ssl.SSLSocket, data: bytes) -> None:
        with self._tls:
            connection.sendall(data)

    def _receive(self, connection: ssl.SSLSocket) -> bytes:
        if not connection.pending():
            select.select([connection], [], [])
        with self._tls:
            return connection.recv(65_536)

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with (
            contextlib.suppress(OSError, ValueError),
            plain,
            self._mutual.wrap_socket(plain, server_side=True) as connection,
        ):
            self._read(connection)

    def _read(self, connection: ssl.SSLSocket) -> None:
        data = b""
        while chunk := self._receive(connection):
            data += chunk
            while data:
                try:
                    packet, size = mqtt5.read(memoryview(data))
                except IndexError:
                    break
                data = data[size:]
                self._take(connection, packet)

    def _take(self, connection: ssl.SSLSocket, packet: Any) -> None:
        match packet:
            case mqtt5.ConnectPacket():
                assert packet.client_id == self.name
                assert packet.will is not None
                self.wills.append(bytes(packet.will.payload or b""))
                self.refused_count += self.connack is not mqtt5.ConnAckReasonCode.SUCCESS
                answer = mqtt5.ConnAckPacket(server_keep_alive=300, reason_code=self.connack)
                self._send(connection, answer.write())
            case mqtt5.SubscribePacket():
                codes = [self.suback] * len(packet.topic_filters)
                self.subscribe_count += 1
                with self._lock:
                    self._connections.append(connection)
                self._send(connection, mqtt5.SubAckPacket(packet.packet_id, codes).write())
            case mqtt5.PublishPacket():
                if packet.packet_id is not None:
                    self._send(connection, mqtt5.PubAckPacket(packet.packet_id, reason_code=self.puback).write())
                if not self.deaf:
                    self._take_message(packet)
            case mqtt5.PingReqPacket():
                self._send(connection, mqtt5.PingRespPacket().write())
            case mqtt5.DisconnectPacket():
                self.disconnects.append(str(packet.reason_code))

    def _take_message(self, packet: Any) -> None:
        topic = parse_topic(packet.topic)
        assert isinstance(topic, Uplink)
        raw = bytes(packet.payload)
        keys = ring_of(self.device_key)
        match topic.kind:
            case UplinkKind.HELLO:
                hello = verify(raw, PayloadType.HELLO, Hello, keys).value
                self.hellos.append(hello)
                if self.replies:
                    answer = HelloReply(nonce=hello.nonce, device=self.name, time=wall_ms())
                    self._answer(answer, PayloadType.HELLO_REPLY)
            case UplinkKind.REPORT:
                report = verify(raw, PayloadType.REPORT, Report, keys).value
                self.reports.append(report)
                if self.acks:
                    stored = (report.report_seq,)
                    ack = Ack(device=self.name, incarnation=report.incarnation, stored=stored)
                    self._answer(ack, PayloadType.ACK)
            case UplinkKind.TICK:
                self.ticks.append(decode(raw, Tick))
            case UplinkKind.GONE:
                self.gone.append(raw)

    def _answer(self, message: Any, kind: PayloadType) -> None:
        self._publish(DownlinkKind.ACK, seal(encode(message), kind, self.trustees.time))

    # --- HTTP ---

    def release_file(self) -> bytes:
        return self.trustees.releases(self.files, version=self.releases_version)

    def check(self, header: str, method: str, path: str, body: bytes) -> bool:
        """Check the signature of a device's request."""
        raw = base64.b64decode(header.removeprefix("Tidegate-DSSE "))
        assert parse(raw).payload_type == PayloadType.REQUEST
        request = verify(raw, PayloadType.REQUEST, DeviceRequest, ring_of(self.device_key)).value
        wanted = (self.name, method, path, digest_of(body))
        return (request.device, request.method, request.path, request.body_sha256) == wanted

    def enrol(self, body: bytes) -> bytes:
        asked = json.loads(body)
        self.device_key = base64.b64decode(asked["signing_key"])
        assert len(base64.b64decode(asked["sealing_key"])) == 32
        return json.dumps(
            {
                "name": self.name,
                "certificate": self.authority.issue(asked["csr"], self.name, life=self.life),
                "ca_chain": self.authority.pem.decode(),
                "fleet_root": base64.b64encode(self.trustees.fleet_root()).decode(),
                "release_root": base64.b64encode(self.trustees.release_root()).decode(),
                "mqtt_host": "127.0.0.1",
                "mqtt_port": self._listener.getsockname()[1],
                **self.told,
            }
        ).encode()

    def renew(self, body: bytes) -> bytes:
        self.life = timedelta(days=7)
        certificate = self.authority.issue(json.loads(body)["csr"], self.name)
        return json.dumps({"certificate": certificate, "ca_chain": self.authority.pem.decode()}).encode()


def _context(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def _http_server(hub: Hub, context: ssl.SSLContext) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def _send(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hub.requests.append(("POST", self.path))
            if self.path == "/v1/enrol" and json.loads(body)["token"] == "good":
                self._send(201, hub.enrol(body))
            elif self.path == "/v1/enrol":
                self._send(403, b'{"title":"Forbidden","detail":"unknown claim token","status":403}')
            elif self.path == "/v1/device/renew" and self._is_signed(body):
                self._send(200, hub.renew(body))
            else:
                self._send(401, b"")

        def do_GET(self) -> None:
            hub.requests.append(("GET", self.path))
            if not self._is_signed(b""):
                self._send(401, b"")
            elif self.path == "/v1/releases/targets.json":
                self._send(200, hub.release_file())
            else:
                digest = self.path.removeprefix("/v1/artifacts/")
                found = [data for data, _ in hub.files.values() if digest_of(data) == digest]
                self._send(200 if found else 404, found[0] if found else b"", ETag=f'"{digest}"')

        def _is_signed(self, body: bytes) -> bool:
            return hub.check(self.headers.get("Authorization", ""), self.command, self.path, body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server
