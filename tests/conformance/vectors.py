"""The golden vectors: what an agent in any language must read and write, as JSON files beside this module.

``python -m tests.conformance.vectors`` writes them anew; a change of any file is a change of the protocol.
"""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.signing.releases import NewRelease, add_release, new_release_file
from controller.signing.roots import RoleKeys, fleet_roles, new_root, release_roles
from protocol.codec import encode
from protocol.envelope import pae, seal
from protocol.ids import AppName, Name, digest_of, partition_of
from protocol.topics import Downlink, DownlinkKind, Topic, Uplink, UplinkKind
from protocol.units import DAY, Instant
from tests.protocol.samples import AT, DIGEST, MESSAGES, OUTPUTS_BAD, OUTPUTS_GOOD, RFC8032_KEY, SIGNED, signing_key

FOLDER: Final = Path(__file__).parent
NAMES: Final = ("acme:kiosk-17", "a:b", "acme:0", "tenant-1:device-000001", "a" * 63 + ":" + "z" * 63)
PAE: Final = (
    ("http://example.com/HelloWorld", b"hello world"),
    ("", b""),
    ("type", b"\x00\xff\n"),
    ("ключ", "grüß dich".encode()),
)
RELEASE: Final = NewRelease(
    app=AppName("shop"),
    version="2.1",
    filename="shop-2.1.tar.gz",
    sha256=DIGEST,
    length=1_048_576,
    installer="archive",
    hardware=("k1",),
    counter=7,
    floor=3,
)


def load(name: str) -> Any:
    """Return the vectors of a file."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def topics() -> list[dict[str, object]]:
    """Return topics and their parts."""
    found: list[dict[str, object]] = []
    for name in map(Name, NAMES):
        all_topics: list[Topic] = [Uplink(name, kind) for kind in UplinkKind]
        all_topics += [Downlink(name, kind) for kind in DownlinkKind]
        for topic in all_topics:
            direction = "up" if isinstance(topic, Uplink) else "down"
            found.append({"topic": str(topic), "direction": direction, "name": name, "kind": topic.kind.value})
    return found


def partitions() -> list[dict[str, object]]:
    """Return names and their partitions."""
    return [{"name": name, "partition": partition_of(Name(name))} for name in NAMES]


def encodings() -> list[dict[str, str]]:
    """Return what is signed for a type and bytes (DSSE 1.0.2), in hexadecimal."""
    return [
        {"payload_type": kind, "payload_hex": payload.hex(), "pae_hex": pae(kind, payload).hex()}
        for kind, payload in PAE
    ]


def messages() -> list[dict[str, str]]:
    """Return each message as its exact bytes, which are UTF-8."""
    return [{"name": name, "json": encode(message).decode()} for name, message in MESSAGES.items()]


def outputs() -> dict[str, list[str]]:
    """Return outputs that a report may carry, and such that it may not, as JSON."""
    return {
        "good": [encode(told).decode() for told in OUTPUTS_GOOD],
        "bad": [encode(told).decode() for told in OUTPUTS_BAD],
    }


def envelopes() -> dict[str, object]:
    """Return each signed message in its envelope, signed with the key of RFC 8032, section 7.1, test 1."""
    key = signing_key()
    sealed = []
    for name, kind in SIGNED.items():
        payload = encode(MESSAGES[name])
        sealed.append(
            {
                "name": name,
                "payload_type": kind.value,
                "payload_base64": b64encode(payload).decode(),
                "payload_sha256": digest_of(payload),
                "signature_hex": key.sign(pae(kind.value, payload)).hex(),
                "envelope": seal(payload, kind, key).decode(),
            }
        )
    return {
        "secret_hex": RFC8032_KEY.hex(),
        "public_hex": key.public.hex(),
        "keyid": key.keyid,
        "envelopes": sealed,
    }


def documents() -> dict[str, object]:
    """Return a fleet root, a release root and a release file; director and release key are the key of `envelopes`."""
    key, root, time = map(Ed25519PrivateKey.from_private_bytes, (RFC8032_KEY, bytes(32), bytes([1] * 32)))
    mine, offline, expires = RoleKeys((key.public_key(),)), RoleKeys((root.public_key(),)), Instant(AT + 365 * DAY)
    roles = fleet_roles(root=offline, director=key.public_key(), time=time.public_key())
    fleet = new_root(roles, [root], issued=AT, expires=expires)
    release = new_root(release_roles(root=offline, release=mine), [root], issued=AT, expires=expires)
    empty = new_release_file(release, [key], expires=expires)
    file = add_release(empty, RELEASE, release_root=release, signers=[key], expires=expires)
    return {
        "fleet_root": json.loads(fleet),
        "release_root": json.loads(release),
        "release_file": json.loads(file),
    }


MADE: Final = {
    "topics": topics,
    "partitions": partitions,
    "pae": encodings,
    "messages": messages,
    "outputs": outputs,
    "envelopes": envelopes,
    "documents": documents,
}


def text_of(name: str) -> str:
    """Return what the file of that name must hold."""
    return json.dumps(MADE[name](), indent=2, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    for vector in MADE:
        (FOLDER / f"{vector}.json").write_text(text_of(vector))
