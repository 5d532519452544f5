"""A hub that speaks MQTT 3.1.1, as brokers without MQTT 5 do; just enough of it (OASIS standard, section 3)."""

import contextlib
import ssl
from pathlib import Path
from types import SimpleNamespace

from protocol.profiles import Profile
from protocol.topics import Downlink, DownlinkKind
from tests.agent.hub import Hub

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 2, 3, 4, 9, 13


class OldHub(Hub):
    """The controller of one device, behind such a broker."""

    def __init__(self, folder: Path, profile: Profile) -> None:
        super().__init__(folder)
        self.profile = profile
        self.told = {"mqtt_profile": profile}
        self.level = 0
        self.is_clean = False
        self.asked_qos: list[int] = []
        self.granted: int | None = None
        self.return_code = 0
        self.ended_count = 0

    def _read(self, connection: ssl.SSLSocket) -> None:
        data = b""
        try:
            while chunk := self._receive(connection):
                data += chunk
                while (packet := _split(data)) is not None:
                    head, body, data = packet
                    self._take_old(connection, head, body)
        finally:
            self.ended_count += 1

    def _take_old(self, connection: ssl.SSLSocket, head: int, body: bytes) -> None:
        match head >> 4:
            case 1:  # CONNECT
                self._connect(connection, body)
            case 8:  # SUBSCRIBE
                self._subscribe(connection, body)
            case 3:  # PUBLISH
                self._published(connection, head, body)
            case 12:  # PINGREQ
                self._send(connection, _packet(PINGRESP << 4, b""))
            case 14:  # DISCONNECT
                self.disconnects.append("")

    def _connect(self, connection: ssl.SSLSocket, body: bytes) -> None:
        protocol, rest = _field(body)
        assert protocol == b"MQTT"
        self.level, flags = rest[0], rest[1]
        self.is_clean = bool(flags & 2)
        client_id, rest = _field(rest[4:])
        assert client_id.decode() == self.name
        _topic, rest = _field(rest)
        self.wills.append(_field(rest)[0])
        self.refused_count += bool(self.return_code)
        self._send(connection, _packet(CONNACK << 4, bytes([0, self.return_code])))

    def _subscribe(self, connection: ssl.SSLSocket, body: bytes) -> None:
        packet_id, rest = body[:2], body[2:]
        self.asked_qos = []
        while rest:
            _topic, rest = _field(rest)
            self.asked_qos.append(rest[0])
            rest = rest[1:]
        self.subscribe_count += 1
        with self._lock:
            self._connections.append(connection)
        codes = [qos if self.granted is None else self.granted for qos in self.asked_qos]
        self._send(connection, _packet(SUBACK << 4, packet_id + bytes(codes)))

    def _published(self, connection: ssl.SSLSocket, head: int, body: bytes) -> None:
        topic, rest = _field(body)
        if head & 6:
            packet_id, rest = rest[:2], rest[2:]
            self._send(connection, _packet(PUBACK << 4, packet_id))
        if not self.deaf:
            self._take_message(SimpleNamespace(topic=topic.decode(), payload=rest))

    def _publish(self, kind: DownlinkKind, raw: bytes) -> None:
        topic = str(Downlink(self.name, kind)).encode()
        qos = self.profile.downlink_qos
        self._seq = self._seq % 60_000 + 1
        number = self._seq.to_bytes(2, "big") if qos else b""
        packet = _packet(PUBLISH << 4 | qos << 1, len(topic).to_bytes(2, "big") + topic + number + raw)
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    self._send(connection, packet)


def _field(data: bytes) -> tuple[bytes, bytes]:
    """Return a field with its length before it, and what follows."""
    end = 2 + int.from_bytes(data[:2], "big")
    return data[2:end], data[end:]


def _packet(head: int, body: bytes) -> bytes:
    length, rest = b"", len(body)
    while True:
        rest, digit = divmod(rest, 128)
        length += bytes([digit | (128 if rest else 0)])
        if not rest:
            return bytes([head]) + length + body


def _split(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Return the first packet's head and body, and what follows; None where it is not whole."""
    length = 0
    for index, digit in enumerate(data[1:5]):
        length |= (digit & 127) << 7 * index
        if digit < 128:
            begin = index + 2
            return (
                None if len(data) < begin + length else (data[0], data[begin : begin + length], data[begin + length :])
            )
    return None
