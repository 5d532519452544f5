"""A device written from `docs/reference/messages.md` alone: nothing of ours is imported here.

It is no good agent (it remembers nothing), but what it does, the page must have told.
"""

import hashlib
import json
import queue
import secrets
import ssl
import time
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import NameOID
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

Json = dict[str, Any]

TYPE: Final = "application/vnd.tidegate.{}.v1+json"
WAIT_SECONDS: Final = 20
NONE: Final[Mapping[str, str]] = MappingProxyType({})


def encoded(kind: str, payload: bytes) -> bytes:
    """Return what is signed."""
    return b"DSSEv1 %d %b %d %b" % (len(kind.encode()), kind.encode(), len(payload), payload)


def hexadecimal(count: int) -> str:
    return secrets.token_hex(count)


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def canonical(value: object) -> bytes:
    """Return canonical JSON, as TUF documents are signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


class BareDevice:
    """One device, from its enrolment to a finished update."""

    def __init__(self, folder: Path, *, url: str, ca: Path, claim: str, device: str) -> None:
        self.url = url
        self.ca = ca
        self.key = Ed25519PrivateKey.generate()
        self.public = self.key.public_key().public_bytes_raw()
        self.pem = folder / f"{device}.pem"
        self.incarnation = hexadecimal(8)
        self.report_seq = self.hello_seq = 0
        self.answers: queue.Queue[Json] = queue.Queue()
        self.commands: queue.Queue[Json] = queue.Queue()
        self.is_granted: queue.Queue[bool] = queue.Queue()
        self.enrol(claim, device)

    # --- over HTTP ---

    def enrol(self, claim: str, device: str) -> None:
        tls_key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
        csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(tls_key, hashes.SHA256())
        body = {
            "token": claim,
            "device": device,
            "model": "bare",
            "hardware_id": device,
            "csr": csr.public_bytes(serialization.Encoding.PEM).decode(),
            "signing_key": b64encode(self.public).decode(),
            "sealing_key": b64encode(X25519PrivateKey.generate().public_key().public_bytes_raw()).decode(),
        }
        given = json.loads(self.http("POST", "/v1/enrol", json.dumps(body).encode()))
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        private = tls_key.private_bytes(pem, pkcs8, serialization.NoEncryption()).decode()
        self.pem.write_text("\n".join((given["certificate"], given["ca_chain"], private)))
        self.name: str = given["name"]
        self.host, self.port = given["mqtt_host"], given["mqtt_port"]
        self.fleet_root = json.loads(b64decode(given["fleet_root"]))
        self.release_root = json.loads(b64decode(given["release_root"]))
        for root in (self.fleet_root, self.release_root):
            self.check_document(root, root, "root")

    def http(self, method: str, path: str, body: bytes = b"", *, headers: Mapping[str, str] = NONE) -> bytes:
        request = urllib.request.Request(self.url + path, data=body or None, method=method, headers=dict(headers))
        request.add_header("Content-Type", "application/json")
        context = ssl.create_default_context(cafile=str(self.ca))
        with urllib.request.urlopen(request, context=context, timeout=WAIT_SECONDS) as answer:
            found: bytes = answer.read()
            return found

    def signed_http(self, method: str, path: str, *, headers: Mapping[str, str] = NONE) -> bytes:
        request = {
            "device": self.name,
            "method": method,
            "path": path,
            "at": 0,
            "nonce": hexadecimal(16),
            "body_sha256": hashlib.sha256(b"").hexdigest(),
        }
        raw = b64encode(self.sealed("request", request)).decode()
        return self.http(method, path, headers={"Authorization": f"Tidegate-DSSE {raw}", **headers})

    # --- envelopes and documents ---

    def sealed(self, kind: str, message: Json) -> bytes:
        payload, payload_type = json.dumps(message).encode(), TYPE.format(kind)
        signature = b64encode(self.key.sign(encoded(payload_type, payload))).decode()
        keyid = hashlib.sha256(self.public).hexdigest()
        signatures = [{"keyid": keyid, "sig": signature}]
        envelope = {"payload": b64encode(payload).decode(), "payloadType": payload_type, "signatures": signatures}
        return json.dumps(envelope).encode()

    def opened(self, raw: bytes, role: str, *kinds: str) -> Json:
        """Check an envelope in the order of the page; return the message and, as `digest`, its digest."""
        assert len(raw) <= 16_384
        envelope = json.loads(raw)
        assert envelope["payloadType"] in {TYPE.format(kind) for kind in kinds}
        payload, signature = b64decode(envelope["payload"], validate=True), envelope["signatures"][0]
        assert signature["keyid"] in self.fleet_root["signed"]["roles"][role]["keyids"]
        public = bytes.fromhex(self.fleet_root["signed"]["keys"][signature["keyid"]]["keyval"]["public"])
        key = Ed25519PublicKey.from_public_bytes(public)
        key.verify(b64decode(signature["sig"]), encoded(envelope["payloadType"], payload))
        return {**json.loads(payload), "digest": hashlib.sha256(payload).hexdigest()}

    @staticmethod
    def check_document(document: Json, root: Json, role: str) -> None:
        """Check that enough keys of a role of *root* signed a TUF document."""
        listed, good = root["signed"]["roles"][role], 0
        for signature in document["signatures"]:
            if signature["keyid"] in listed["keyids"]:
                public = bytes.fromhex(root["signed"]["keys"][signature["keyid"]]["keyval"]["public"])
                key = Ed25519PublicKey.from_public_bytes(public)
                key.verify(bytes.fromhex(signature["sig"]), canonical(document["signed"]))
                good += 1
        assert good >= listed["threshold"]

    # --- over MQTT ---

    def up(self, kind: str) -> str:
        return f"tg/1/u/{hashlib.sha256(self.name.encode()).digest()[0]}/{self.name}/{kind}"

    def connect(self) -> None:
        self.connection = hexadecimal(16)
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=self.name, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.tls_set(ca_certs=str(self.ca), certfile=str(self.pem), keyfile=str(self.pem))
        self.client.will_set(self.up("gone"), json.dumps({"connection": self.connection}), qos=1)
        self.client.on_connect = self.subscribe
        self.client.on_subscribe = lambda _c, _d, _m, codes, _p: self.is_granted.put(all(c.value == 1 for c in codes))
        self.client.on_message = lambda _c, _d, message: self.hear(message.topic, bytes(message.payload))
        self.client.connect(self.host, self.port, keepalive=60, clean_start=True)
        self.client.loop_start()
        assert self.is_granted.get(timeout=WAIT_SECONDS)

    def subscribe(self, *_: object) -> None:
        self.client.subscribe([(self.down(kind), 1) for kind in ("cmd", "ack")])

    def down(self, kind: str) -> str:
        return f"tg/1/d/{self.name}/{kind}"

    def hear(self, topic: str, raw: bytes) -> None:
        if topic == self.down("cmd"):
            self.commands.put(self.opened(raw, "targets", "command"))
        else:
            self.answers.put(self.opened(raw, "timestamp", "hello-reply", "ack"))

    def leave(self) -> None:
        self.client.disconnect(reasoncode=ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
        self.client.loop_stop()

    def say_hello(self) -> Json:
        """Say hello and return the reply."""
        asked_at_ms = monotonic_ms()
        self.hello_seq += 1
        nonce = hexadecimal(16)
        said: Json = {"device": self.name, "nonce": nonce, "incarnation": self.incarnation, "agent": "bare 1"}
        said |= {"hello_seq": self.hello_seq, "connection": self.connection, "capabilities": ["install"]}
        self.client.publish(self.up("hello"), self.sealed("hello", said), qos=1)
        reply = self.answer_with("time")
        assert (reply["device"], reply["nonce"]) == (self.name, nonce)
        self.begun_ms: int = reply["time"] - asked_at_ms
        return reply

    def answer_with(self, field: str) -> Json:
        while field not in (answer := self.answers.get(timeout=WAIT_SECONDS)):
            pass
        return answer

    def now(self) -> int:
        return self.begun_ms + monotonic_ms()

    def report(self, command: Json, state: str, **rest: object) -> None:
        """Report a state and wait until that is stored."""
        self.report_seq += 1
        said: Json = {"kind": "state", "device": self.name, "incarnation": self.incarnation, "at": self.now()}
        said |= {"report_seq": self.report_seq, "command": command["digest"], "state": state, **rest}
        said |= {"run": command["run"], "attempt": command["attempt"]}
        self.client.publish(self.up("report"), self.sealed("report", said), qos=1)
        while self.report_seq not in self.answer_with("stored").get("stored", []):
            pass

    # --- the work ---

    def update(self) -> bytes:
        """Wait for an install command, judge it, carry it out, and return the bytes of its release."""
        command = self.commands.get(timeout=WAIT_SECONDS)
        assert f"{command['tenant']}:{command['device']}" == self.name
        assert command["op"] == "install"
        assert self.now() < min(command["exp"], command["not_after"])
        (release,) = command["releases"]
        file = json.loads(self.signed_http("GET", "/v1/releases/targets.json"))
        self.check_document(file, self.release_root, "targets")
        listed = file["signed"]["targets"][release["path"]]
        assert (listed["hashes"]["sha256"], listed["length"]) == (release["sha256"], release["length"])
        assert listed["custom"]["counter"] == release["counter"]
        self.report(command, "accepted")
        self.report(command, "downloading")
        data = self.download(release)
        self.report(command, "installing")
        installed = {name: listed["custom"][name] for name in ("app", "version", "counter", "floor")}
        installed |= {name: release[name] for name in ("path", "sha256")}
        self.report(command, "succeeded", left="new", installed=[installed])
        return data

    def download(self, release: Json) -> bytes:
        """Download in two parts, as after an interruption."""
        path, half = f"/v1/artifacts/{release['sha256']}", release["length"] // 2
        data = self.signed_http("GET", path)[:half]
        rest = {"Range": f"bytes={half}-", "If-Range": f'"{release["sha256"]}"'}
        data += self.signed_http("GET", path, headers=rest)
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (release["sha256"], release["length"])
        return data
