"""The golden vectors are what this code writes, and what it reads."""

import base64
import json

import pytest

from protocol.codec import decode, encode
from protocol.envelope import pae, verify
from protocol.errors import MalformedMessage
from protocol.ids import Name, partition_of
from protocol.keys import ring_of
from protocol.messages import PayloadType
from protocol.outputs import parse_outputs
from protocol.topics import Uplink, parse
from protocol.trust import read_fleet_root, read_releases
from protocol.units import DAY
from tests.conformance.vectors import FOLDER, MADE, RELEASE, load, text_of
from tests.protocol.samples import AT, DIGEST, MESSAGES


@pytest.mark.parametrize("name", MADE)
def test_a_file_is_what_the_code_writes(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text() == text_of(name), "the protocol changed: was that intended?"


def test_every_topic_is_read() -> None:
    for vector in load("topics"):
        topic = parse(vector["topic"])
        assert (topic.name, topic.kind.value) == (vector["name"], vector["kind"])
        assert isinstance(topic, Uplink) is (vector["direction"] == "up")


def test_every_partition_is_found() -> None:
    for vector in load("partitions"):
        assert partition_of(Name(vector["name"])) == vector["partition"]


def test_every_encoding_is_made() -> None:
    for vector in load("pae"):
        assert pae(vector["payload_type"], bytes.fromhex(vector["payload_hex"])).hex() == vector["pae_hex"]


def test_every_message_is_read_and_written() -> None:
    for vector in load("messages"):
        kind = type(MESSAGES[vector["name"]])
        assert encode(decode(vector["json"].encode(), kind)).decode() == vector["json"]


def test_outputs_are_read_where_they_are_good() -> None:
    vectors = load("outputs")
    for text in vectors["good"]:
        assert parse_outputs(text.encode()) == json.loads(text)
    for text in vectors["bad"]:
        with pytest.raises(MalformedMessage, match="outputs"):
            parse_outputs(text.encode())


def test_every_document_is_verified() -> None:
    fleet, release, file = (json.dumps(document).encode() for document in load("documents").values())
    root = read_fleet_root(fleet)
    assert (root.issued, root.expires - root.issued) == (AT, 365 * DAY)
    assert list(root.director) == [load("documents")["fleet_root"]["signed"]["roles"]["targets"]["keyids"][0]]
    assert list(root.time) != list(root.director)
    listed = read_releases(file, release, at=AT).releases[RELEASE.path]
    assert (listed.sha256, listed.counter, listed.floor, listed.hardware) == (DIGEST, 7, 3, ("k1",))


def test_every_envelope_is_verified() -> None:
    vectors = load("envelopes")
    ring = ring_of(bytes.fromhex(vectors["public_hex"]))
    for vector in vectors["envelopes"]:
        kind = type(MESSAGES[vector["name"]])
        verified = verify(vector["envelope"].encode(), PayloadType(vector["payload_type"]), kind, ring)
        assert verified.value == MESSAGES[vector["name"]]
        assert verified.digest == vector["payload_sha256"]
        assert verified.payload == base64.b64decode(vector["payload_base64"])
        signature = base64.b64decode(json.loads(vector["envelope"])["signatures"][0]["sig"])
        assert signature.hex() == vector["signature_hex"]
